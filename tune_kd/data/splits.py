"""Who gets which image: teacher, validation, test, and for each source the students' images in the order of use.

No image, no exact copy of one and (unless data.duplicates keeps them) no near-duplicate is in two of them, unless
data.overlap lets students have the teacher's. Everything is indices into one array, so that any number of students
share the pixels.
"""

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from tune_kd.data.pool import Indices, Pool
from tune_kd.data.sources import TEST, TRAINING, VALIDATION, Dataset, Images, Labels
from tune_kd.errors import InputError, did_you_mean
from tune_kd.space.schema import Data

ALL: Final = "all"


@dataclass(frozen=True)
class Splits:
    """Indices into `images`. A student's smaller size is a prefix of its larger ones."""

    images: Images
    labels: Labels
    classes: tuple[str, ...]
    teacher: Indices
    validation: Indices
    test: Indices
    student: Mapping[str, Indices]
    digests: Mapping[str, str]
    notes: tuple[str, ...] = ()
    """What a user should know of how they came about."""


def by_name(dataset: Dataset, data: Data) -> Data:
    """Where a study does not say who is judged on what, and sources are called train, val and test, they are meant."""
    said = data.evaluate_on or data.test_on or data.validation_on or data.teacher_on
    test, validation = ((), ()) if said else set_apart(tuple(dataset.sources))
    return data.model_copy(update={"test_on": test, "validation_on": validation}) if test or validation else data


def set_apart(sources: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Those of the sources that are called as test and validation images are, where one is called train."""
    names = {name.lower(): name for name in sources}
    if not names.keys() & set(TRAINING):
        return (), ()
    test, validation = (tuple(names[name] for name in kind if name in names) for kind in (TEST, VALIDATION))
    return test, validation


def split(dataset: Dataset, data: Data, seed: int) -> Splits:
    """Test first, then validation, then the teacher's, so that a larger later share never changes an earlier one."""
    data = by_name(dataset, data)
    tested, validated = (_named(dataset, getattr(data, key), f"data.{key}") for key in ("test_on", "validation_on"))
    evaluate = _chosen(dataset, data.evaluate_on, "data.evaluate_on", (*tested, *validated))
    teach = _chosen(dataset, data.teacher_on, "data.teacher_on", (*tested, *validated))
    pool = Pool(dataset, seed, together=data.duplicates == "group")
    official = dataset.official_test is not None and not data.evaluate_on and not tested
    test = (
        pool.whole(tested) if tested else pool.official() if official else pool.take("test", data.split.test, evaluate)
    )
    # Where nothing is chosen, nobody has to be set aside for it.
    wanted, nobody = data.split.validation, np.empty(0, dtype=np.int64)
    validation = pool.whole(validated) if validated else pool.take("validation", wanted, evaluate) if wanted else nobody
    if data.overlap:
        teacher = pool.left(teach)
    elif data.split.teacher == 0:  # a teacher that is loaded, not trained, needs no images
        teacher = np.empty(0, dtype=np.int64)
    else:
        teacher = pool.take("teacher", data.split.teacher, teach)
    student = {name: pool.student_order(name) for name in dataset.sources}
    parts = {"teacher": teacher, "validation": validation, "test": test}
    parts |= {f"student/{name}": indices for name, indices in student.items()}
    parts["images"] = np.arange(len(pool.labels))
    digests = {name: _digest(pool.images, pool.labels, indices) for name, indices in parts.items() if len(indices)}
    used = np.concatenate([teacher, validation, test, *student.values()])
    note = pool.told(used, np.concatenate([validation, test]))
    notes = (note,) if note else ()
    return Splits(pool.images, pool.labels, dataset.classes, teacher, validation, test, student, digests, notes)


def student_indices(splits: Splits, source: str, size: int | Literal["all"], weight: float | None) -> Indices:
    """The first `size` images of a source or mix, its parts interleaved so that every prefix keeps the shares."""
    parts = _weighted(splits, source, weight)
    pools, weights = [splits.student[name] for name, _ in parts], np.array([share for _, share in parts])
    most = math.floor(min(len(pool) / share for pool, share in zip(pools, weights, strict=True)) + 1e-6)
    if source.strip() == ALL:
        most = sum(map(len, pools))
    count = most if size == ALL else int(size)
    if count > most:
        there = ", ".join(f"{name} {len(pool):,}" for (name, _), pool in zip(parts, pools, strict=True))
        raise InputError(
            f"data.size: {count} is more than source '{source}' has for students: at most {most}"
            f"{' with these shares' if len(parts) > 1 else ''} ({there}). Use a size up to {most} or 'all', "
            "or set fewer images aside in data.split."
        )
    if count < len(splits.classes):
        raise InputError(f"data.size: {count} images cannot hold one of each of the {len(splits.classes)} classes.")
    # The k-th image of a part stands at (k + 1/2) / weight. Rounding shares at each size anew would not nest.
    places = np.concatenate([(np.arange(len(pool)) + 0.5) / share for pool, share in zip(pools, weights, strict=True)])
    return np.concatenate(pools)[np.argsort(places, kind="stable")[:count]]


def parse_mix(source: str) -> tuple[tuple[str, float], ...]:
    """Names and shares: `a`, `a+b` (even) or `a*0.7+b*0.3`; written weights are normalised."""
    names, weights = [], []
    for term in source.split("+"):
        name, star, written = (part.strip() for part in term.partition("*"))
        names.append(name)
        weights.append(_weight_of(source, written) if star else None)
    if "" in names or len(set(names)) < len(names):
        raise InputError(f"data.source: '{source}' names a source twice or leaves one out. {_MIX_FORMS}")
    given = [weight for weight in weights if weight is not None]
    if given and len(given) < len(weights):
        raise InputError(f"data.source: '{source}' gives only some of its sources a weight. {_MIX_FORMS}")
    shares = given or [1.0] * len(names)
    return tuple((name, share / sum(shares)) for name, share in zip(names, shares, strict=True))


_MIX_FORMS: Final = "Allowed: 'a', 'a+b' (even shares), 'a*0.7+b*0.3' (a weight for each) or 'all'."


def _weight_of(source: str, written: str) -> float:
    try:
        weight = float(written)
    except ValueError:
        weight = math.nan
    if not 0 < weight < math.inf:
        raise InputError(f"data.source: '{source}' has the weight '{written}', not a number above 0. {_MIX_FORMS}")
    return weight


def _weighted(splits: Splits, source: str, weight: float | None) -> list[tuple[str, float]]:
    """The parts of a source expression, checked against what there is."""
    parts = list(parse_mix(source))
    if source.strip() == ALL:
        parts = [(name, float(len(pool))) for name, pool in splits.student.items() if len(pool)]
    for name, _ in parts:
        _check_source(splits, name)
    if weight is not None and "+" in source:  # beside a mix, a study may also ask about single sources
        if len(parts) != 2 or "*" in source:
            raise InputError(
                f"data.weight: {weight} weighs the first source of a mix of two, and data.source is '{source}'. "
                "Use a source such as 'a+b' without weights of its own, or leave data.weight out."
            )
        parts = [(parts[0][0], weight), (parts[1][0], 1 - weight)]
    if not parts:
        raise InputError("data.source: no source has an image left for students. Set fewer aside in data.split.")
    return parts


def _check_source(splits: Splits, name: str) -> None:
    if name not in splits.student:
        allowed = [*splits.student, ALL]
        raise InputError(
            f"data.source: there is no source '{name}'.{did_you_mean(name, allowed)} "
            f"Sources: {', '.join(allowed)}. {_MIX_FORMS}"
        )
    missing = np.setdiff1d(np.arange(len(splits.classes)), splits.labels[splits.student[name]])
    if len(missing):
        raise InputError(
            f"data.source: source '{name}' has no image of class '{splits.classes[missing[0]]}' left for students. "
            "Set fewer images aside in data.split, or add images of that class."
        )


def _named(dataset: Dataset, names: Sequence[str], key: str) -> tuple[str, ...]:
    """The sources that a key names, all of which there must be."""
    for name in names:
        if name not in dataset.sources:
            raise InputError(
                f"{key}: there is no source '{name}'.{did_you_mean(name, dataset.sources)} "
                f"Sources: {', '.join(dataset.sources)}."
            )
    return tuple(names)


def _chosen(dataset: Dataset, names: Sequence[str], key: str, apart: Sequence[str]) -> tuple[str, ...]:
    """The sources a key names; nothing named means those that the data set would be judged on, less those set apart."""
    named = _named(dataset, names, key)
    if both := set(named) & set(apart):
        raise InputError(
            f"{key}: source '{min(both)}' is wholly for tests or validation (data.test_on, data.validation_on). Name "
            "others here."
        )
    return named or tuple(name for name in dataset.judged or dataset.sources if name not in apart)


def _digest(images: Images, labels: Labels, indices: Indices) -> str:
    """Names these pixels and labels in this order; a few thousand at a time, as a copy of all would double memory."""
    content = hashlib.sha256()
    for start in range(0, len(indices), 4096):
        content.update(images[indices[start : start + 4096]].data)
    content.update(labels[indices].data)
    return content.hexdigest()[:16]

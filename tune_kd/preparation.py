"""From a study to what every trial shares: images, splits, and checks that must fail before anything is trained."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from tune_kd import models, names
from tune_kd.data import sources
from tune_kd.data.sources import Dataset
from tune_kd.data.splits import ALL, Splits, split, student_indices
from tune_kd.errors import InputError
from tune_kd.plan import Plan
from tune_kd.space.domains import Choice, Constant, Integer, Uniform
from tune_kd.space.messages import mix_parts, takes_weight
from tune_kd.space.schema import Teacher
from tune_kd.space.study import Study, constants
from tune_kd.training import checkpoint
from tune_kd.training.train import IMAGENET

IMAGE_KEYS = ("data.source", "data.size", "data.weight")
"""What decides which images a student sees."""

STATISTICS_IMAGES = 10_000
"""Mean and standard deviation are read off at most this many training images; more do not move the third digit."""


@dataclass(frozen=True)
class Prepared:
    splits: Splits
    mean: tuple[float, ...]
    std: tuple[float, ...]
    notes: tuple[str, ...]

    @property
    def shape(self) -> tuple[int, int, int]:
        channels, height, width = self.splits.images.shape[1:]
        return channels, height, width


def prepare(plan: Plan, progress: Callable[[str], None], dataset: Dataset | None = None) -> Prepared:
    """Loads and splits the images, and makes sure that every cell can be trained on them.

    A data set that was made in Python is given as it is.
    """
    study = plan.study
    if dataset is None:
        dataset = sources.load(study.data, sources.Asked(study.seed, progress, _named(study)))
    splits = split(dataset, study.data, study.seed)
    mean, std = IMAGENET if study.data.normalize == "imagenet" else statistics(splits)
    prepared = Prepared(splits, mean, std, dataset.notes)
    check(plan, prepared)
    return prepared


def _named(study: Study) -> tuple[str, ...]:
    """The sources that the study asks for by name."""
    mixes = [str(source) for source in levels(study, "data.source")]
    named = [part for source in mixes for part, _ in mix_parts(source) if part != ALL]
    return tuple(dict.fromkeys([*named, *study.data.evaluate_on, *study.data.teacher_on]))


def statistics(splits: Splits) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and deviation per channel of the training images, in 0…1; validation and test have no say in them."""
    training = np.concatenate([splits.teacher, *splits.student.values()])
    step = max(1, len(training) // STATISTICS_IMAGES)
    pixels = splits.images[training[::step]].astype(np.float32) / 255
    mean, std = pixels.mean(axis=(0, 2, 3)), pixels.std(axis=(0, 2, 3))
    return tuple(map(float, mean)), tuple(float(max(value, 1e-3)) for value in std)


def check(plan: Plan, prepared: Prepared) -> None:
    """Every student and teacher can be built for these images; every source has as many as it is asked for."""
    study, classes = plan.study, len(prepared.splits.classes)
    for name in {study.teacher.model, *levels(study, names.STUDENT_MODEL)}:
        models.check(str(name), classes=classes, in_shape=prepared.shape)
    if study.teacher.checkpoint is not None:
        _check_there(study.teacher)
        teacher = models.build(study.teacher.model, classes=classes, in_shape=prepared.shape)
        checkpoint.load_weights(teacher, study.teacher.checkpoint)
    for source, size, weight in product(*(levels(study, key) for key in IMAGE_KEYS)):
        student_indices(prepared.splits, source, size, weight if takes_weight(source) else None)


def _check_there(teacher: Teacher) -> None:
    if teacher.missing and not Path(teacher.checkpoint or "").is_file():
        raise InputError(f"teacher.checkpoint: there is no file {teacher.checkpoint}.\n{teacher.missing.strip()}")


def levels(study: Study, key: str) -> tuple[Any, ...]:
    """The values that a key takes somewhere in the study; of a range its two ends."""
    if key in study.conditions:
        return study.conditions[key]
    match study.search.get(key):
        case None:
            return (constants(study)[key],)
        case Choice(values=values) as domain:
            found = values
        case Uniform(low=low, high=high) | Integer(low=low, high=high) as domain:
            found = (low, high)
        case domain:
            found = (domain.value,) if isinstance(domain, Constant) else ()
    # Where the key is not searched it has the value of its section.
    return (*found, constants(study)[key]) if domain.when else tuple(found)

"""From a study to what every trial shares: images, splits, and checks that must fail before anything is trained."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from itertools import product
from pathlib import Path

import numpy as np

from tune_kd import models, names
from tune_kd.data import sources
from tune_kd.data.sources import Dataset
from tune_kd.data.splits import ALL, Splits, by_name, split, student_indices
from tune_kd.errors import InputError
from tune_kd.models import registry
from tune_kd.models.layout import ImageShape
from tune_kd.models.network import Start, interpolation, normalisation
from tune_kd.plan import Plan
from tune_kd.space.allowed import mix_parts, takes_weight
from tune_kd.space.designs import designs, levels
from tune_kd.space.methods import METHODS, SAME, parts
from tune_kd.space.schema import Data, Pictures, Teacher
from tune_kd.space.study import Study, by_teacher, lessons, methods_of
from tune_kd.teacher import making
from tune_kd.teacher.doubts import doubts
from tune_kd.training.images import IMAGENET, Images, as_tensor
from tune_kd.training.method import layers

IMAGE_KEYS = ("data.source", "data.size", "data.weight")
"""What decides which images a student sees."""

STATISTICS_IMAGES = 10_000
"""Mean and standard deviation are read off at most this many training images; more do not move the third digit."""

STATISTICS_BYTES = 100_000_000
"""And no more pixels than these: of large images fewer do."""


@dataclass(frozen=True)
class Prepared:
    splits: Splits
    mean: tuple[float, ...]
    std: tuple[float, ...]
    notes: tuple[str, ...]
    student_side: int | None = None
    teacher_sides: tuple[int | None, ...] = (None,)
    students: Mapping[str, Start] = field(default_factory=dict)
    """What students begin with, by model; none for those that begin from scratch."""
    teachers: tuple[Start | None, ...] = (None,)
    """What each teacher begins with."""
    sources: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    """How many images of each class there are, by source; the data set's own test images as one called `test`."""

    @property
    def shape(self) -> ImageShape:
        """Of the pictures as a student sees them; the largest, where it sees several sizes."""
        return self.of(self.student_side)

    @property
    def teacher_shape(self) -> ImageShape:
        """Of the pictures as the first teacher sees them."""
        return self.teacher_shapes[0]

    @property
    def teacher_shapes(self) -> tuple[ImageShape, ...]:
        return tuple(map(self.of, self.teacher_sides))

    def of(self, side: int | None) -> ImageShape:
        """Of pictures of a size; of the images as they are kept where there is none."""
        channels, height, width = self.splits.images.shape[1:]
        return channels, side or height, side or width

    @property
    def per_class(self) -> tuple[list[int], dict[str, list[int]]]:
        """How many test images there are of each class; by source, the fewest and the most for students."""
        own, count = self.splits, len(self.splits.classes)
        tests, *there = (np.bincount(own.labels[i], minlength=count) for i in (own.test, *own.student.values()))
        ends = {name: [int(n.min()), int(n.max())] for name, n in zip(own.student, there, strict=True) if n.any()}
        return tests.tolist(), ends

    def normalisation(self, model: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """A student's: that of the weights it begins with, else the data set's."""
        return normalisation(self.students.get(model), self.mean, self.std)

    def interpolation(self, model: str) -> names.Interpolation:
        """By what a student sees pictures at a smaller size than they are kept at."""
        start = self.students.get(model)
        return interpolation(start.inputs if start else None)


def prepare(plan: Plan, progress: Callable[[str], None], dataset: Dataset | None = None) -> Prepared:
    """Loads and splits the images, and makes sure that every cell can be trained on them.

    A data set that was made in Python is given as it is.
    """
    study = plan.study
    interpolation, told = _filter(study)
    if dataset is None:
        asked = sources.Asked(study.seed, progress, _named(study), _side(study), interpolation)
        dataset = sources.load(study.data, asked)
    splits = split(dataset, study.data, study.seed)
    mean, std = IMAGENET if study.data.normalize == "imagenet" else statistics(splits)
    sides = tuple(making.side_of(own.teacher, splits.images.shape[-1]) for own in by_teacher(study))
    notes = *dataset.notes, *_meant(study.data, dataset), *splits.notes, *told
    prepared = Prepared(splits, mean, std, notes, _largest(study), sides, sources=_counts(dataset))
    check(plan, prepared)
    return _with_weights(study, _looked_into(study, prepared))


def _looked_into(study: Study, prepared: Prepared) -> Prepared:
    """Teachers that were loaded are tried on validation images, and what is wrong with them is said."""
    splits = prepared.splits
    files = [(own, Path(own.teacher.checkpoint)) for own in by_teacher(study) if own.teacher.checkpoint is not None]
    if not files or not len(splits.validation):
        return prepared
    pixels, labels, validation = (as_tensor(each) for each in (splits.images, splits.labels, splits.validation))
    images = Images(pixels, labels, prepared.mean, prepared.std, len(splits.classes))
    loaded = [making.load(own, file, images, splits.classes) for own, file in files]
    found = [doubts(each, images, validation, splits.classes) for each in loaded]
    return replace(prepared, notes=(*prepared.notes, *filter(None, found)))


def _counts(dataset: Dataset) -> dict[str, tuple[int, ...]]:
    own = list(dataset.sources.values()) + ([dataset.official_test] if dataset.official_test else [])
    return {each.name: tuple(np.bincount(each.labels, minlength=len(dataset.classes)).tolist()) for each in own}


def _meant(data: Data, dataset: Dataset) -> tuple[str, ...]:
    """What was read off the names of sources is said."""
    found = by_name(dataset, data)
    if found is data:
        return ()
    uses = {"test_on": "testing", "validation_on": "validation"}
    parts = [f"{' and '.join(own)} for {use} (data.{key})" for key, use in uses.items() if (own := getattr(found, key))]
    what = "Folders" if data.dataset == "folder" else "Sources"
    return (f"{what} are used as they are named: {', '.join(parts)}.",)


def _side(study: Study) -> int | None:
    """The size that pictures are kept at: the largest that a network sees, as all see the same views of them. Where no
    size is named for a network that comes with weights, it is the one that these want."""
    taught, sides = [each.teacher for each in by_teacher(study)], levels(study, names.STUDENT_SIDE)
    own = [making.own_inputs(each) for each in taught if not each.image_size]
    if study.student.pretrained is not False and None in sides:
        own += [registry.inputs(str(name)) for name in levels(study, names.STUDENT_MODEL)]
    named = [*filter(None, sides), *(each.image_size for each in taught if each.image_size)]
    return max([*named, *(each.size for each in own if each)], default=None)


def _filter(study: Study) -> tuple[names.Interpolation, tuple[str, ...]]:
    """By what pictures are resized to the size that they are kept at, and what is to be said of it. Who sees them at a
    smaller one has them resized once more, by a filter of its own."""
    if not isinstance(study.data, Pictures):
        return "bicubic", ()
    kept, taught = study.data.image_size or _side(study), [each.teacher for each in by_teacher(study)]
    seen = [(each.model, making.side_of(each, kept or 0), making.own_inputs(each)) for each in taught]
    if study.student.pretrained is not False:
        students = product(map(str, levels(study, names.STUDENT_MODEL)), levels(study, names.STUDENT_SIDE))
        seen += [(model, side, registry.inputs(model)) for model, side in students]
    found = {model: inputs.filter for model, side, inputs in seen if inputs and side in (None, kept)}
    if len(set(found.values())) < 2:
        return next(iter(found.values()), "bicubic"), ()
    each = ", ".join(f"{model} {by}" for model, by in found.items())
    told = f"The weights were trained on images resized by different filters ({each}), and see the same ones here"
    return "bicubic", (f"{told}: resized by a bicubic one.",)


def _largest(study: Study) -> int | None:
    """Of the sizes at which students see images; None: as they are kept, which is the largest there is."""
    sides = levels(study, names.STUDENT_SIDE)
    return None if None in sides else max(sides)


def _with_weights(study: Study, prepared: Prepared) -> Prepared:
    """Pretrained weights are read once, here, and travel with the images: other machines need not have the files."""
    classes = len(prepared.splits.classes)

    @cache  # teachers that differ in their epochs alone begin with the same
    def start(name: str, wanted: bool | str, shape: ImageShape, ema: bool = False) -> Start | None:
        return registry.start(name, wanted, classes=classes, in_shape=shape, ema=ema)

    # A network with a place for each patch has weights for one size: with several, the others are refused here.
    found = {
        str(name): start(str(name), study.student.pretrained, prepared.of(side))
        for name in levels(study, names.STUDENT_MODEL)
        for side in levels(study, names.STUDENT_SIDE)
    }
    return replace(
        prepared,
        students={name: each for name, each in found.items() if each is not None},
        teachers=tuple(
            start(own.teacher.model, own.teacher.pretrained, shape, own.teacher.ema)
            for own, shape in zip(by_teacher(study), prepared.teacher_shapes, strict=True)
        ),
    )


def begins(study: Study, prepared: Prepared) -> dict[str, str]:
    """What those networks begin with that do not begin from scratch, in words."""
    tutors = zip(by_teacher(study), prepared.teachers, strict=True)
    found = {f"teacher {own.teacher.model}": start for own, start in tutors if start}
    found |= {f"student {model}": start for model, start in prepared.students.items()}
    return {name: start.told for name, start in found.items()}


def _named(study: Study) -> tuple[str, ...]:
    """The sources that the study asks for by name."""
    mixes = [str(source) for source in levels(study, "data.source")]
    named = [part for source in mixes for part, _ in mix_parts(source) if part != ALL]
    data = study.data
    return tuple(dict.fromkeys([*named, *data.evaluate_on, *data.test_on, *data.validation_on, *data.teacher_on]))


def statistics(splits: Splits) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and deviation per channel of the training images, in 0…1; validation and test have no say in them."""
    training = np.concatenate([splits.teacher, *splits.student.values()])
    step = max(1, len(training) // STATISTICS_IMAGES)
    chosen = training[::step]
    if splits.images[0].size * len(chosen) > STATISTICS_BYTES:
        chosen = chosen[:: math.ceil(splits.images[0].size * len(chosen) / STATISTICS_BYTES)]
    pixels = splits.images[chosen].astype(np.float32) / 255
    mean, std = pixels.mean(axis=(0, 2, 3)), pixels.std(axis=(0, 2, 3))
    return tuple(map(float, mean)), tuple(float(max(value, 1e-3)) for value in std)


def check(plan: Plan, prepared: Prepared) -> None:
    """Every student and teacher can be built for these images; every source has as many as it is asked for."""
    study, classes = plan.study, len(prepared.splits.classes)
    for own, shape in zip(by_teacher(study), prepared.teacher_shapes, strict=True):
        for lesson in lessons(own):
            models.check(lesson.teacher.model, classes=classes, in_shape=shape)
    for each in designs(study).values():
        side = each.get(names.STUDENT_SIDE, study.student.image_size)
        models.check(str(each[names.STUDENT_MODEL]), classes=classes, in_shape=prepared.of(side))
    for name in peers(study):
        models.check(name, classes=classes, in_shape=prepared.shape)
    for student, wanted in product(levels(study, names.STUDENT_MODEL), levels(study, "kd.layers")):
        list(layers(study, str(student), str(wanted), (prepared.shape, prepared.teacher_shape), classes))
    for own in by_teacher(study):
        if own.teacher.checkpoint is not None:
            _check_there(own.teacher)
    for source, size, weight in product(*(levels(study, key) for key in IMAGE_KEYS)):
        student_indices(prepared.splits, source, size, weight if takes_weight(source) else None)


def _check_there(teacher: Teacher) -> None:
    if teacher.missing and not Path(teacher.checkpoint or "").is_file():
        raise InputError(f"teacher.checkpoint: there is no file {teacher.checkpoint}.\n{teacher.missing.strip()}")


def peers(study: Study) -> tuple[str, ...]:
    """Networks that may be trained beside a student, by name."""
    if not any(METHODS[name].peer for method in methods_of(study) for name in parts(method)):
        return ()
    students = tuple(map(str, levels(study, names.STUDENT_MODEL)))
    named = [students if name == SAME else (str(name),) for name in levels(study, "kd.mutual_peer")]
    return tuple(dict.fromkeys(each for group in named for each in group))

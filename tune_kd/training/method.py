"""The study's method for one student, with the teacher's network where it asks for that."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import nn

from tune_kd.distill import taps
from tune_kd.distill.distiller import Distiller, features, own_settings, rebuilt, temperature
from tune_kd.distill.method import Given, Network, make
from tune_kd.errors import TuneKDError
from tune_kd.models import build
from tune_kd.models.layout import ImageShape, lay_out
from tune_kd.space.methods import METHODS, parts
from tune_kd.space.schema import Distillation
from tune_kd.space.study import Study, lessons, methods_of
from tune_kd.training.step import Online

CPU = torch.device("cpu")


@runtime_checkable
class Present(Protocol):
    """A teacher whose network is at hand beside its logits."""

    def online(self) -> Online: ...


@runtime_checkable
class Several(Protocol):
    """Teachers whose answers are not averaged yet."""

    @property
    def accuracies(self) -> tuple[float, ...]:
        """On validation images."""


@dataclass(frozen=True)
class Trainee:
    """The student that a method is made for, and how it is trained."""

    model: nn.Module
    shape: ImageShape
    classes: int
    images: int
    seed: int
    epochs: int
    fresh: Callable[[str], nn.Module]
    """Makes another one by a model's name, or (by `same`) of its kind, with weights by the chance of the moment."""


def layers(
    study: Study, student: str, wanted: str, shapes: tuple[ImageShape, ImageShape], classes: int
) -> Iterator[str]:
    """Which layers each method on feature maps compares, in words; refused where there are none to compare."""
    methods = dict.fromkeys(name for method in methods_of(study) for name in parts(method) if METHODS[name].features)
    if not methods:
        return
    with torch.random.fork_rng(devices=[]):
        named = tuple(zip((student, lessons(study)[-1].teacher.model), shapes, strict=True))
        looks = [taps.network(build(name, classes=classes, in_shape=shape), shape, CPU) for name, shape in named]
    for name in methods:
        kd = study.kd.model_copy(update={"method": name, "layers": wanted})
        built = rebuilt(kd, looks[0], looks[1], 0)
        student_look = looks[0] if built is None else taps.network(built, shapes[0], CPU)
        given = Given(temperature(study.kd), 1, classes, 1, 0, wanted, None, student_look, looks[1])
        compared = getattr(make(name, given, own_settings(kd, name)), "pairs", ())
        shown = ", ".join(f"{ours}:{theirs}" for ours, theirs in compared)
        yield f"{name} compares {shown} (student:teacher; kd.layers chooses others), and the teacher runs beside it."


def method_for(student: Trainee, settings: Distillation, teacher: object) -> tuple[nn.Module, Distiller, Online | None]:
    """The network to train, which is the student's unless the method makes another one of it, and the method."""
    model, device = student.model, next(student.model.parameters()).device
    online, looks = None, list[Network]()
    if features(settings):
        if not isinstance(teacher, Present):
            raise TuneKDError(f"kd.method {settings.method} looks at feature maps; this teacher has logits only.")
        online = teacher.online()
        both = (student.model, student.shape), (online.module, online.shape)
        looks = [taps.network(module, shape, device) for module, shape in both]
        built = rebuilt(settings, looks[0], looks[1], student.seed)
        if built is not None:
            model = lay_out(built.to(device), student.shape)
            looks[0] = taps.network(model, student.shape, device)
    epochs = student.epochs
    counted = epochs, student.classes, student.images, student.seed
    given = Given(temperature(settings, epochs), *counted, settings.layers, student.fresh, *looks)
    accuracies = teacher.accuracies if isinstance(teacher, Several) else ()
    return model, Distiller.of(settings, given, accuracies).to(device), online


def as_trained(study: Study, model: nn.Module, shapes: tuple[ImageShape, ImageShape], classes: int) -> nn.Module:
    """The network whose weights a distilled training leaves: its student's, or what its method makes of that."""
    return remade(study.kd, model, study, shapes, classes) if study.kd.teaches else model


def remade(
    kd: Distillation, model: nn.Module, study: Study, shapes: tuple[ImageShape, ImageShape], classes: int
) -> nn.Module:
    """What a method makes of a student's network, with the study's teacher; mostly that network itself."""
    if not any(METHODS[name].rebuilds for name in parts(kd.method)):
        return model
    teacher = build(lessons(study)[-1].teacher.model, classes=classes, in_shape=shapes[1])
    looks = [taps.network(each, shape, CPU) for each, shape in zip((model, teacher), shapes, strict=True)]
    return rebuilt(kd, looks[0], looks[1], 0) or model

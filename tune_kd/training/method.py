"""The study's method for one student, with the teacher's network where it asks for that."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from torch import nn

from tune_kd.distill import taps
from tune_kd.distill.distiller import Distiller, features, temperature
from tune_kd.distill.method import Given, Network
from tune_kd.errors import TuneKDError
from tune_kd.space.schema import Distillation
from tune_kd.training.step import Online


@runtime_checkable
class Present(Protocol):
    """A teacher whose network is at hand beside its logits."""

    def online(self) -> Online: ...


@dataclass(frozen=True)
class Taught:
    """The student that a method is made for, and how it is trained."""

    model: nn.Module
    shape: tuple[int, int, int]
    classes: int
    images: int
    seed: int
    epochs: int


def method_for(student: Taught, settings: Distillation, teacher: object) -> tuple[Distiller, Online | None]:
    device = next(student.model.parameters()).device
    online, looks = None, list[Network]()
    if features(settings):
        if not isinstance(teacher, Present):
            raise TuneKDError(f"kd.method {settings.method} looks at feature maps; this teacher has logits only.")
        online = teacher.online()
        both = (student.model, student.shape), (online.module, online.shape)
        looks = [taps.network(module, shape, device) for module, shape in both]
    epochs = student.epochs
    counted = epochs, student.classes, student.images, student.seed
    given = Given(temperature(settings, epochs), *counted, settings.layers, *looks)
    return Distiller.of(settings, given).to(device), online

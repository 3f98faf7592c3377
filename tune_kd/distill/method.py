"""What a method of distillation is: the one class that somebody writes who adds one."""

import importlib
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from tune_kd.distill.schedules import Schedule
from tune_kd.space import methods

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Taps:
    """Names of feature maps, by module path as in `named_modules()`."""

    student: tuple[str, ...] = ()
    teacher: tuple[str, ...] = ()


@dataclass(frozen=True)
class Network:
    """A network as a method meets it: each module's path, in the order of the run, and the shape that it gives."""

    module: nn.Module
    shapes: Mapping[str, Shape]


@dataclass(frozen=True)
class Given:
    """What a method is made for. The networks are there for those that look at feature maps."""

    temperature: Schedule
    epochs: int
    classes: int
    images: int
    seed: int
    layers: str = "auto"
    fresh: Callable[[str], nn.Module] | None = None
    """Makes another network by name, or (by `same`) of the student's kind, with weights of its own."""
    student: Network | None = None
    teacher: Network | None = None

    def networks(self) -> tuple[Network, Network]:
        """Of the student and of the teacher."""
        assert self.student is not None, "a method on feature maps says so: features = True"
        assert self.teacher is not None
        return self.student, self.teacher


@dataclass(frozen=True)
class Seen:
    """What a network made of a batch: raw logits in float32, the maps that were tapped, and which images these were."""

    logits: Tensor
    maps: Mapping[str, Tensor] = field(default_factory=dict)
    index: Tensor | None = None
    run: Callable[[nn.Module], Tensor] | None = None
    """What another network makes of the student's pictures, in the precision of the training; only the student's."""


class Method(nn.Module):
    """Its settings are the named arguments of its class. What it trains itself are its own parameters."""

    soft: ClassVar[bool] = False
    """Whether it compares logits, so that `kd.temperature` and `kd.standardize` mean something to it."""

    own_temperature: ClassVar[bool] = False
    """Whether one that compares logits has a temperature of its own, so that `kd.temperature` means nothing to it."""

    features: ClassVar[bool] = False
    """Whether it needs the teacher's network beside the student, not only its logits."""

    one_label: ClassVar[bool] = False
    """Whether it asks which class an image is of, or which image it is. One that is mixed of two has two of each:
    `labels` are then shares of the classes, (images, classes)."""

    rebuilds: ClassVar[bool] = False
    """Whether what is trained, counted and exported is another network, which `rebuilt` makes of the student's."""

    peer: ClassVar[bool] = False
    """Whether it trains another network beside the student and asks nothing of a teacher, who then says nothing: his
    logits have no rows."""

    def __init__(self, given: Given) -> None:
        super().__init__()
        self.given = given
        self.taps = Taps()
        self.steady = 0
        """The epoch from which on `term` does the same in each: one that looks at `epoch` says until when. Before it,
        a step is not recorded on a GPU, as the number of the epoch would be part of the recording."""

    @classmethod
    def rebuilt(cls, student: Network, teacher: Network, layers: str, *args: Any, **kwargs: Any) -> nn.Module:
        """Of one that `rebuilds`, with its settings by name: the network in the student's place, which holds copies of
        what it needs of both."""
        raise NotImplementedError

    def term(self, student: Seen, teacher: Seen, labels: Tensor, epoch: int) -> dict[str, Tensor]:
        """The parts of what it adds to the loss, by name; their sum counts. No gradient goes to the teacher."""
        raise NotImplementedError

    def temperature(self, epoch: int) -> float:
        return self.given.temperature(epoch)


def class_of(name: str) -> type[Method]:
    place = methods.METHODS[name].place
    if isinstance(place, str):
        module, _, attribute = place.partition(":")
        place = getattr(importlib.import_module(module), attribute)
    return place


def make(name: str, given: Given, settings: Mapping[str, Any]) -> Method:
    """A method with what a study sets of it. Its own weights depend on the training's seed alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(given.seed)
        return class_of(name)(given, **settings)


def register(name: str, method: type[Method]) -> None:
    """Makes a class of the user's a `kd.method` of this process; each worker has to be told as well."""
    if not (inspect.isclass(method) and issubclass(method, Method)):
        raise methods.no_method(name, method)
    methods.register(name, method)

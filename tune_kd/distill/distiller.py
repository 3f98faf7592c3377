"""A study's method, or several joined: the teacher's part of the loss, and all that is trained for it alone."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tune_kd.distill import ensemble
from tune_kd.distill.logits import standardize
from tune_kd.distill.method import Given, Method, Network, Seen, class_of, make
from tune_kd.distill.schedules import Schedule
from tune_kd.space import methods
from tune_kd.space.schema import Distillation

NEVER: Final = 10**9
"""No training has so many epochs."""


@dataclass(frozen=True)
class LossParts:
    """The total is cross-entropy and the teacher's term by their weights. Only it and these two carry gradients."""

    total: Tensor
    ce: Tensor
    kd: Tensor
    parts: Mapping[str, Tensor]
    """The teacher's term in parts, where it has several."""
    terms: tuple[Tensor, ...] = ()
    """Both, by their weights."""


class Distiller(nn.Module):
    """Methods by name. Each is weighed against the others; their sum is weighed against cross-entropy."""

    def __init__(
        self, settings: Distillation, members: Mapping[str, Method], epochs: int, accuracies: Sequence[float] = ()
    ) -> None:
        super().__init__()
        self.settings = settings
        self.epochs = epochs
        self.accuracies = tuple(accuracies)
        """Of several teachers, on validation images."""
        self.members = nn.ModuleDict(dict(members))
        self.parts: tuple[str, ...] = ()
        """Names of the parts told last, where there are several."""

    @classmethod
    def of(cls, settings: Distillation, given: Given, accuracies: Sequence[float] = ()) -> "Distiller":
        members = {}
        for name in methods.parts(settings.method):
            members[name] = make(name, given, own_settings(settings, name))
        return cls(settings, members, given.epochs, accuracies)

    def each(self) -> dict[str, Method]:
        return {name: member for name, member in self.members.items() if isinstance(member, Method)}

    @property
    def steady(self) -> int:
        """The epoch from which on every method does the same in each."""
        return max(member.steady for member in self.each().values())

    def taps(self, side: str) -> tuple[str, ...]:
        """The maps asked for, of `student` or `teacher`."""
        return tuple(dict.fromkeys(path for member in self.each().values() for path in getattr(member.taps, side)))

    def answer(self, told: Tensor, labels: Tensor, epoch: int) -> Tensor:
        """The logits to learn from: the teacher's, or those of several as one."""
        if told.dim() == 2:
            return told.float()
        own = self.settings
        shares = ensemble.weights(own.teachers_weight, told, labels, self.accuracies)
        return ensemble.mixed(told, shares, own.teachers_mean, temperature(own, self.epochs)(epoch))

    def forward(self, student: Seen, teacher: Seen, labels: Tensor, epoch: int) -> dict[str, Tensor]:
        """Every method's parts, each times its method's weight."""
        told = {}
        for name, member in self.each().items():
            seen = student, teacher
            if self.settings.standardize and member.soft:
                seen = _standardized(student), _standardized(teacher)
            weight: float = getattr(self.settings, methods.weight_key(name).removeprefix("kd."))
            found = member.term(*seen, labels, epoch)
            for part, value in found.items():
                told[name if len(found) == 1 else f"{name}_{part}"] = value if weight == 1 else weight * value
        self.parts = tuple(told) if len(told) > 1 else ()
        return told


def own_settings(settings: Distillation, name: str) -> dict[str, Any]:
    """What a study sets of one method, without its weight."""
    own = {key: getattr(settings, key) for key in methods.METHODS[name].settings}
    own.pop(methods.weight_key(name).removeprefix("kd."), None)
    return own


def rebuilt(settings: Distillation, student: Network, teacher: Network, seed: int) -> nn.Module | None:
    """What a method makes of the student's network, with weights of its own by the training's seed; mostly nothing."""
    for name in methods.parts(settings.method):
        if class_of(name).rebuilds:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(seed)
                return class_of(name).rebuilt(student, teacher, settings.layers, **own_settings(settings, name))
    return None


def _standardized(seen: Seen) -> Seen:
    return replace(seen, logits=standardize(seen.logits))


def loss_parts(
    distiller: Distiller | None, student: Seen, teacher: Seen | None, labels: Tensor, label_smoothing: float, epoch: int
) -> LossParts:
    """The loss of one batch in one epoch (counted from 1); without a method plain cross-entropy. Where no method asks a
    teacher, he says nothing."""
    ce = F.cross_entropy(student.logits, labels, label_smoothing=label_smoothing)
    if distiller is None:
        return LossParts(ce, ce.detach(), torch.zeros_like(ce), {})
    teacher = teacher or Seen(student.logits.detach()[:0])
    weight_ce, weight_kd = loss_weights(distiller.settings, epoch, taught=True, epochs=distiller.epochs)
    told = distiller(student, teacher, labels, epoch)
    term = sum(told.values(), torch.zeros_like(ce))
    parts = {name: told[name].detach() for name in distiller.parts}
    terms = weight_ce * ce, weight_kd * term
    return LossParts(terms[0] + terms[1], ce.detach(), term.detach(), parts, terms)


def mean(first: LossParts, second: LossParts) -> LossParts:
    """Of the same images, looked at twice."""
    parts = {name: (value + second.parts[name]) / 2 for name, value in first.parts.items()}
    terms = tuple((one + other) / 2 for one, other in zip(first.terms, second.terms, strict=True))
    total, ce, kd = ((getattr(first, name) + getattr(second, name)) / 2 for name in ("total", "ce", "kd"))
    return LossParts(total, ce, kd, parts, terms)


def loss_weights(settings: Distillation, epoch: int, taught: bool, epochs: int = 1) -> tuple[float, float]:
    """Of cross-entropy and of the teacher's term. In a warm-up only the teacher's grows, as where this was published;
    cross-entropy keeps its own throughout."""
    if not taught or not settings.teaches:
        return 1.0, 0.0
    ramp = min(1.0, epoch / settings.warmup_epochs) if settings.warmup_epochs else 1.0
    if settings.independent:
        ce, weight = (1.0 if each is None else each for each in (settings.ce_weight, settings.weight))
        return ce, weight * ramp
    alpha = Schedule(settings.alpha, settings.alpha_end, settings.alpha_schedule, epochs)(epoch)
    return 1 - alpha, alpha * ramp


def temperature(settings: Distillation, epochs: int = 1) -> Schedule:
    return Schedule(settings.temperature, settings.temperature_end, settings.temperature_schedule, epochs)


def features(settings: Distillation) -> bool:
    """Whether a method asks for the teacher's network beside its logits."""
    return any(class_of(name).features for name in methods.parts(settings.method))


def settled(settings: Distillation) -> int:
    """The first epoch from which on nothing changes with the epoch any more: only then can a step be recorded. Under a
    schedule there is none, since the numbers of an epoch would be part of the recording."""
    scheduled = {settings.alpha_schedule, settings.temperature_schedule} != {"constant"}
    return NEVER if scheduled else settings.warmup_epochs

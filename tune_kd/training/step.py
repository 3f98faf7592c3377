"""One step of a training: from a batch to other weights."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from tune_kd.distill import taps
from tune_kd.distill.distiller import Distiller, LossParts, loss_parts, mean, settled
from tune_kd.distill.method import Seen
from tune_kd.models.layout import ImageShape
from tune_kd.space.study import Study
from tune_kd.training import precision
from tune_kd.training.optim import step
from tune_kd.training.precision import Precision
from tune_kd.training.two_momenta import TwoMomenta


class Online(Protocol):
    """The teacher's network, for methods to which its logits are not enough."""

    @property
    def module(self) -> nn.Module: ...

    @property
    def shape(self) -> ImageShape:
        """Of the pictures as it sees them."""

    def __call__(self, pictures: Tensor, paths: Iterable[str]) -> tuple[Tensor, dict[str, Tensor]]:
        """Logits and the maps named, for pictures before normalisation."""


@dataclass(frozen=True)
class Batch:
    inputs: Tensor
    labels: Tensor
    guide: Tensor | None
    epoch: int
    index: Tensor | None = None
    pictures: Tensor | None = None
    second: "Batch | None" = None
    """The same images at a second look."""

    def like(self) -> "Batch":
        """Room for others of its kind."""
        return Batch(
            torch.empty_like(self.inputs),
            torch.empty_like(self.labels),
            _room(self.guide),
            self.epoch,
            _room(self.index),
            _room(self.pictures),
            None if self.second is None else self.second.like(),
        )

    def take(self, other: "Batch") -> None:
        for name in ("inputs", "labels", "guide", "index", "pictures"):
            mine, theirs = getattr(self, name), getattr(other, name)
            if mine is not None and theirs is not None:
                mine.copy_(theirs)
        if self.second is not None and other.second is not None:
            self.second.take(other.second)


def _room(value: Tensor | None) -> Tensor | None:
    return None if value is None else torch.empty_like(value)


def joined(student: nn.Module, distiller: Distiller | None) -> nn.Module:
    """All that a step trains, as one: the student, and what its method trains along with it. The student's weights come
    first, as where there are no others."""
    return student if distiller is None else nn.ModuleList([student, distiller])


@dataclass(frozen=True)
class Step:
    """Returns the losses (cross-entropy, teacher's term, its parts where there are several) without waiting for the
    device."""

    model: nn.Module
    optimizer: torch.optim.Optimizer
    settings: Study
    used: Precision
    distiller: Distiller | None = None
    teacher: Online | None = None

    def __call__(self, batch: Batch) -> Tensor:
        parts = self._loss(batch)
        if batch.second is not None:
            parts = mean(parts, self._loss(batch.second))
        self.optimizer.zero_grad(set_to_none=True)
        if isinstance(self.optimizer, TwoMomenta):
            self.optimizer.backward(*parts.terms)
        else:
            parts.total.backward()
        step(self.optimizer)
        return torch.stack([parts.ce, parts.kd, *parts.parts.values()])

    def _loss(self, batch: Batch) -> LossParts:
        distiller = self.distiller
        paths = distiller.taps("student") if distiller is not None else ()
        with precision.autocast(batch.inputs.device, self.used):
            logits, maps = taps.run(self.model, batch.inputs, paths)

        def run(network: nn.Module) -> Tensor:
            with precision.autocast(batch.inputs.device, self.used):
                found: Tensor = network(batch.inputs)
            return found.float()

        student = Seen(logits.float(), {path: each.float() for path, each in maps.items()}, batch.index, run)
        smoothing = self.settings.train.label_smoothing
        return loss_parts(distiller, student, self._taught(batch), batch.labels, smoothing, batch.epoch)

    @torch.no_grad()
    def _taught(self, batch: Batch) -> Seen | None:
        """What the teacher says: logits as they were kept, and maps from a run of its own."""
        distiller, teacher = self.distiller, self.teacher
        if distiller is None or batch.guide is None:
            return None
        logits = distiller.answer(batch.guide, batch.labels, batch.epoch)
        if teacher is None or batch.pictures is None:
            return Seen(logits, {}, batch.index)
        _, maps = teacher(batch.pictures, distiller.taps("teacher"))
        return Seen(logits, maps, batch.index)

    @property
    def name(self) -> tuple[str, str, Precision]:
        return self.settings.student.model, self.settings.kd.method if self.distiller else "", self.used

    @property
    def steady(self) -> int:
        """The first epoch from which on a step does the same in each."""
        return max(settled(self.settings.kd), self.distiller.steady if self.distiller else 0)

    def state(self) -> dict[str, list[Tensor]]:
        """All that a step changes, in groups whose numbers are of one kind."""
        groups: dict[str, list[Tensor]] = defaultdict(list)
        whole = joined(self.model, self.distiller)
        groups["weights"] = [weight.detach() for weight in whole.parameters()]
        for buffer in whole.buffers():
            groups["means" if buffer.is_floating_point() else "counts"].append(buffer)
        for values in self.optimizer.state.values():
            for key, value in values.items():
                if isinstance(value, Tensor):
                    groups[key].append(value)
        return dict(groups)

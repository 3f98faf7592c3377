"""One step of a training: from a batch to other weights."""

from collections import defaultdict
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from tune_kd.distill.logits import loss_parts
from tune_kd.space.study import Study
from tune_kd.training import precision
from tune_kd.training.optim import step
from tune_kd.training.precision import Precision


@dataclass(frozen=True)
class Batch:
    inputs: Tensor
    labels: Tensor
    guide: Tensor | None
    epoch: int

    def like(self) -> "Batch":
        """Room for others of its kind."""
        guide = None if self.guide is None else torch.empty_like(self.guide)
        return Batch(torch.empty_like(self.inputs), torch.empty_like(self.labels), guide, self.epoch)

    def take(self, other: "Batch") -> None:
        self.inputs.copy_(other.inputs)
        self.labels.copy_(other.labels)
        if self.guide is not None and other.guide is not None:
            self.guide.copy_(other.guide)


@dataclass(frozen=True)
class Step:
    """Returns the losses (cross-entropy, teacher's term) without waiting for the device."""

    model: nn.Module
    optimizer: torch.optim.Optimizer
    settings: Study
    used: Precision

    def __call__(self, batch: Batch) -> Tensor:
        with precision.autocast(batch.inputs.device, self.used):
            logits = self.model(batch.inputs)
        smoothing = self.settings.train.label_smoothing
        parts = loss_parts(logits, batch.labels, batch.guide, self.settings.kd, smoothing, batch.epoch)
        self.optimizer.zero_grad(set_to_none=True)
        parts.total.backward()
        step(self.optimizer)
        return torch.stack([parts.ce, parts.kd])

    @property
    def name(self) -> tuple[str, Precision]:
        return self.settings.student.model, self.used

    def state(self) -> dict[str, list[Tensor]]:
        """All that a step changes, in groups whose numbers are of one kind."""
        groups: dict[str, list[Tensor]] = defaultdict(list)
        groups["weights"] = [weight.detach() for weight in self.model.parameters()]
        for buffer in self.model.buffers():
            groups["means" if buffer.is_floating_point() else "counts"].append(buffer)
        for values in self.optimizer.state.values():
            for key, value in values.items():
                if isinstance(value, Tensor):
                    groups[key].append(value)
        return dict(groups)

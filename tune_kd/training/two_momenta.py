"""DOT: SGD that remembers the slopes of cross-entropy and of the teacher's term apart, the teacher's for longer."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

OWN, TAUGHT = "own_momentum", "taught_momentum"


class TwoMomenta(torch.optim.Optimizer):
    """With momenta m - gap and m + gap; what only one of the terms has a slope for, like the parts of a method, has m.
    With a gap of 0 it is SGD, but for the order of sums."""

    def __init__(self, weights: Sequence[dict[str, Any]], rate: float | Tensor, momentum: float, gap: float) -> None:
        super().__init__(weights, {"lr": rate, "weight_decay": 0.0})
        self.momentum = momentum
        self.momenta = {OWN: momentum - gap, TAUGHT: momentum + gap}
        for weight in self._weights():
            self.state[weight] = {kind: torch.zeros_like(weight) for kind in self.momenta}

    def _weights(self) -> list[Tensor]:
        return [each for group in self.param_groups for each in group["params"] if each.requires_grad]

    def backward(self, own: Tensor, taught: Tensor) -> None:
        """Takes the slopes of both terms in place of one backward of their sum."""
        weights = self._weights()
        slopes = {
            OWN: torch.autograd.grad(own, weights, retain_graph=True, allow_unused=True),
            TAUGHT: torch.autograd.grad(taught, weights, allow_unused=True),
        }
        for weight, *both in zip(weights, *slopes.values(), strict=True):
            shared = all(slope is not None for slope in both)
            for kind, slope in zip(slopes, both, strict=True):
                remembered = self.state[weight][kind].mul_(self.momenta[kind] if shared else self.momentum)
                if slope is not None:
                    remembered.add_(slope)

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Weights decay with cross-entropy, as they do without a teacher."""
        for group in self.param_groups:
            for weight in group["params"]:
                if not weight.requires_grad:
                    continue
                own, taught = (self.state[weight][kind] for kind in (OWN, TAUGHT))
                if group["weight_decay"]:
                    own.add_(weight, alpha=group["weight_decay"])
                weight.sub_(group["lr"] * (own + taught))

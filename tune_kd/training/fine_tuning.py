"""How a training goes on from pretrained weights: which part learns when, how fast, and when it is over."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from torch import nn

from tune_kd import names

How = Literal["all", "head", "head_then_all"]

ALONE = 1 / 3
"""Of all epochs: how long a new head learns alone before the body does."""


@dataclass(frozen=True)
class FineTuning:
    """`head` names the last layer's weights; `head_rate` is their learning rate as a multiple of the body's."""

    head: tuple[str, ...] = ()
    how: How = "all"
    head_rate: float = 1.0
    patience: int | None = None

    def groups(self, model: nn.Module) -> list[list[nn.Parameter]]:
        """Body and head, or all as one where there is no head to tell apart."""
        body = [weight for name, weight in model.named_parameters() if name not in self.head]
        head = [weight for name, weight in model.named_parameters() if name in self.head]
        return [body, head] if head and body else [body + head]

    def rates(self, epoch: int, epochs: int) -> tuple[float, ...]:
        """What the learning rate of each group is multiplied by; a rate of nothing leaves the body as it was."""
        alone = self.how == "head" or (self.how == "head_then_all" and epoch <= math.ceil(ALONE * epochs))
        return (0.0 if alone else 1.0, self.head_rate)

    def over(self, history: Sequence[Mapping[str, float]], chosen_by: str = names.VAL_ACCURACY) -> bool:
        """Whether validation has not become better for as many epochs as one is patient."""
        if self.patience is None or not history:
            return False
        scores = [metrics[chosen_by] for metrics in history]
        return len(scores) - 1 - scores.index(max(scores)) >= self.patience

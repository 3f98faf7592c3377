"""Numbers that change from epoch to epoch."""

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Schedule:
    """One value for each epoch, counted from 1: from `value` in the first to `end` in the last, in one of four ways."""

    value: float
    end: float = 0.0
    kind: str = "constant"
    epochs: int = 1

    def __call__(self, epoch: int) -> float:
        done = (epoch - 1) / max(1, self.epochs - 1)
        match self.kind:
            case "linear":
                return self.value + (self.end - self.value) * done
            case "cosine":
                return self.end + (self.value - self.end) * (1 + math.cos(math.pi * done)) / 2
            case "step":
                return self.value if epoch <= max(1, self.epochs // 2) else self.end
            case _:
                return self.value

"""Numbers that change from epoch to epoch."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Schedule:
    """One value for each epoch, counted from 1."""

    value: float

    def __call__(self, epoch: int) -> float:
        return self.value

"""No early stopping: every trial is trained to the end."""

from collections.abc import Mapping

from tune_kd.space.schema import Budget
from tune_kd.tuning.objectives import Objective
from tune_kd.tuning.rules.rule import NOTHING, GoOn, Rule


class NoStopping(Rule):
    def __init__(self, budget: Budget, objective: Objective, costs: Mapping[int, float] = NOTHING) -> None:
        super().__init__(budget, objective, costs)
        self.complete = self.trials

    @property
    def begin(self) -> int:
        return self.last

    def onward(self) -> GoOn | None:
        """One whose process went away, or that was complete before the search got more epochs."""
        number = min(self.waiting, default=None)
        return None if number is None else GoOn(number, self.last, 0)

"""Median stopping: a trial ends when what it has shown is below the median of all that came as far."""

from collections.abc import Mapping

from tune_kd.space.schema import Budget
from tune_kd.tuning.objectives import Objective
from tune_kd.tuning.rules.rule import NOTHING, Stepwise
from tune_kd.tuning.standing import Standing

LEAST = 3
"""Among fewer there is no median to speak of."""


class Median(Stepwise):
    def __init__(self, budget: Budget, objective: Objective, costs: Mapping[int, float] = NOTHING) -> None:
        super().__init__(budget, objective, costs)
        self.complete = min(self.trials, LEAST - 1)
        self._at: dict[int, Standing] = {epoch: objective.standing(costs) for epoch in self.steps}

    def reported(self, number: int, epoch: int, value: float) -> None:
        super().reported(number, epoch, value)
        if epoch in self._at:
            self._at[epoch].arrive(number, self.best[number])

    def stops(self, number: int) -> bool:
        there = self._at.get(self.epochs[number])
        if there is None or len(there.ranked) < LEAST or there.on_front(number):
            return False
        return there.rank(number) >= (len(there.ranked) + 1) // 2

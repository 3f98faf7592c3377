"""Median stopping: a trial ends when its best so far is below the median of all that came as far.

Has no rungs: it looks at a trial every so many epochs, and nobody ever waits.
"""

import math
from collections.abc import Mapping

from tune_kd.space.schema import Budget
from tune_kd.tuning.objectives import Objective
from tune_kd.tuning.rules.rule import NOTHING, GoOn, Rule
from tune_kd.tuning.standing import Standing

LEAST = 3
"""Among fewer there is no median to speak of."""


class Median(Rule):
    def __init__(self, budget: Budget, objective: Objective, costs: Mapping[int, float] = NOTHING) -> None:
        super().__init__(budget, objective, costs)
        self._marks = (*self.marks(budget), self.last)
        self._at: dict[int, Standing] = {epoch: objective.standing(costs) for epoch in self._marks}

    @classmethod
    def marks(cls, budget: Budget) -> tuple[int, ...]:
        return tuple(range(budget.first, budget.epochs, budget.first))

    @property
    def begin(self) -> int:
        return self._marks[0]

    def reported(self, number: int, epoch: int, value: float) -> None:
        super().reported(number, epoch, value)
        if epoch in self._at:
            self._at[epoch].arrive(number, self.best[number])

    def onward(self) -> GoOn | None:
        number = min(self.waiting, key=lambda number: (-self.epochs[number], number), default=None)
        if number is None:
            return None
        until = next(mark for mark in self._marks if mark > self.epochs[number])
        return GoOn(number, until, math.ceil(until / self.budget.first))

    def stops(self, number: int) -> bool:
        there = self._at.get(self.epochs[number])
        if there is None or len(there.ranked) < LEAST or there.on_front(number):
            return False
        return there.rank(number) >= (len(there.ranked) + 1) // 2

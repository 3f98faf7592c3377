"""Everybody a little, the best fifth to the end: the rule that a study has if it names none.

One rung, at a ninth of the epochs: earlier ranks mislead, and halving twice stops what is slow at first. A trial pauses
there and frees its slot. Half of those that go on are the best of all; the other half the best of each kind of
augmentation, since students of augmented images learn slowly at first and a comparison at the rung is not fair to them.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping
from typing import Any, Final

from tune_kd.space.schema import Budget
from tune_kd.tuning.objectives import Objective
from tune_kd.tuning.rules.rule import NOTHING, GoOn, Rule
from tune_kd.tuning.standing import Standing

SHARE: Final = 5
APART: Final = ("augment.kind",)
"""A schedule changes little by the rung, and comparing fewer costs more than it brings."""

Group = tuple[Any, ...]


class Auto(Rule):
    def __init__(self, budget: Budget, objective: Objective, costs: Mapping[int, float] = NOTHING) -> None:
        super().__init__(budget, objective, costs)
        least = max(1, self.trials // SHARE, len(objective.models), budget.confirm)
        self.complete = budget.complete or min(self.trials, least)
        self._rung = budget.first
        self._groups: dict[int, Group] = {}
        self._all = objective.standing(costs)
        self._there: defaultdict[Group, Standing] = defaultdict(lambda: objective.standing(costs))
        self._ended: Counter[Group] = Counter()
        """How many of each group have trained to the end."""
        self._between: set[int] = set()
        """Not at the rung: new, or put down on the way."""

    @classmethod
    def marks(cls, budget: Budget) -> tuple[int, ...]:
        return (budget.first,) if budget.first < budget.epochs else ()

    @property
    def begin(self) -> int:
        return self._rung

    # What happened.

    def asked(self, number: int, config: Mapping[str, Any] = NOTHING) -> None:
        if number not in self.epochs:
            self._between.add(number)
            # A kind of few has no share of its own: small budgets are compared as one.
            self._groups[number] = tuple(config.get(key) for key in APART) if self.trials >= 2 * SHARE else ()
        super().asked(number, config)

    def reported(self, number: int, epoch: int, value: float) -> None:
        self._leave(number)
        super().reported(number, epoch, value)
        if epoch == self._rung:
            for standing in (self._all, self._standing(number)):
                standing.arrive(number, self.best[number])
        else:
            self._between.add(number)
        self._ended[self._groups[number]] += epoch == self.last

    def finished(self, number: int) -> None:
        self._leave(number)
        super().finished(number)

    def _leave(self, number: int) -> None:
        self._between.discard(number)
        if self.epochs[number] == self._rung:
            for standing in (self._all, self._standing(number)):
                standing.leave(number)

    def _standing(self, number: int) -> Standing:
        return self._there[self._groups[number]]

    # What goes on.

    def onward(self) -> GoOn | None:
        """One put down on the way first: its slot was its own. Then one of the best tenth, of all or of a kind."""
        if between := self._between - self.live:
            number = max(between, key=lambda n: (self.epochs[n], -n))
            return GoOn(number, self._rung if self.epochs[number] < self._rung else self.last, 1)
        for standing in (self._all, *self._there.values()):
            best = self._best_waiting(standing)
            if best is not None and standing.rank(best) < len(standing.ranked) // (2 * SHARE):
                return GoOn(best, self.last, 1)
        return None

    def leftover(self) -> GoOn | None:
        """Until a fifth trains to the end: first a kind that lacks its share, then the best of all.

        What nothing beats in cost and accuracy goes on whatever has trained already: each model gets its turn.
        """
        if any(self.epochs[number] < self._rung for number in self.live):
            return None  # who is still to come may be better
        beyond = Counter(self._groups[number] for number in self.live | self._between if self._goes_on(number))
        enough = self.completed + beyond.total() >= self.complete

        def urgency(number: int) -> tuple[bool, float, int]:
            group = self._groups[number]
            lacks = len(self._there[group].ranked) / (2 * SHARE) - beyond[group] - self._ended[group]
            return self._all.on_front(number), lacks if group and lacks >= 0.5 else 0.0, -self._all.rank(number)

        best = [self._best_waiting(standing) for standing in (self._all, *self._there.values())]
        number = max((number for number in best if number is not None), key=urgency, default=None)
        if number is None or (enough and not self._all.on_front(number)):
            return None
        return GoOn(number, self.last, 1)

    def _goes_on(self, number: int) -> bool:
        """Past the rung, and not yet at the end."""
        return self._rung <= self.epochs[number] < self.last

    def _best_waiting(self, standing: Standing) -> int | None:
        return next((number for _, number in standing.waiting if number not in self.live), None)

"""Everybody a little, the best fifth to the end: the rule that a study has if it names none.

One rung, at a ninth of the epochs: earlier ranks mislead, and halving twice stops what is slow at first. A trial pauses
there and goes on when it is among the best fifth of those it can be compared with; when new trials have run out, the
best of those that wait go on until a fifth of all has trained to the end.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from typing import Any, Final

from tune_kd.space.schema import Budget
from tune_kd.tuning.objectives import Objective
from tune_kd.tuning.rules.rule import NOTHING, GoOn, Rule
from tune_kd.tuning.standing import Standing

SHARE: Final = 5
LEAST: Final = 2
"""One training to the end would leave the choice to the rung alone."""

APART: Final = ("augment.kind",)
"""Students of augmented images learn slowly at first, so they are compared with each other only.

A schedule changes little by the rung, and comparing fewer costs more than it brings (docs/results/early-stopping.md).
"""

Group = tuple[Any, ...]


class Auto(Rule):
    def __init__(self, budget: Budget, objective: Objective, costs: Mapping[int, float] = NOTHING) -> None:
        super().__init__(budget, objective, costs)
        self.complete = budget.complete or min(self.trials, max(LEAST, self.trials // SHARE, len(objective.models)))
        self._rung = budget.first
        self._groups: dict[int, Group] = {}
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
            # A group of few has no best fifth: small budgets are compared as one.
            self._groups[number] = tuple(config.get(key) for key in APART) if self.trials >= 2 * SHARE else ()
        super().asked(number, config)

    def reported(self, number: int, epoch: int, value: float) -> None:
        self._leave(number)
        super().reported(number, epoch, value)
        if epoch == self._rung:
            self._standing(number).arrive(number, self.best[number])
        else:
            self._between.add(number)
        self._ended[self._groups[number]] += epoch == self.last

    def finished(self, number: int) -> None:
        self._leave(number)
        super().finished(number)

    def _leave(self, number: int) -> None:
        self._between.discard(number)
        if self.epochs[number] == self._rung:
            self._standing(number).leave(number)

    def _standing(self, number: int) -> Standing:
        return self._there[self._groups[number]]

    # What goes on.

    def onward(self) -> GoOn | None:
        """One that was put down on the way first: its slot was its own. Then one of a group's best fifth."""
        if between := self._between - self.live:
            number = max(between, key=lambda n: (self.epochs[n], -n))
            return GoOn(number, self._rung if self.epochs[number] < self._rung else self.last, 1)
        for number in self._best_waiting():
            standing = self._standing(number)
            if standing.rank(number) < len(standing.ranked) // SHARE:
                return GoOn(number, self.last, 1)
        return None

    def leftover(self) -> GoOn | None:
        """Of the group that has had fewest of its share, so that each has some; those on a front before all others."""
        if any(self.epochs[number] < self._rung for number in self.live):
            return None  # who is still to come may be better
        beyond = Counter(self._groups[number] for number in self.live | self._between if self._goes_on(number))
        if self.completed + beyond.total() >= self.complete:
            return None

        def urgency(number: int) -> tuple[bool, float, float, int]:
            standing, group = self._standing(number), self._groups[number]
            had = beyond[group] + self._ended[group]
            return standing.on_front(number), len(standing.ranked) / SHARE - had, self.best[number], -number

        number = max(self._best_waiting(), key=urgency, default=None)
        return None if number is None else GoOn(number, self.last, 1)

    def _goes_on(self, number: int) -> bool:
        """Past the rung, and not yet at the end."""
        return self._rung <= self.epochs[number] < self.last

    def _best_waiting(self) -> Iterator[int]:
        """The best of each group that waits at the rung."""
        for standing in self._there.values():
            idle = (number for _, number in standing.waiting if number not in self.live)
            if (number := next(idle, None)) is not None:
                yield number

"""Successive halving as published, for one arm: a trial pauses at each rung and goes on when it is among the best."""

from collections.abc import Iterator, Mapping

from tune_kd.space.schema import Budget
from tune_kd.tuning.objectives import Objective
from tune_kd.tuning.rules.rule import NOTHING, GoOn, Rule
from tune_kd.tuning.standing import Standing


class Halving(Rule):
    """The rungs, and who waits at which."""

    def __init__(self, budget: Budget, objective: Objective, costs: Mapping[int, float] = NOTHING) -> None:
        super().__init__(budget, objective, costs)
        self.rungs = (*self.marks(budget), budget.epochs)
        self._at = [objective.standing(costs) for _ in self.rungs]
        self._between: set[int] = set()
        """Not at a rung: new, or put down between two of them."""

    @classmethod
    def marks(cls, budget: Budget) -> tuple[int, ...]:
        early, epoch = [], budget.first
        while epoch < budget.epochs:
            early.append(epoch)
            epoch *= budget.reduction
        return tuple(early)

    @classmethod
    def expected_epochs(cls, budget: Budget, objective: Objective) -> int:
        """When each rung lets its share through."""
        total, before, alive = 0, 0, budget.trials
        for rung in (*cls.marks(budget), budget.epochs):
            total += alive * (rung - before)
            before = rung
            alive = max(alive // budget.reduction, min(objective.complete(budget), budget.trials))
        return total

    @property
    def begin(self) -> int:
        return self.rungs[0]

    def asked(self, number: int, config: Mapping[str, object] = NOTHING) -> None:
        if number not in self.epochs:
            self._between.add(number)
        super().asked(number, config)

    def reported(self, number: int, epoch: int, value: float) -> None:
        self._leave(number)
        super().reported(number, epoch, value)
        if rung := self._rung(epoch):
            rung.arrive(number, self.best[number])
        else:
            self._between.add(number)

    def finished(self, number: int) -> None:
        self._leave(number)
        super().finished(number)

    def _leave(self, number: int) -> None:
        self._between.discard(number)
        if rung := self._rung(self.epochs[number]):
            rung.leave(number)

    def _rung(self, epoch: int) -> Standing | None:
        return self._at[self.rungs.index(epoch)] if epoch in self.rungs else None

    # What goes on.

    def quota(self, standing: Standing) -> int:
        """How many of those that have come to a rung may go on from it."""
        return len(standing.ranked) // self.budget.reduction

    def onward(self) -> GoOn | None:
        return self._interrupted() or self._promotable()

    def _interrupted(self) -> GoOn | None:
        """A trial whose process went away between rungs goes on first: its slot was its own."""
        between = self._between - self.live
        if not between:
            return None
        number = max(between, key=lambda n: (self.epochs[n], -n))
        return self._on(number, next(k for k, rung in enumerate(self.rungs) if rung > self.epochs[number]))

    def _promotable(self) -> GoOn | None:
        """The best waiting trial of the highest rung where it is among the best."""
        for below, number in self._best_waiting():
            if self._at[below].rank(number) < self.quota(self._at[below]):
                return self._on(number, below + 1)
        return None

    def leftover(self) -> GoOn | None:
        """The best of the highest rung, or of a front that waits lower, until `complete` have trained to the end.

        Those on the front of their rung go first: each model there gets its turn.
        """
        if self.completed + len(self.live) >= self.complete:
            return None
        waiting = list(self._best_waiting())
        if not waiting:
            return None
        below, number = min(waiting, key=lambda one: not self._at[one[0]].on_front(one[1]))
        return self._on(number, below + 1)

    def _best_waiting(self) -> Iterator[tuple[int, int]]:
        """Rung by rung from the highest: the best trial that waits there."""
        for below in range(len(self.rungs) - 2, -1, -1):
            idle = (number for _, number in self._at[below].waiting if number not in self.live)
            if (number := next(idle, None)) is not None:
                yield below, number

    def _on(self, number: int, rung: int) -> GoOn:
        return GoOn(number, self.rungs[rung], rung)


class Asha(Halving):
    """Nobody ends at a rung: who waits there can still be promoted."""


class Stop(Halving):
    """Ray's way: a trial goes on at once, or ends at its rung for good."""

    def __init__(self, budget: Budget, objective: Objective, costs: Mapping[int, float] = NOTHING) -> None:
        super().__init__(budget, objective, costs)
        self.complete = 1  # the first that comes to a rung is the best there

    def quota(self, standing: Standing) -> int:
        return len(standing.ranked)

    def leftover(self) -> GoOn | None:
        return None

    def stops(self, number: int) -> bool:
        """What is on the front of its rung never ends there, however few may go on."""
        rung = self._rung(self.epochs[number])
        if rung is None or rung is self._at[-1] or rung.on_front(number):
            return False
        # Among the first few there is nobody to compare with.
        return rung.rank(number) >= max(1, len(rung.ranked) // self.budget.reduction)

"""The field narrows slowly: the rule that a study has if it names none.

Rungs at a 27th of the epochs, twice that, and so on; at each the worst third of those that came there stays behind. So
little is decided early, when ranks mislead, and an epoch more is only given to those that are worth it. All that may
come to a rung are compared there before any goes on, which makes the answer the same on any number of workers.

The best of each kind goes on from every rung, beside the best of all: students of augmented images learn slowly at
first, those whose learning rate falls at the end gain most there, and no epoch before the last compares them fairly.
Where earlier searches of relatives have taught a forecast that ranks better than what a training has shown, the
forecast ranks instead, and as few go on as at the later rung that it is as good as.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from tune_kd.space.schema import Budget
from tune_kd.tuning.forecast import FEW, rank_skill
from tune_kd.tuning.objectives import Objective
from tune_kd.tuning.rules.rule import NOTHING, GoOn, Rule
from tune_kd.tuning.standing import Standing

SHARE: Final = 2 / 3
"""Of those at a rung that go on. As epochs double, each rung is given a third more of them than the one before."""
FIRST: Final = 27
LAST: Final = 2 / 3
"""After so much of its epochs a training has nearly cost what it can."""
APART: Final = ("augment.kind", "train.schedule")
"""What makes a kind: as many of these, in this order, as leave enough trials for each."""
LEAST: Final = 4
"""So many trials a kind, on average: were there more kinds, hardly anybody would be stopped."""

MANY: Final = 300
"""More of them say enough without a forecast, which takes the longer the more there are."""

Group = tuple[Any, ...]


@dataclass(frozen=True)
class Opinion:
    """Of a forecast, at a rung: who is ahead, and the later rung that it is as good as."""

    as_at: int
    order: tuple[int, ...]


class Auto(Rule):
    def __init__(self, budget: Budget, objective: Objective, costs: Mapping[int, float] = NOTHING) -> None:
        super().__init__(budget, objective, costs)
        self.rungs = (*self.marks(budget), self.last)
        through = self._through(self.rungs[-2]) if len(self.rungs) > 1 else self.trials
        least = max(1, through, len(objective.models), budget.confirm)
        self.complete = budget.complete or min(self.trials, least)
        self._groups: dict[int, Group] = {}
        self._all = [objective.standing(costs) for _ in self.rungs]
        self._kinds = [defaultdict[Group, Standing](lambda: objective.standing(costs)) for _ in self.rungs]
        self._between: set[int] = set()
        """Not at a rung: new, or put down on the way."""
        self._configs: dict[int, Mapping[str, Any]] = {}
        self._shown: dict[int, list[float]] = {}
        """The best so far, epoch by epoch."""
        self._opinions: dict[tuple[int, int], Opinion | None] = {}
        self._arriving: set[int] = set()
        """At a rung, though their process has not said yet that it is done."""

    @classmethod
    def marks(cls, budget: Budget) -> tuple[int, ...]:
        marks, epoch = [], budget.first_rung or math.ceil(budget.epochs / FIRST)
        while epoch <= LAST * budget.epochs:
            marks.append(epoch)
            epoch *= 2
        return tuple(marks)

    @property
    def begin(self) -> int:
        return self.rungs[0]

    # What happened.

    def asked(self, number: int, config: Mapping[str, Any] = NOTHING) -> None:
        if number not in self.epochs:
            self._between.add(number)
            self._configs[number], self._shown[number] = config, []
            self._groups[number] = tuple(config.get(key) for key in APART)
        super().asked(number, config)

    def reported(self, number: int, epoch: int, value: float) -> None:
        self._leave(number)
        super().reported(number, epoch, value)
        self._shown[number].append(self.best[number])
        if epoch in self.rungs:
            for standing in self._standings(number, self.rungs.index(epoch)):
                standing.arrive(number, self.best[number])
            self._arriving.add(number)
        else:
            self._between.add(number)

    def finished(self, number: int) -> None:
        self._leave(number)
        super().finished(number)

    def _leave(self, number: int) -> None:
        self._between.discard(number)
        if self.epochs[number] in self.rungs:
            for standing in self._standings(number, self.rungs.index(self.epochs[number])):
                standing.leave(number)

    def _standings(self, number: int, rung: int) -> tuple[Standing, Standing]:
        return self._all[rung], self._kinds[rung][self._groups[number]]

    # What goes on.

    def onward(self) -> GoOn | None:
        """One put down on the way: its slot was its own."""
        number = max(self._between - self.live, key=lambda number: (self.epochs[number], -number), default=None)
        if number is None:
            return None
        return self._to(number, next(k for k, rung in enumerate(self.rungs) if rung > self.epochs[number]))

    def leftover(self) -> GoOn | None:
        """The lowest rung first: who comes from there is compared at the next."""
        self._arriving &= self.live  # whoever trains again was not live when it was chosen
        if self._arriving:
            return None
        for rung, epoch in enumerate(self.rungs[:-1]):
            if any(self.epochs[number] < epoch for number in self.live):
                return None  # who is still to come may be better
            if (number := self._next_from(rung)) is not None:
                return self._to(number, rung + 1)
        return None

    def _to(self, number: int, rung: int) -> GoOn:
        return GoOn(number, self.rungs[rung], rung)

    def _through(self, epoch: int) -> int:
        """How many go on from there: two thirds at a 27th of the epochs, and two thirds of these at each doubling."""
        return round(self.trials * math.pow(SHARE, 1 + math.log2(FIRST * epoch / self.last)))

    def _next_from(self, rung: int) -> int | None:
        """The best of all as long as there are places; then the best of a kind of which nobody has gone on, and what is
        on a front."""
        opinion = self._opinion(rung)
        there, gone = self._all[rung], self._gone_on(rung)
        places = max(self.complete, self._through(self.rungs[opinion.as_at if opinion else rung]))
        foremost = self._foreseen_first(rung, opinion) if opinion else sorted(self._best_waiting(rung), key=there.rank)
        if gone.total() < places:
            return next(iter(foremost), None)
        keys = self._keys()
        known = {group[:keys] for group in gone}
        beside = (n for n in foremost if self._groups[n][:keys] not in known or there.on_front(n))
        return next(beside, None)

    def _keys(self) -> int:
        """How many of those that make a kind do."""
        groups = self._kinds[0]
        enough = (keys for keys in range(len(APART), 0, -1) if LEAST * len({g[:keys] for g in groups}) <= self.trials)
        return next(enough, 0)

    def _best_waiting(self, rung: int) -> Iterator[int]:
        for standing in (self._all[rung], *self._kinds[rung].values()):
            if (number := next((n for _, n in standing.waiting if n not in self.live), None)) is not None:
                yield number

    def _foreseen_first(self, rung: int, opinion: Opinion) -> Iterator[int]:
        idle = self.open - self.live
        return (n for n in opinion.order if n in idle and self.epochs[n] == self.rungs[rung])

    def _gone_on(self, rung: int) -> Counter[Group]:
        """Those at the next rung or on their way there; one that failed on the way leaves its place."""
        gone = Counter({group: len(kind.ranked) for group, kind in self._kinds[rung + 1].items()})
        low, high = self.rungs[rung : rung + 2]
        gone.update(self._groups[n] for n in self.live | self._between if low <= self.epochs[n] < high)
        return gone

    # What earlier searches say.

    def _opinion(self, rung: int) -> Opinion | None:
        """Who of those at a rung is ahead by forecast, where that has earned its vote; a front it cannot rank."""
        if self.forecast is None or self.objective.models:
            return None
        key = rung, len(self._all[rung].ranked)
        if key not in self._opinions:
            as_at = self.forecast.worth(rung)
            if as_at is not None and rung:
                as_at = self.forecast.worth(rung, self._own_skill(rung - 1))
            order = self._forecast(rung) if as_at is not None else {}
            ranked = tuple(sorted(order, key=lambda number: (-order[number], number)))
            self._opinions[key] = None if as_at is None else Opinion(as_at, ranked)
        return self._opinions[key]

    @property
    def forecast_stopped(self) -> int:
        ranked = [len(standing.ranked) for standing in self._all]
        return sum(
            ranked[rung] - ranked[rung + 1]
            for rung in range(len(self.rungs) - 1)
            if self._opinions.get((rung, ranked[rung]))
        )

    def foreseen(self) -> Mapping[int, float]:
        """Of those at the first rung: there all of them are as long as others are begun."""
        if self.forecast is None or self.objective.models or not FEW <= len(self._all[0].ranked) <= MANY:
            return NOTHING
        return NOTHING if self.forecast.worth(0) is None else self._forecast(0)

    def _forecast(self, rung: int) -> dict[int, float]:
        assert self.forecast is not None
        numbers = sorted(number for _, number in self._all[rung].ranked)
        epoch = self.rungs[rung]
        bests = np.array([[self._shown[n][max(0, epoch - 2)], self._shown[n][epoch - 1]] for n in numbers])
        scores = self.forecast.scores(self.arm, rung, [self._configs[n] for n in numbers], bests)
        return dict(zip(numbers, scores.tolist(), strict=True))

    def _own_skill(self, before: int) -> float | None:
        """How much better than what they had shown it ranked those that have come to the next rung since."""
        came = sorted(number for _, number in self._all[before + 1].ranked)
        now = np.array([self._shown[n][self.rungs[before + 1] - 1] for n in came])
        shown = np.array([self._shown[n][self.rungs[before] - 1] for n in came])
        guess = self._forecast(before)
        skill = rank_skill(np.array([guess[n] for n in came]), now) - rank_skill(shown, now)
        return skill if math.isfinite(skill) else None

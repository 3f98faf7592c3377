"""What an early-stopping rule is: it says of one arm what to train next, and what ends before its last epoch.

A rule holds nothing that the ledger does not: it is built by telling it what the ledger has, and can be thrown away.
Its answers must not take longer with ten thousand trials than with ten.
"""

import random
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

from tune_kd.space.schema import Budget
from tune_kd.tuning.forecast import Forecast
from tune_kd.tuning.objectives import Objective

NOTHING: Mapping[Any, Any] = MappingProxyType({})


@dataclass(frozen=True)
class GoOn:
    """Train trial `number` on to epoch `until`; of several arms, the one of the highest `rung` goes first."""

    number: int
    until: int
    rung: int


Step = GoOn | Literal["new", "wait", "done"]


class Rule(ABC):
    """Where an arm's trials stand. Values are validation accuracies; higher is better.

    `costs` has what each trial's model costs, by the trial's number, where the search has two objectives.
    """

    def __init__(self, budget: Budget, objective: Objective, costs: Mapping[int, float] = NOTHING) -> None:
        self.budget = budget
        self.objective = objective
        self.costs = costs
        self.trials = budget.trials
        self.last = budget.epochs
        self.complete = objective.complete(budget)
        """So many trials at least train to the end, if none fails; a rule that lets fewer or more says so."""
        self.epochs: dict[int, int] = {}
        self.best: dict[int, float] = {}
        """What each is compared by: its best epoch so far, or its latest where the last epoch's weights are kept."""
        self.live: set[int] = set()
        self.open: set[int] = set()
        """Trials that have not ended."""
        self.completed = 0
        self.arm = ""
        self.forecast: Forecast | None = None
        """What earlier searches teach, where there are any; a rule may ask it, or not."""
        self.closing = False
        """The time is up: what runs may end, nothing else is begun."""

    # What happened.

    def asked(self, number: int, config: Mapping[str, Any] = NOTHING) -> None:
        """A trial with these settings is about to be trained."""
        self.epochs.setdefault(number, 0)
        self.open.add(number)

    def reported(self, number: int, epoch: int, value: float) -> None:
        self.epochs[number] = epoch
        self.best[number] = value if self.objective.keep == "last" else max(value, self.best.get(number, value))
        self.completed += epoch == self.last

    def finished(self, number: int) -> None:
        """The trial has ended, for whatever reason; what it showed still counts."""
        self.open.discard(number)

    # What to do.

    @property
    @abstractmethod
    def begin(self) -> int:
        """The epoch to which a new trial is trained at first."""

    @abstractmethod
    def onward(self) -> GoOn | None:
        """A trial that goes on before any new one is begun."""

    def leftover(self) -> GoOn | None:
        """A trial that goes on when there are no new ones to begin."""
        return None

    def stops(self, number: int) -> bool:
        """Whether a trial that has been trained as far as it should be ends there for good."""
        return False

    def next(self) -> Step:
        if self.closing:
            return "wait" if self.live else "done"
        if step := self.onward():
            return step
        if len(self.epochs) < self.trials:
            return "new"
        return self.leftover() or ("wait" if self.live else "done")

    @property
    def forecast_stopped(self) -> int:
        """Trainings that a forecast has kept from going on."""
        return 0

    def foreseen(self) -> Mapping[int, float]:
        """What the sampler is told of trials instead of what they have shown: where a forecast ranks each."""
        return NOTHING

    @property
    def waiting(self) -> Iterator[int]:
        """Trials that have neither ended nor are under way."""
        yield from self.open - self.live

    # What people are told before.

    @classmethod
    def marks(cls, budget: Budget) -> tuple[int, ...]:
        """The epochs before the last at which a trial may wait or end."""
        return ()

    @classmethod
    def expected_epochs(cls, budget: Budget, objective: Objective) -> int:
        """What an arm's trials train, one after the other, where which of them is better is a matter of luck."""
        # Where students differ in cost, so do these.
        costs = {number: float(number % max(1, len(objective.models))) for number in range(budget.trials)}
        rule, luck = cls(budget, objective, costs), random.Random(0)
        while not isinstance(step := rule.next(), str) or step == "new":
            number, until = (len(rule.epochs), rule.begin) if isinstance(step, str) else (step.number, step.until)
            rule.asked(number)
            for epoch in range(rule.epochs[number] + 1, until + 1):
                rule.reported(number, epoch, luck.random())
            if until == rule.last or rule.stops(number):
                rule.finished(number)
        return sum(rule.epochs.values())


class Stepwise(Rule):
    """A rule without rungs: looks at each trial every so many epochs, and nobody ever waits."""

    def __init__(self, budget: Budget, objective: Objective, costs: Mapping[int, float] = NOTHING) -> None:
        super().__init__(budget, objective, costs)
        self.steps = (*self.marks(budget), self.last)

    @classmethod
    def marks(cls, budget: Budget) -> tuple[int, ...]:
        return tuple(range(budget.first, budget.epochs, budget.first))

    @property
    def begin(self) -> int:
        return self.steps[0]

    def onward(self) -> GoOn | None:
        """Who is furthest goes first, so that what was begun ends."""
        number = min(self.waiting, key=lambda number: (-self.epochs[number], number), default=None)
        if number is None:
            return None
        return next(GoOn(number, step, k) for k, step in enumerate(self.steps) if step > self.epochs[number])

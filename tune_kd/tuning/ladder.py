"""Successive halving as published, for one arm: a trial pauses at each rung and goes on when it is among the best.

Holds nothing that the ledger does not: it is built by telling it what the ledger has, and can be thrown away.
"""

import heapq
from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True)
class GoOn:
    """Train trial `number` on to epoch `until`, which is rung `rung`."""

    number: int
    until: int
    rung: int


Step = GoOn | Literal["new", "wait", "done"]


@dataclass
class Ladder:
    """Where an arm's trials stand. Values are best validation accuracies so far; higher is better."""

    rungs: tuple[int, ...]
    reduction: int
    trials: int
    complete: int
    stop_only: bool = False
    epochs: dict[int, int] = field(default_factory=dict)
    best: dict[int, float] = field(default_factory=dict)
    live: set[int] = field(default_factory=set)
    ended: set[int] = field(default_factory=set)
    closing: bool = False
    _at: list[dict[int, float]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._at = [{} for _ in self.rungs]

    # What happened.

    def asked(self, number: int) -> None:
        self.epochs.setdefault(number, 0)

    def reported(self, number: int, epoch: int, value: float) -> None:
        self.epochs[number] = epoch
        self.best[number] = max(value, self.best.get(number, value))
        if epoch in self.rungs:
            self._at[self.rungs.index(epoch)][number] = self.best[number]

    def finished(self, number: int) -> None:
        """The trial has ended, for whatever reason; what it showed at its rungs still counts there."""
        self.ended.add(number)

    # What to do.

    def next(self) -> Step:
        if self.closing:
            return "wait" if self.live else "done"
        step = self._interrupted() or self._promotable()
        if step:
            return step
        if len(self.epochs) < self.trials:
            return "new"
        return self._toward_completion() or ("wait" if self.live else "done")

    def stops(self, number: int) -> bool:
        """With early_stopping: stop, whether a trial that has just reached a rung ends there for good."""
        if not self.stop_only or self.epochs[number] == self.rungs[-1]:
            return False
        standing = self._at[self.rungs.index(self.epochs[number])]
        # Among the first few there is nobody to compare with.
        return number not in self._leaders(standing, max(1, len(standing) // self.reduction))

    @property
    def completed(self) -> int:
        return len(self._at[-1])

    def _idle(self, number: int) -> bool:
        return number not in self.live and number not in self.ended

    def _interrupted(self) -> GoOn | None:
        """A trial whose process went away between rungs goes on first: its slot was its own."""
        between = [number for number, epoch in self.epochs.items() if epoch not in self.rungs and self._idle(number)]
        if not between:
            return None
        number = max(between, key=lambda n: (self.epochs[n], -n))
        rung = next(k for k, epoch in enumerate(self.rungs) if epoch > self.epochs[number])
        return GoOn(number, self.rungs[rung], rung)

    def _promotable(self) -> GoOn | None:
        """The best waiting trial of the highest rung where it is among the best 1/reduction."""
        for rung in range(len(self.rungs) - 2, -1, -1):
            standing = self._at[rung]
            waiting = [n for n in standing if self._idle(n) and self.epochs[n] == self.rungs[rung]]
            if not waiting:
                continue
            quota = len(standing) if self.stop_only else len(standing) // self.reduction
            leaders = self._leaders(standing, quota)
            able = [number for number in waiting if number in leaders]
            if able:
                return GoOn(min(able, key=lambda n: (-standing[n], n)), self.rungs[rung + 1], rung + 1)
        return None

    def _toward_completion(self) -> GoOn | None:
        """New trials have run out: the best of the highest rung goes on until `complete` have trained to the end."""
        if self.stop_only or self.completed + len(self.live) >= self.complete:
            return None
        for rung in range(len(self.rungs) - 2, -1, -1):
            standing = self._at[rung]
            waiting = [n for n in standing if self._idle(n) and self.epochs[n] == self.rungs[rung]]
            if waiting:
                return GoOn(min(waiting, key=lambda n: (-standing[n], n)), self.rungs[rung + 1], rung + 1)
        return None

    def _leaders(self, standing: dict[int, float], quota: int) -> set[int]:
        return set(heapq.nsmallest(quota, standing, key=lambda n: (-standing[n], n)))

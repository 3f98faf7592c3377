"""Successive halving as published, for one arm: a trial pauses at each rung and goes on when it is among the best.

Holds nothing that the ledger does not: it is built by telling it what the ledger has, and can be thrown away. Every
answer takes about as long with ten thousand trials as with ten: each rung keeps its values in order.
"""

from bisect import bisect_left, insort
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True)
class GoOn:
    """Train trial `number` on to epoch `until`, which is rung `rung`."""

    number: int
    until: int
    rung: int


Step = GoOn | Literal["new", "wait", "done"]

Place = tuple[float, int]
"""(minus the value, the trial's number): in order, the best comes first and the earlier of two equal ones."""


@dataclass
class Rung:
    """Who has reached one rung, with which value, and who still waits there."""

    epoch: int
    places: dict[int, Place] = field(default_factory=dict)
    ranked: list[Place] = field(default_factory=list)
    waiting: list[Place] = field(default_factory=list)

    def arrive(self, number: int, value: float) -> None:
        place = (-value, number)
        self.places[number] = place
        insort(self.ranked, place)
        insort(self.waiting, place)

    def leave(self, number: int) -> None:
        """Gone on or ended; what it showed here still counts."""
        place = self.places[number]
        at = bisect_left(self.waiting, place)
        if at < len(self.waiting) and self.waiting[at] == place:
            del self.waiting[at]

    def rank(self, number: int) -> int:
        return bisect_left(self.ranked, self.places[number])


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
    closing: bool = False
    _at: list[Rung] = field(default_factory=list)
    _between: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._at = [Rung(epoch) for epoch in self.rungs]

    # What happened.

    def asked(self, number: int) -> None:
        if number not in self.epochs:
            self.epochs[number] = 0
            self._between.add(number)

    def reported(self, number: int, epoch: int, value: float) -> None:
        self._leave(number)
        self.epochs[number] = epoch
        self.best[number] = max(value, self.best.get(number, value))
        if rung := self._rung(epoch):
            rung.arrive(number, self.best[number])
        else:
            self._between.add(number)

    def finished(self, number: int) -> None:
        """The trial has ended, for whatever reason; what it showed at its rungs still counts there."""
        self._leave(number)

    def _leave(self, number: int) -> None:
        self._between.discard(number)
        if rung := self._rung(self.epochs[number]):
            rung.leave(number)

    def _rung(self, epoch: int) -> Rung | None:
        return next((rung for rung in self._at if rung.epoch == epoch), None)

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
        rung = self._rung(self.epochs[number])
        if not self.stop_only or rung is None or rung is self._at[-1]:
            return False
        # Among the first few there is nobody to compare with.
        return rung.rank(number) >= max(1, len(rung.ranked) // self.reduction)

    @property
    def completed(self) -> int:
        return len(self._at[-1].ranked)

    @property
    def waiting(self) -> Iterator[int]:
        """Trials that have neither ended nor are under way."""
        for rung in self._at:
            yield from (number for _, number in rung.waiting if number not in self.live)
        yield from self._between - self.live

    def _interrupted(self) -> GoOn | None:
        """A trial whose process went away between rungs goes on first: its slot was its own."""
        between = self._between - self.live
        if not between:
            return None
        number = max(between, key=lambda n: (self.epochs[n], -n))
        return self._on(number, next(k for k, rung in enumerate(self._at) if rung.epoch > self.epochs[number]))

    def _promotable(self) -> GoOn | None:
        """The best waiting trial of the highest rung where it is among the best 1/reduction."""
        for below, number in self._best_waiting():
            rung = self._at[below]
            quota = len(rung.ranked) if self.stop_only else len(rung.ranked) // self.reduction
            if rung.rank(number) < quota:
                return self._on(number, below + 1)
        return None

    def _toward_completion(self) -> GoOn | None:
        """New trials have run out: the best of the highest rung goes on until `complete` have trained to the end."""
        if self.stop_only or self.completed + len(self.live) >= self.complete:
            return None
        return next((self._on(number, below + 1) for below, number in self._best_waiting()), None)

    def _best_waiting(self) -> Iterator[tuple[int, int]]:
        """Rung by rung from the highest: the best trial that waits there."""
        for below in range(len(self._at) - 2, -1, -1):
            idle = (number for _, number in self._at[below].waiting if number not in self.live)
            if (number := next(idle, None)) is not None:
                yield below, number

    def _on(self, number: int, rung: int) -> GoOn:
        return GoOn(number, self._at[rung].epoch, rung)

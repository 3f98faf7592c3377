"""The ladder of a search with two objectives: trials are compared by non-dominated rank, and only then by accuracy.

This is multi-objective successive halving as published (sort by front, keep the best third): the best trial of a small
model is on the front whatever larger models reach, so they cannot prune it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from tune_kd.tuning.ladder import GoOn, Ladder, Rung
from tune_kd.tuning.objectives import Point, ranks


@dataclass
class FrontRung(Rung):
    """A newcomer can push others off their front, so all are ranked again; places are (rank - accuracy, number)."""

    costs: Mapping[int, float] = field(default_factory=dict)
    points: dict[int, Point] = field(default_factory=dict)

    def arrive(self, number: int, value: float) -> None:
        waiting = {each for _, each in self.waiting} | {number}
        self.points[number] = (self.costs[number], value)
        self.places = {each: (rank - self.points[each][1], each) for each, rank in ranks(self.points).items()}
        self.ranked = sorted(self.places.values())
        self.waiting = [place for place in self.ranked if place[1] in waiting]

    def on_front(self, number: int) -> bool:
        return ranks(self.points)[number] == 0


@dataclass
class FrontLadder(Ladder):
    """`costs` has what each trial's model costs, by the trial's number."""

    costs: Mapping[int, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._fronts = [FrontRung(epoch, costs=self.costs) for epoch in self.rungs]
        self._at = list(self._fronts)

    def stops(self, number: int) -> bool:
        """What is on the front of its rung never ends there, however few may go on."""
        rung = next((rung for rung in self._fronts if rung.epoch == self.epochs[number]), None)
        return super().stops(number) and rung is not None and not rung.on_front(number)

    def _toward_completion(self) -> GoOn | None:
        """Those on the front of their rung go first, from the highest rung down: each model there gets its turn."""
        if super()._toward_completion() is None:
            return None
        waiting = list(self._best_waiting())
        below, number = min(waiting, key=lambda one: not self._fronts[one[0]].on_front(one[1]))
        return self._on(number, below + 1)

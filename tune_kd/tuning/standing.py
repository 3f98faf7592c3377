"""Who is ahead among the trials of an arm that have reached one epoch, by one objective or by two."""

from bisect import bisect_left, insort
from collections.abc import Mapping

from tune_kd.tuning.fronts import Point, ranks

Rank = tuple[float, int]
"""(minus the value, the trial's number): in order, the best comes first and the earlier of two equal ones."""


class Standing:
    """Who has come here, with which value, and who still waits here. In order at any time, however many there are."""

    def __init__(self) -> None:
        self.places: dict[int, Rank] = {}
        self.ranked: list[Rank] = []
        self.waiting: list[Rank] = []

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

    def on_front(self, number: int) -> bool:
        """Whether it must not end here, however many others are ahead of it."""
        return False


class FrontStanding(Standing):
    """By non-dominated rank, and only then by accuracy: the best trial of a small model is on the front whatever larger
    models reach, so they cannot prune it. This is multi-objective successive halving as published.

    A newcomer can push others off their front, so all are ranked again; places are (rank - accuracy, number).
    """

    def __init__(self, costs: Mapping[int, float]) -> None:
        super().__init__()
        self._costs = costs
        self._points: dict[int, Point] = {}

    def arrive(self, number: int, value: float) -> None:
        waiting = {each for _, each in self.waiting} | {number}
        self._points[number] = (self._costs[number], value)
        self.places = {each: (rank - self._points[each][1], each) for each, rank in ranks(self._points).items()}
        self.ranked = sorted(self.places.values())
        self.waiting = [place for place in self.ranked if place[1] in waiting]

    def on_front(self, number: int) -> bool:
        return ranks(self._points)[number] == 0

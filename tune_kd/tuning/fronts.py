"""Pareto fronts: which of several points are ahead when accuracy is not all that counts."""

from bisect import bisect_right
from collections.abc import Mapping

Point = tuple[float, float]
"""Cost (lower is better) and accuracy."""


def ranks(points: Mapping[int, Point]) -> dict[int, int]:
    """Non-dominated ranks: 0 is the front, 1 the front of what is left without it, and so on.

    Going from cheap to dear, only what came before can dominate a point, and the member of a front that came last is
    its most accurate. So a point belongs to the first front whose last member it beats. Equal points rank alike.
    """
    order = sorted(points, key=lambda number: (points[number][0], -points[number][1], number))
    lasts: list[float] = []  # the accuracy of each front's last member, negated so that it rises from front to front
    found: dict[int, int] = {}
    for place, number in enumerate(order):
        before = order[place - 1] if place else number
        if place and points[before] == points[number]:
            found[number] = found[before]
            continue
        loss = -points[number][1]
        rank = bisect_right(lasts, loss)
        lasts[rank : rank + 1] = [loss]
        found[number] = rank
    return found


def front(points: Mapping[int, Point]) -> list[int]:
    """What nothing else beats, cheapest first; of equal points the one with the lowest number."""
    ranked = ranks(points)
    first = {points[number]: number for number in sorted(points, reverse=True) if ranked[number] == 0}
    return [first[point] for point in sorted(first)]

"""Which of several searches may use how much of a cluster: arithmetic only."""

from collections.abc import Sequence
from dataclasses import dataclass

ROOM = 1e-9


@dataclass(frozen=True)
class Want:
    """What one search could use."""

    slots: int
    """How many of its trials the whole cluster could run at once."""
    wanted: int
    """How many of those it has work for now."""


def turns(wants: Sequence[Want]) -> list[int]:
    """Slots for each search, those that came first in front.

    One slot at a time goes to the search that has the smallest part of the cluster and wants more. So each may have its
    equal part, what one does not want is lent to the others, and where there are more searches than slots, those that
    came last wait.
    """
    given = [0] * len(wants)
    left = 1.0
    while True:
        able = [
            number
            for number, want in enumerate(wants)
            if given[number] < min(want.wanted, want.slots) and (left + ROOM) * want.slots >= 1
        ]
        if not able:
            return given
        number = min(able, key=lambda number: (given[number] / wants[number].slots, number))
        given[number] += 1
        left -= 1 / wants[number].slots

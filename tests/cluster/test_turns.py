"""Who may use how much of a cluster."""

import pytest

from tune_kd.cluster.board import EXPIRES_SECONDS, Board, Notice
from tune_kd.cluster.turns import Want, turns


@pytest.mark.parametrize(
    ("wants", "given"),
    [
        ([(4, 4)], [4]),
        ([(4, 4), (4, 4)], [2, 2]),
        ([(5, 5), (5, 5)], [3, 2]),
        ([(4, 1), (4, 4)], [1, 3]),  # what one does not want is lent
        ([(4, 0), (4, 4)], [0, 4]),
        ([(2, 2), (2, 2), (2, 2)], [1, 1, 0]),  # the last to come waits
        ([(4, 4), (2, 2)], [2, 1]),  # one's trials take twice as much
        ([(400, 400), (400, 400), (400, 10)], [195, 195, 10]),
        ([(0, 3), (4, 4)], [0, 4]),  # no machine for it yet
        ([], []),
    ],
)
def test_turns(wants: list[tuple[int, int]], given: list[int]) -> None:
    assert turns([Want(*want) for want in wants]) == given


def notice(id: str, slots: int = 4, wanted: int = 4) -> Notice:
    return Notice(id, id, "somebody", "study", "search", "", slots, 0, wanted)


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_the_board_shares_among_those_that_are_alive() -> None:
    clock = Clock()
    board = Board(clock)
    assert board.hear(notice("a"), 0).slots == 4
    assert board.hear(notice("b"), 0).slots == 2
    assert board.hear(notice("a"), 0).searches == 2
    assert [each.notice.id for each in board.listed()] == ["a", "b"]
    clock.now += EXPIRES_SECONDS / 2
    assert board.hear(notice("b"), 0).before == 1
    clock.now += EXPIRES_SECONDS / 2 + 1
    assert board.hear(notice("b"), 0).slots == 4
    board.leave("b")
    assert board.listed() == []


def test_a_board_that_was_lost_keeps_the_order() -> None:
    board = Board(Clock())
    assert board.hear(notice("late", slots=1, wanted=1), age=5).slots == 1
    assert board.hear(notice("early", slots=1, wanted=1), age=60).slots == 1
    place = board.hear(notice("late", slots=1, wanted=1), age=5)
    assert (place.slots, place.before) == (0, 1)

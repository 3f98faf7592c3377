"""What fits where, and how many at once a measurement chooses: arithmetic only."""

import random
from collections import Counter

import pandas as pd
import pytest

from tune_kd.errors import InputError
from tune_kd.execution.gauge import Measurement, choose, worth_more
from tune_kd.execution.resources import CONTEXT_BYTES, Node, Share, Shares, fixed, memory_fraction, room, slots
from tune_kd.results import _hours

QUARTER, HALF, WHOLE = Share(1, 0.25), Share(1, 0.5), Share(1, 1)
TWO = [Node("a", 8, 2), Node("b", 8, 2)]


def filled(nodes: list[Node], shares: list[Share]) -> Counter[Share]:
    """Hands out the shares in turn until there is no room for the next."""
    live: Counter[Share] = Counter()
    for share in shares:
        if not room(nodes, live, share):
            return live
        live[share] += 1
    raise AssertionError("there is no end to it")


def test_sixteen_quarters_on_two_machines_of_two_cards() -> None:
    assert slots(TWO, QUARTER) == 16
    assert filled(TWO, [QUARTER] * 99) == {QUARTER: 16}


def test_halves_and_quarters_fill_every_card() -> None:
    assert filled(TWO, [HALF, QUARTER, QUARTER] * 99) == {HALF: 4, QUARTER: 8}
    assert filled(TWO, [QUARTER] * 9 + [HALF] * 99) == {QUARTER: 9, HALF: 3}


@pytest.mark.parametrize(
    ("nodes", "share", "fits"),
    [
        ([Node("a", 4, 0)], Share(1, 0), 4),
        ([Node("a", 4, 0)], Share(3, 0), 1),
        ([Node("a", 3, 2)], QUARTER, 3),  # as many as there are processors
        ([Node("a", 16, 2)], Share(1, 0.4), 4),  # no share spans two cards
        ([Node("a", 16, 1)], Share(1, 0.1), 10),  # however floats are rounded
        ([Node("a", 16, 3)], Share(1, 2), 1),
        ([Node("a", 16, 1), Node("b", 16, 1)], Share(1, 2), 0),  # no training spans two machines
        ([Node("a", 16, 1, "A"), Node("b", 16, 2, "B")], Share(1, 0.5, "B"), 4),
        ([], QUARTER, 0),
    ],
)
def test_slots(nodes: list[Node], share: Share, fits: int) -> None:
    assert slots(nodes, share) == fits
    assert sum(filled(nodes, [share] * 99).values()) == fits


def test_the_hours_of_a_share() -> None:
    shares = Shares(0.5, {"one": {"H200": 0.1, "T4": 0.3}, "other": {"": 0.0}})
    assert shares.hours("one", 7200) == pytest.approx((1.0, 0.4))
    assert shares.hours("other", 1800) == pytest.approx((0.25, 0.0))


def test_hours_are_added_up_over_trials_and_finals_by_the_share_of_each_student() -> None:
    shares = Shares(0.5, {"large": {"": 0.5}, "small": {"": 0.1}})
    trials = pd.DataFrame({"config.student.model": ["large", "small", "small"], "seconds": [3600.0, 1800.0, 1800.0]})
    finals = pd.DataFrame({"config.student.model": ["small"], "seconds": [7200.0]})
    assert _hours([trials, finals], shares) == pytest.approx({"cpu": 2.0, "gpu": 0.5 + 0.3})
    assert _hours([trials.iloc[:0], pd.DataFrame()], shares) == {"cpu": 0.0, "gpu": 0.0}


def test_nothing_is_handed_out_for_a_machine_that_has_gone() -> None:
    assert not room(TWO[:1], {QUARTER: 12}, QUARTER)


def test_measured_shares_are_packed_without_a_gap() -> None:
    """In whatever order they come: a whole card, a half, a quarter … leave no gap that one more would fill."""
    draw = random.Random(0)
    for _ in range(50):
        live = filled(TWO, [Share(0.1, draw.choice([1, 0.5, 0.25, 0.125])) for _ in range(99)])
        taken = sum(share.gpu * count for share, count in live.items())
        assert taken <= 4
        assert not room(TWO, live, WHOLE) or taken <= 3
        assert room(TWO, live, Share(0.1, 0.125)) == (taken < 4)


def test_a_student_is_kept_to_a_type_of_card_only_where_its_shares_differ() -> None:
    shares = Shares(1, {"small": {"A": 0.25, "B": 0.25}, "large": {"A": 0.5, "B": 1.0}})
    assert shares.options("small") == [QUARTER]
    assert shares.options("large") == [Share(1, 0.5, "A"), Share(1, 1, "B")]
    assert shares.smallest == QUARTER
    assert Share(1, 0.5, "A").bundle() == {"CPU": 1, "GPU": 0.5, "accelerator_type:A": 0.001}


def test_twice_a_share_is_no_more_than_a_card() -> None:
    assert [Share(1, gpu).times(2).gpu for gpu in (0, 0.25, 0.5, 0.8, 1, 2)] == [0, 0.5, 1, 1, 1, 2]


def test_a_share_for_which_no_machine_has_room_is_refused() -> None:
    with pytest.raises(InputError, match=r"no machine of this Ray has room.*'gpu': 3.*resources.gpu"):
        fixed(["any"], 1, 3).check(TWO)
    fixed(["any"], 1, 2).check(TWO)


def test_what_a_process_may_take_of_a_card_leaves_room_for_cuda_itself() -> None:
    total = 80 * 2**30
    assert memory_fraction(1, total) == 1
    for gpu in (0.5, 0.25, 0.125):
        assert memory_fraction(gpu, total) * total + CONTEXT_BYTES == pytest.approx(gpu * total)
    assert memory_fraction(0.0625, 4 * 2**30) == 0.0625 / 2


GB = 2.0**30


def measured(*rates: float, taken: float = 1 * GB, failed: str = "") -> list[Measurement]:
    return [
        Measurement(2**k, rate, taken=taken * 2**k, total=16 * GB, failed=failed if k == len(rates) - 1 else "")
        for k, rate in enumerate(rates)
    ]


@pytest.mark.parametrize(
    ("found", "chosen"),
    [
        (measured(100, 190, 300, 310), 4),  # eight are hardly faster than four
        (measured(100, 190, 300, 400), 8),
        (measured(100, 90, 80), 1),
        (measured(100, 190, 300, 0, failed="out of memory"), 4),
        (measured(100, 190, 300, 400, taken=2 * GB), 4),  # eight take all of 16 GB and leave nothing
        (measured(0, failed="out of memory"), 1),
    ],
)
def test_the_best_total_rate_of_those_that_fit(found: list[Measurement], chosen: int) -> None:
    assert choose(found) == chosen


@pytest.mark.parametrize(
    ("found", "more"),
    [
        ([], True),
        (measured(100), True),
        (measured(100, 90), True),  # once may be chance
        (measured(100, 90, 95), False),
        (measured(100, 190, 0, failed="out of memory"), False),
    ],
)
def test_measuring_ends_where_more_at_once_cannot_help(found: list[Measurement], more: bool) -> None:
    assert worth_more(found) == more

"""The interval, the p value and the words, against scipy and against simulated truths."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from tune_kd.summary.statistics import (
    HELPS,
    HURTS,
    NO_DIFFERENCE,
    fallen_from,
    finite,
    gain,
    holm,
    mean_sd,
    resolution,
    share_of,
    trimmed,
    word,
)

SCRATCH = {1: 0.700, 2: 0.712, 3: 0.695, 4: 0.706, 5: 0.701}
DISTILLED = {1: 0.731, 2: 0.735, 3: 0.719, 4: 0.741, 5: 0.722}


def test_agrees_with_scipys_paired_t():
    found = gain(DISTILLED, SCRATCH)
    pairs = ([DISTILLED[seed] for seed in SCRATCH], [SCRATCH[seed] for seed in SCRATCH])
    expected = stats.ttest_rel(*pairs)
    low, high = expected.confidence_interval(0.95)
    assert found.mean == pytest.approx(np.mean(pairs[0]) - np.mean(pairs[1]))
    assert (found.low, found.high, found.p) == pytest.approx((low, high, expected.pvalue))


def test_pairs_by_seed_not_by_place():
    shuffled = {seed: DISTILLED[seed] for seed in (5, 3, 1, 2, 4)}
    assert gain(shuffled, SCRATCH) == gain(DISTILLED, SCRATCH)


def test_seeds_of_one_arm_only_are_left_out():
    assert gain(DISTILLED | {9: 0.1}, SCRATCH | {8: 0.9}) == gain(DISTILLED, SCRATCH)
    assert gain({1: 0.5}, {2: 0.5}).reason == "no seed has a final of both arms"


def test_identical_arms_are_no_difference():
    found = gain(SCRATCH, SCRATCH)
    assert (found.mean, found.low, found.high, found.p) == (0.0, 0.0, 0.0, 1.0)
    assert word(found.low, found.high, found.p) == NO_DIFFERENCE


def test_constant_shift_is_judged_by_the_scale_of_the_accuracy():
    shifted = {seed: value + 0.05 for seed, value in SCRATCH.items()}
    fine = gain(shifted, SCRATCH, step=1 / 450)
    assert word(fine.low, fine.high, fine.p) == HELPS
    assert "same amount" in fine.reason
    coarse = gain(shifted, SCRATCH, step=0.05)
    assert word(coarse.low, coarse.high, coarse.p) == NO_DIFFERENCE


def test_constant_shift_without_any_scale_has_no_interval():
    found = gain({1: 0.6, 2: 0.6}, {1: 0.5, 2: 0.5})
    assert found.mean == pytest.approx(0.1)
    assert (found.low, found.high, found.p) == (None, None, None)
    assert "cannot be estimated" in found.reason


def test_one_pair_has_a_mean_but_no_interval():
    found = gain({1: 0.6}, {1: 0.5})
    assert found.mean == pytest.approx(0.1)
    assert found.low is None
    assert "at least two" in found.reason


def test_resolution_is_the_smallest_step():
    assert resolution([0.5, 0.52, 0.52 + 1e-12, 0.53]) == pytest.approx(0.01)
    assert resolution([0.5, 0.5]) == 0.0
    assert resolution([]) == 0.0


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.01, None, 0.5]) == [0.02, None, 0.5]
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), max_size=12))
def test_holm_never_lowers_and_keeps_the_order(values):
    corrected = holm(values)
    assert all(after >= before and after <= 1 for before, after in zip(values, corrected, strict=True))
    pairs = sorted(zip(values, corrected, strict=True))
    assert all(one[1] <= other[1] + 1e-12 for one, other in itertools.pairwise(pairs))


@pytest.mark.parametrize(
    ("low", "high", "p", "said"),
    [
        (0.01, 0.02, 0.01, HELPS),
        (-0.02, -0.01, 0.01, HURTS),
        (-0.01, 0.02, 0.2, NO_DIFFERENCE),
        (0.01, 0.02, 0.05, NO_DIFFERENCE),
        (-0.01, 0.02, 0.01, NO_DIFFERENCE),
        (0.0, 0.02, 0.01, NO_DIFFERENCE),
        (None, None, None, NO_DIFFERENCE),
    ],
)
def test_a_word_needs_both_interval_and_p(low, high, p, said):
    assert word(low, high, p) == said


def test_the_reason_for_t_holds_at_five_pairs():
    """The claim of the report: t covers what it promises, a bootstrap of five pairs far less."""
    random = np.random.default_rng(0)
    samples = random.normal(0, 1, (2000, 5))
    half = stats.t.ppf(0.975, 4) * samples.std(1, ddof=1) / math.sqrt(5)
    means = samples[:, random.integers(0, 5, (500, 5))].mean(-1)
    low, high = np.percentile(means, [2.5, 97.5], axis=1)
    assert (np.abs(samples.mean(1)) < half).mean() == pytest.approx(0.95, abs=0.015)
    assert ((low < 0) & (high > 0)).mean() == pytest.approx(0.84, abs=0.025)


def test_finite_and_spread():
    assert [finite(value) for value in (1, np.float32(0.5), math.nan, math.inf, None, "x", True)] == [
        1.0,
        0.5,
        *[None] * 5,
    ]
    assert mean_sd([]) == (None, None)
    assert mean_sd([0.5]) == (0.5, None)
    assert mean_sd([0.4, 0.6]) == pytest.approx((0.5, 0.1414), abs=1e-4)


@pytest.mark.parametrize(
    ("values", "fallen"),
    [
        ([0.873, 0.882, 0.345, 0.873, 0.886], [0.345]),
        ([0.10, 0.882, 0.345, 0.873, 0.886, 0.88], [0.10, 0.345]),
        ([0.837, 0.884, 0.851, 0.780, 0.804], []),  # wide, but together
        ([0.96, 0.97, 0.91, 0.965, 0.962], []),  # five points are no collapse
        ([0.9, 0.9, 0.1], []),  # of three nobody knows
        ([], []),
    ],
)
def test_a_final_that_came_to_nothing_is_told_from_a_wide_spread(values, fallen):
    together, found = fallen_from(values)
    assert found == fallen
    assert sorted(together + found) == sorted(values)


def test_looks_spend_no_more_than_there_is():
    shares = [share_of(look) for look in range(1, 40)]
    assert shares[:3] == pytest.approx([0.8, 0.16, 0.032])
    assert sum(shares) <= 1 + 1e-12


def test_the_trimmed_mean_is_yuens():
    assert trimmed([0.1, 0.2, 0.3, 0.9]) is None  # a fifth of four is none
    pairs = [0.02, 0.05, -0.4, 0.03, 0.04, 0.9, 0.01, 0.06, 0.035, 0.015]
    found = trimmed(pairs)
    assert found is not None
    middle = stats.trim_mean(pairs, 0.2)
    winsorized = np.asarray(stats.mstats.winsorize(np.array(pairs), (0.2, 0.2)))
    error = winsorized.std(ddof=1) / (0.6 * np.sqrt(10))
    half = stats.t.ppf(0.975, 5) * error
    assert (found.mean, found.low, found.high) == pytest.approx((middle, middle - half, middle + half))

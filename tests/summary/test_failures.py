"""Finals that came to nothing count, however the others look."""

import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from tune_kd import names
from tune_kd.summary import headline, judge, opinions, sentences, statistics
from tune_kd.summary.page.report import report
from tune_kd.summary.results import Results
from tune_kd.summary.statistics import HELPS, HURTS, NO_DIFFERENCE

FACTS = {"classes": [str(digit) for digit in range(10)]}
SCRATCH = [0.700, 0.712, 0.695, 0.706, 0.701]
BETTER = [0.731, 0.735, 0.719, 0.741, 0.722]
DIVERGED = "the training loss became nan in epoch 3"


def finals(distilled, scratch=SCRATCH):
    """A row a final; None for one that diverged."""
    rows = []
    for arm, scores in ((names.DISTILLED, distilled), (names.SCRATCH, scratch)):
        for seed, score in enumerate(scores):
            lost = score is None
            rows.append(
                {"arm": arm, "seed": seed, names.TEST_ACCURACY: math.nan if lost else score}
                | {"state": names.FAIL if lost else names.COMPLETE, names.STOP_REASON: DIVERGED if lost else ""}
            )
    return pd.DataFrame(rows)


def judged(distilled, scratch=SCRATCH, **facts):
    return judge({}, pd.DataFrame(), finals(distilled, scratch), {}, FACTS | facts)


def test_three_good_finals_of_five_make_no_word():
    """Three against five used to be `helps` without a mention of the two that diverged."""
    three = [BETTER[0], None, BETTER[2], BETTER[3], None]
    verdict = judged(three)
    (cell,) = verdict["cells"]
    kept = statistics.gain({s: v for s, v in enumerate(three) if v}, dict(enumerate(SCRATCH)))
    assert statistics.word(kept.low, kept.high, kept.p) == HELPS
    assert cell["word"] == NO_DIFFERENCE
    assert cell["failed"][names.DISTILLED] == {"failed": 2, "of": 5, "why": {DIVERGED: 2}, "seeds": [1, 4]}
    assert cell["gain"]["with_failed"]["mean"] == pytest.approx(
        np.mean([0.1 if value is None else value for value in three]) - np.mean(SCRATCH)
    )
    said = sentences(verdict)[0]
    assert f"2 of 5 distilled finals failed (2 times: {DIVERGED})" in said
    assert "With failed finals counted as guessing, the gain is" in said
    assert headline(verdict) == "No difference was shown, but 2 of 5 distilled finals came to nothing."


def test_the_arm_that_lost_may_still_be_called_worse():
    hurt = [value - 0.1 for value in SCRATCH[:4]]
    (cell,) = judged([*hurt, None])["cells"]
    assert cell["word"] == HURTS
    assert "1 of 5 distilled finals failed" in cell["but"]


def test_a_gain_that_holds_with_its_failures_keeps_its_word():
    scratch = [0.11, 0.12, 0.10, 0.13, 0.12, 0.11, 0.12, 0.10, 0.13, 0.12]
    distilled = [*(value + 0.6 for value in scratch[:9]), None]
    (cell,) = judged(distilled, scratch)["cells"]
    assert cell["gain"]["with_failed"]["low"] > 0
    assert cell["word"] == HELPS
    assert "1 of 10 distilled finals failed" in cell["but"]


def test_an_arm_of_which_nothing_is_left_says_why():
    verdict = judged([None] * 5)
    (cell,) = verdict["cells"]
    assert cell["gain"]["reason"] == f"all 5 finals of the distilled arm failed (5 times: {DIVERGED})"
    assert (cell["distilled"], cell["word"]) == (None, NO_DIFFERENCE)
    assert "scratch reached 70.3 %" in sentences(verdict)[0]


def test_one_pair_that_is_left_tells_of_those_that_are_not():
    verdict = judged([BETTER[0], None, None, None, None])
    (cell,) = verdict["cells"]
    assert (cell["gain"]["low"], cell["word"]) == (None, NO_DIFFERENCE)
    assert f"4 of 5 distilled finals failed (4 times: {DIVERGED})" in sentences(verdict)[0]
    assert "4 of 5" in str(opinions.table(verdict))


def test_a_collapse_is_told_beside_the_word_and_in_the_headline():
    scratch = [0.60, 0.61, 0.60, 0.62, 0.61, 0.60, 0.61, 0.60, 0.61, 0.62]
    distilled = [0.90, 0.92, 0.91, 0.91, 0.93, 0.90, 0.92, 0.91, 0.90, 0.45]
    verdict = judged(distilled, scratch)
    (cell,) = verdict["cells"]
    assert cell["word"] == HELPS
    assert cell["but"].startswith("But 1 of 10 distilled finals came to 45.0 % or less, the others to 90.0 % or more")
    assert headline(verdict) == "Yes, distillation helps, but 1 of 10 distilled finals came to nothing."


def test_the_second_opinion_must_point_the_same_way():
    """One pair makes the mean; the others say the opposite. Nobody needs a word on that."""
    pairs = dict(enumerate([-0.001, -0.002, -0.001, 0.9, 0.9]))
    one = {"gain": {"low": 0.01, "high": 0.9, "mean": 0.4, "trimmed": {"mean": -0.001}, "with_failed": None}}
    found = statistics.trimmed(list(pairs.values()))
    assert found is not None
    from tune_kd.summary import failures

    arms = {arm: {"values": [0.5] * 5} for arm in (names.DISTILLED, names.SCRATCH)}
    failed = {arm: {"failed": 0, "of": 5} for arm in arms}
    assert failures.word(one | arms | {"failed": failed}, 0.01) == NO_DIFFERENCE


def test_looking_again_costs():
    first, second = judged(BETTER), judged(BETTER, looks=2)
    assert first["cells"][0]["word"] == HELPS
    ratio = second["cells"][0]["gain"]["p"] / first["cells"][0]["gain"]["p"]
    assert ratio == pytest.approx(statistics.share_of(1) / statistics.share_of(2))
    assert "look number 2" in second["method"]["text"]
    assert sum(statistics.share_of(look) for look in range(1, 50)) == pytest.approx(1)


def test_what_is_held_fixed_is_named():
    text = judged(BETTER)["method"]["text"]
    for fixed in ("teacher", "training, validation and test images", "settings that the search chose"):
        assert fixed in text


@pytest.mark.parametrize(("seeds", "missed"), [(5, 45), (4, 53)])
def test_how_rare_a_collapse_may_be_to_be_missed_is_told(seeds, missed):
    verdict = judged(BETTER[:seeds], SCRATCH[:seeds])
    (cell,) = verdict["cells"]
    bound = cell["lost"][names.DISTILLED]["at_most"]
    assert (1 - bound) ** seeds == pytest.approx(0.05)
    assert (
        f"with {seeds} seeds, one in up to {missed} % of trainings could have been missed" in verdict["method"]["text"]
    )


def test_a_loss_that_was_seen_is_bounded_too():
    (cell,) = judged([*BETTER[:4], None], [*SCRATCH[:4], 0.1])["cells"]
    for arm in (names.DISTILLED, names.SCRATCH):  # one failed, the other collapsed
        lost = cell["lost"][arm]
        assert (lost["lost"], lost["of"]) == (1, 5)
        assert stats.binom.cdf(1, 5, lost["at_most"]) == pytest.approx(0.05)


@pytest.mark.parametrize(
    ("search", "said"),
    [
        ({"kd.alpha": 1, "train.lr": 1}, "searched 2 settings, the scratch arm 1"),
        ({"kd.alpha": 1}, "the scratch arm had nothing to search"),
        ({}, "Nothing was searched"),
    ],
)
def test_what_each_arm_had_to_search_is_told(search, said):
    verdict = judge({"search": search}, pd.DataFrame(), finals(BETTER), {}, FACTS)
    assert said in verdict["method"]["text"]


def test_other_controls_stand_beside_without_a_word(tmp_path):
    rows = finals(BETTER)
    more = pd.DataFrame(
        {"arm": arm, "seed": seed, names.TEST_ACCURACY: score - less, "state": names.COMPLETE, names.STOP_REASON: ""}
        for arm, less in ((names.SMOOTHED, 0.01), (names.RANDOM_TEACHER, 0.05))
        for seed, score in enumerate(BETTER)
    )
    study = {"study": "s", "controls": ["scratch", "smoothed", "random_teacher"]}
    verdict = judge(study, pd.DataFrame(), pd.concat([rows, more], ignore_index=True), {}, FACTS)
    (cell,) = verdict["cells"]
    assert list(cell["controls"]) == [names.SMOOTHED, names.RANDOM_TEACHER]
    assert cell["controls"][names.RANDOM_TEACHER]["beyond"]["mean"] == pytest.approx(0.05)
    assert cell["gain"]["mean"] == pytest.approx(judged(BETTER)["cells"][0]["gain"]["mean"])
    trials = pd.DataFrame(columns=["number", "arm", "state", "value"])
    page = report(Results(tmp_path, study, trials, rows, {}, {}), verdict)
    assert "Other controls, in %" in page
    assert "random teacher" in page
    assert judged(BETTER)["cells"][0]["controls"] == {}

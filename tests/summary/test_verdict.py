"""What the verdict says: planted truths, false alarms, and searches that were left unfinished."""

import json
import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from tune_kd import names
from tune_kd.summary import caution, headline, judge, sentences, statistics, terminal_table
from tune_kd.summary.statistics import HELPS, HURTS, NO_DIFFERENCE
from tune_kd.summary.verdict import NO_CONTROL

from . import synthetic

PLAN = synthetic.Plan()
TRIALS = synthetic.trials_of(PLAN)
FINALS = synthetic.finals_of(PLAN, TRIALS)
STUDY = synthetic.study_of(PLAN)


def judged(trials=TRIALS, finals=FINALS, study=STUDY):
    verdict = judge(study, trials, finals, synthetic.TEACHER, synthetic.FACTS)
    json.dumps(verdict, allow_nan=False)
    return verdict


def simulated(truths, random, repeats=5, sd=0.008):
    """Finals of one cell a truth: the seed's luck is shared by both arms, each adds its own noise."""
    rows = []
    for place, truth in enumerate(truths):
        luck = random.normal(0.8, 0.01, repeats)
        for arm, shift in ((names.SCRATCH, 0.0), (names.DISTILLED, truth)):
            scores = np.round((luck + shift + random.normal(0, sd, repeats)) * 1000) / 1000
            rows += [
                {"arm": arm, "seed": seed, "cell.data.size": place, names.TEST_ACCURACY: score}
                for seed, score in enumerate(scores)
            ]
    return pd.DataFrame(rows)


def words_of(finals):
    return [cell["word"] for cell in judge({}, pd.DataFrame(), finals, {}, {})["cells"]]


def test_planted_truth_is_judged_right():
    random = np.random.default_rng(7)
    assert words_of(simulated([0.06, -0.06, 0.0], random)) == [HELPS, HURTS, NO_DIFFERENCE]


def test_false_alarms_stay_within_their_nominal_bound():
    """200 studies of two cells without any effect: a study may cry wolf in 5 % of cases, give or take chance."""
    random = np.random.default_rng(0)
    alarms = sum(any(word != NO_DIFFERENCE for word in words_of(simulated([0, 0], random))) for _ in range(200))
    assert alarms <= stats.binom.ppf(0.99, 200, 0.05)


def test_shape_of_the_verdict():
    verdict = judged()
    assert [cell["cell"] for cell in verdict["cells"]] == synthetic.cells_of(PLAN)
    assert verdict["teacher"]["test_accuracy"] == 0.9911
    first = verdict["cells"][0]
    assert {"cell", "scratch", "distilled", "gain", "word"} <= first.keys()
    assert {"mean", "sd", "n", "values", "config"} <= first["scratch"].keys()
    assert {"mean", "low", "high", "p"} <= first["gain"].keys()
    assert first["scratch"]["n"] == len(first["scratch"]["values"]) == 5
    assert "kd.alpha" in first["distilled"]["config"]
    assert not any(key.startswith("kd.") for key in first["scratch"]["config"])
    assert [cell["word"] for cell in verdict["cells"]][:2] == [HELPS, HELPS]


def test_p_is_corrected_over_cells():
    gains = [cell["gain"] for cell in judged()["cells"]]
    assert min(gain["p"] for gain in gains) == pytest.approx(
        4 * min(gain["p_uncorrected"] for gain in gains) / statistics.share_of(1)
    )


def test_chosen_trial_and_optimism():
    for cell in judged()["cells"]:
        for arm in (names.SCRATCH, names.DISTILLED):
            found = cell[arm]
            trial = TRIALS[TRIALS["number"] == found["trial"]].iloc[0]
            assert trial["state"] == names.COMPLETE
            assert trial["config.train.lr"] == pytest.approx(found["config"]["train.lr"])
            assert found["optimism"] == pytest.approx(trial["value"] - found["mean"])


def test_without_finals_every_cell_says_so():
    verdict = judged(finals=pd.DataFrame())
    assert {cell["word"] for cell in verdict["cells"]} == {NO_DIFFERENCE}
    assert {cell["gain"]["reason"] for cell in verdict["cells"]} == {"no finals yet"}
    assert headline(verdict).startswith("There is no answer yet")


def test_arm_without_finals():
    verdict = judged(finals=FINALS[FINALS["arm"] == names.DISTILLED])
    assert verdict["control"]
    cell = verdict["cells"][0]
    assert cell["scratch"] is None
    assert cell["word"] == NO_DIFFERENCE
    assert "no finals of the scratch arm yet (distilled reached" in sentences(verdict)[0]


def test_study_without_control_says_so():
    plan = synthetic.Plan(scratch=False)
    trials = synthetic.trials_of(plan)
    verdict = judged(trials, synthetic.finals_of(plan, trials), synthetic.study_of(plan))
    assert not verdict["control"]
    assert {cell["gain"]["reason"] for cell in verdict["cells"]} == {NO_CONTROL}
    assert "without a scratch arm" in headline(verdict)


def test_one_repeat_gives_no_interval_and_no_word():
    verdict = judged(finals=FINALS[FINALS["seed"] == 1000])
    gain = verdict["cells"][0]["gain"]
    assert gain["mean"] is not None
    assert (gain["low"], gain["p"], verdict["cells"][0]["word"]) == (None, None, NO_DIFFERENCE)
    assert "at least two repeats" in sentences(verdict)[0]


def test_all_trials_failed():
    failed = TRIALS.assign(state=names.FAIL, value=math.nan, epochs=0)
    verdict = judged(failed, pd.DataFrame())
    assert verdict["counts"] == {"trials": 144, "complete": 0, "pruned": 0, "fail": 144}


def test_final_without_accuracy_is_left_out():
    broken = FINALS.copy()
    broken.loc[broken.index[0], names.TEST_ACCURACY] = math.nan
    assert judged(finals=broken)["cells"][0]["scratch"]["n"] == 4


def test_of_several_candidates_validation_decides_not_test():
    cell = FINALS[(FINALS["cell.data.source"] == "drawn") & (FINALS["cell.data.size"] == "100")]
    better_on_test = cell[cell["arm"] == names.DISTILLED].assign(**{"config.kd.alpha": 0.111})
    better_on_test[names.TEST_ACCURACY] += 0.1
    better_on_test[names.VAL_ACCURACY] -= 0.1
    verdict = judged(finals=pd.concat([better_on_test, FINALS], ignore_index=True))
    assert verdict["cells"][0]["distilled"]["config"]["kd.alpha"] != 0.111


def test_copies_of_one_architecture_share_a_latency():
    latencies = {cell[arm][names.LATENCY_1_MS] for cell in judged()["cells"] for arm in ("scratch", "distilled")}
    assert len(latencies) == 1


def test_levels_of_any_type_are_told_apart():
    plan = synthetic.Plan(conditions={"data.size": [100, "all"]}, truth={(100,): (0.7, 0.05), ("all",): (0.9, 0.0)})
    trials = synthetic.trials_of(plan)
    verdict = judged(trials, synthetic.finals_of(plan, trials), synthetic.study_of(plan))
    assert [cell["cell"] for cell in verdict["cells"]] == [{"data.size": 100}, {"data.size": "all"}]
    assert all(cell["scratch"]["n"] == 5 for cell in verdict["cells"])


def test_a_study_without_conditions_has_one_cell():
    finals = simulated([0.06], np.random.default_rng(1)).drop(columns="cell.data.size")
    verdict = judge({}, pd.DataFrame(), finals, {}, {})
    assert [cell["cell"] for cell in verdict["cells"]] == [{}]
    assert headline(verdict) == "Yes, distillation helps."
    assert sentences(verdict)[0].startswith("the whole study: distillation helps: ")


def test_terminal_table_is_plain_text():
    columns, rows = terminal_table(judged())
    assert columns[:2] == ["source", "images"]
    assert len(rows) == 4
    assert all(len(row) == len(columns) and all(isinstance(cell, str) for cell in row) for row in rows)
    assert rows[0][-1] == HELPS


def test_sentence_tells_why_an_interval_beside_zero_made_no_word():
    verdict = judged()
    for cell, sentence in zip(verdict["cells"], sentences(verdict), strict=True):
        beside = cell["gain"]["low"] > 0 or cell["gain"]["high"] < 0
        assert ("is not below 0.05" in sentence) == (beside and cell["word"] == NO_DIFFERENCE)


def test_cells_that_differ_in_how_they_distil_share_one_control():
    """Such a control's trials name no level of kd.*; its finals stand in every cell."""
    random = np.random.default_rng(2)
    finals = pd.concat(
        simulated([truth], random).assign(**{"cell.kd.temperature": level}) for level, truth in ((2, 0.0), (8, 0.05))
    )
    states = {"state": names.COMPLETE, "value": 0.8, "epochs": 9}
    trials = pd.DataFrame(
        [{"number": 0, "arm": names.SCRATCH, "cell.data.size": 0, "cell.kd.temperature": math.nan, **states}]
        + [
            {"number": n, "arm": names.DISTILLED, "cell.data.size": 0, "cell.kd.temperature": n, **states}
            for n in (2, 8)
        ]
    )
    verdict = judge({}, trials, finals, {}, {})
    assert [cell["cell"]["kd.temperature"] for cell in verdict["cells"]] == [2, 8]
    assert [cell["scratch"]["trial"] for cell in verdict["cells"]] == [0, 0]
    assert [cell["distilled"]["trial"] for cell in verdict["cells"]] == [2, 8]
    assert [cell["word"] for cell in verdict["cells"]] == [NO_DIFFERENCE, HELPS]


def test_scratch_arm_that_has_not_begun_is_no_missing_control():
    only = TRIALS[TRIALS["arm"] == names.DISTILLED]
    assert judged(only, pd.DataFrame())["control"]
    assert not judged(only, pd.DataFrame(), STUDY | {"control": False})["control"]


def test_with_pretrained_weights_the_control_is_not_called_scratch() -> None:
    pretrained = judged(TRIALS, FINALS, STUDY | {"student": {"model": "timm.resnet18", "pretrained": True}})
    assert {"without teacher %"} < set(terminal_table(pretrained)[0]) - {"scratch %"}
    assert "not from random weights" in pretrained["method"]["text"]
    plain = judged(TRIALS, FINALS, STUDY | {"student": {"model": "resnet8", "pretrained": False}})
    assert "scratch %" in terminal_table(plain)[0]
    assert "pretrained" not in plain["method"]["text"]


def test_where_nothing_was_learned_nothing_is_said_of_distillation() -> None:
    def verdict(teacher: float, scratch: float, distilled: float, counts: list[int] | None) -> dict[str, Any]:
        arms = {names.SCRATCH: {"mean": scratch}, names.DISTILLED: {"mean": distilled}}
        return {
            "teacher": {"test_accuracy": teacher},
            "cells": [{"cell": {}, **arms}],
            "facts": {"test_images_per_class": counts},
        }

    even, one_sided = [100, 100, 100], [270, 15, 15]
    assert "nothing was learned" in caution(verdict(0.9, 1 / 3, 0.40, even))
    assert "it had nothing to teach" in caution(verdict(1 / 3, 0.6, 0.62, even))
    assert "nothing was learned" in caution(verdict(0.9, 0.9, 0.9, one_sided))  # of the most frequent class alone
    assert caution(verdict(0.9, 0.5, 0.6, even)) == caution(verdict(0.9, 1 / 3, 1 / 3, None)) == ""


def test_a_teacher_that_students_outdo_without_it_is_named() -> None:
    def verdict(teacher: float | None, *reached: float) -> dict[str, Any]:
        cells = [{"cell": {}, names.SCRATCH: {"mean": mean}} for mean in reached]
        return {"teacher": {} if teacher is None else {"test_accuracy": teacher}, "cells": cells}

    said = caution(verdict(0.494, 0.55, 0.48, 0.574))
    assert "The teacher has 49.4 %" in said
    assert "up to 57.4 %, more than it in 2 of 3 cells" in said
    assert "cells" not in caution(verdict(0.5, 0.6))
    assert caution(verdict(0.6, 0.55, 0.48)) == caution(verdict(None, 0.9)) == ""

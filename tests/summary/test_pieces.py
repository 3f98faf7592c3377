"""The small parts: fronts, importances, scales, words for levels, and what the package may import."""

import math
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tune_kd import names
from tune_kd.summary import cells, words
from tune_kd.summary.front import pareto
from tune_kd.summary.importances import equal_budget, importances
from tune_kd.summary.page import svg
from tune_kd.summary.page.plots_curves import marks
from tune_kd.summary.page.plots_time import duration

from . import synthetic


def test_pareto_front():
    assert pareto([(3, 0.9), (1, 0.5), (2, 0.4), (2, 0.7), (1, 0.6)]) == [4, 3, 0]
    assert pareto([(1, 0.5), (1, 0.5)]) == [0]
    assert pareto([]) == []


@given(st.lists(st.tuples(st.floats(0.1, 9), st.floats(0, 1)), min_size=1, max_size=20))
def test_nothing_beats_the_front(points):
    front = [points[place] for place in pareto(points)]
    for cost, accuracy in points:
        assert any(other <= cost and better >= accuracy for other, better in front)


def test_importances_find_the_setting_that_matters():
    random = np.random.default_rng(0)
    alpha, rate = random.uniform(0, 1, 40), 10 ** random.uniform(-4, -2, 40)
    trials = pd.DataFrame({"arm": names.DISTILLED, "state": names.COMPLETE, "epochs": 9, "value": alpha**2})
    trials = trials.assign(**{"config.kd.alpha": alpha, "config.train.lr": rate, "config.kd.method": "kd"})
    (found,) = importances({"search": {"kd.alpha": 0, "train.lr": 0, "kd.method": 0}}, trials)
    assert (found["arm"], found["trials"], found["epochs"]) == (names.DISTILLED, 40, 9)
    for shares in found["values"].values():
        assert set(shares) == {"kd.alpha", "train.lr"}
        assert shares["kd.alpha"] > 0.7
        assert sum(shares.values()) == pytest.approx(1)


def test_importances_of_stopped_trials_are_compared_at_a_common_epoch():
    curves = [[0.1, 0.3, 0.2], [0.2, 0.1, 0.25, 0.9], *([0.1, 0.1, 0.4] for _ in range(10)), [0.5]]
    epochs, scores = equal_budget(pd.DataFrame({"state": names.PRUNED, "value": 0.9, "curve": curves}))
    assert epochs == 3
    assert [scores[0], scores[1]] == [0.3, 0.25]
    assert 12 not in scores
    assert importances({}, pd.DataFrame({"arm": ["scratch"], "state": ["FAIL"], "value": [math.nan]})) == []


def test_importances_of_the_default_study():
    plan = synthetic.Plan(conditions={"data.source": ["drawn"]}, truth={("drawn",): (0.6, 0.1)})
    found = importances(synthetic.study_of(plan), synthetic.trials_of(plan))
    assert [one["arm"] for one in found] == [names.DISTILLED]


@given(st.floats(-1e3, 1e3), st.floats(1e-3, 1e3))
def test_ticks_lie_within_the_scale(low, width):
    scale = svg.scale([low, low + width], 0, 100, log=False)
    ticks = scale.ticks()
    assert 1 <= len(ticks) <= 8
    assert all(-0.01 <= scale(tick) <= 100.01 for tick in ticks)


@given(st.floats(1e-6, 1e3), st.floats(1.01, 1e6))
def test_logarithmic_ticks_lie_within_the_scale(low, ratio):
    scale = svg.scale([low, low * ratio], 0, 100, log=True)
    assert all(-0.1 <= scale(tick) <= 100.1 for tick in scale.ticks())


def test_scales_of_one_value():
    assert 0 < svg.scale([0.5], 0, 100)(0.5) < 100
    assert svg.scale([0.0], 0, 100)(0.0) == pytest.approx(50)


def test_labels():
    assert cells.label({"data.source": "drawn", "data.size": 100.0}) == "drawn, 100 images"
    assert cells.label({"augment.kind": "none", "kd.alpha": 0.5}) == "no augmentation, α 0.5"  # noqa: RUF001
    assert cells.label({"train.weight_decay": 1e-4}) == "weight decay 0.0001"
    assert cells.label({}) == "the whole study"
    assert cells.text(math.nan) == "–"
    assert cells.settings({"train.lr": 0.00123, "kd.temperature": 4.0}, ["train.lr", "kd.temperature", "x"]) == (
        "lr 0.0012, T 4"
    )
    weights = {"kd.target_weight": 1.0, "kd.rest_weight": 8.0, "kd.row_weight": 2.0}
    for method, said in (("kd", ""), ("dkd", ", target weight 1, rest weight 8"), ("dist", ", row weight 2")):
        assert cells.settings({"kd.method": method, **weights}, ["kd.method", *weights]) == f"method {method}{said}"


def test_plain_values_are_json():
    found = cells.plain({"a": np.float64("nan"), "b": np.int64(3), "c": np.array([1.5, np.inf]), "d": pd.NA})
    assert found == {"a": None, "b": 3, "c": [1.5, None], "d": None}


def test_numbers_as_people_write_them():
    assert [words.points(value) for value in (0.0123, -0.0123, 0.0001, None)] == ["+1.2", "−1.2", "0.0", "–"]
    assert [words.p_value(value) for value in (0.00001, 0.04, None)] == ["< 0.001", "0.040", "–"]
    assert [duration(value) for value in (2.44, 59.7, 75, 3725, None)] == [
        "2.4 s",
        "60 s",
        "1 min 15 s",
        "1 h 02 min",
        "–",
    ]


def test_marks():
    assert marks({"budget": {"epochs": 27, "early_stopping": "asha"}}) == (3, 9)
    assert marks({"budget": {"epochs": 27, "first_rung": 5, "reduction": 2, "early_stopping": "asha"}}) == (5, 10, 20)
    assert marks({"budget": {"epochs": 27, "early_stopping": "none"}}) == ()


def test_needs_neither_ray_nor_mlflow_nor_torch():
    code = "import sys, tune_kd.summary.__main__; print([m for m in sys.modules if m in sys.argv])"
    heavy = ["ray", "mlflow", "torch", "torchvision", "optuna", "sklearn", "matplotlib"]
    done = subprocess.run([sys.executable, "-c", code, *heavy], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"

"""Arms are compared by what the study chooses by; accuracy stands beside it."""

import pandas as pd
import pytest

from tune_kd import names
from tune_kd.summary import judge, published_table, sentences
from tune_kd.summary.page.report import report
from tune_kd.summary.results import Results
from tune_kd.summary.statistics import HELPS, HURTS
from tune_kd.summary.typed import of

ACCURACY = {names.SCRATCH: [0.90, 0.92, 0.91, 0.90], names.DISTILLED: [0.86, 0.87, 0.86, 0.85]}
F1 = {names.SCRATCH: [0.50, 0.53, 0.51, 0.52], names.DISTILLED: [0.70, 0.72, 0.71, 0.73]}
"""Distillation costs accuracy and finds the rare class."""


def finals():
    return pd.DataFrame(
        {"arm": arm, "seed": seed, names.TEST_ACCURACY: accuracy, names.TEST_F1: F1[arm][seed]}
        | {names.VAL_ACCURACY: accuracy, names.VAL_F1: F1[arm][seed] + 0.01, names.CORRECT: "8:/w=="}
        for arm, scores in ACCURACY.items()
        for seed, accuracy in enumerate(scores)
    )


def judged(metric, **study):
    teacher = {names.TEST_ACCURACY: 0.95, names.TEST_F1: 0.8}
    return judge({"objective": {"metric": metric}, **study}, pd.DataFrame(), finals(), teacher, {"classes": [0, 1]})


def test_the_word_is_of_the_metric():
    assert judged("accuracy")["cells"][0]["word"] == HURTS
    verdict = judged("macro_f1")
    (cell,) = verdict["cells"]
    assert cell["word"] == HELPS
    assert cell["gain"]["mean"] == pytest.approx(0.2)
    assert cell[names.DISTILLED]["validation"] == pytest.approx(0.725)
    assert of(verdict).metric == "macro_f1"


def test_accuracy_stands_beside_it():
    said = sentences(judged("macro_f1"))[0]
    assert "71.5 % distilled against 51.5 % without teacher" in said
    assert "Accuracy: 86.0 % distilled, 90.8 % without teacher." in said
    assert "Accuracy:" not in sentences(judged("accuracy"))[0]


def test_what_cannot_be_said_of_it_is_not_said():
    verdict = judged("macro_f1", published=[{"source": "s", "scratch": 0.7, "distilled": 0.8}])
    assert verdict["cells"][0]["gain"]["seeds_and_images"] is None
    assert published_table(verdict) is None  # their figures are accuracies
    assert "by macro F1" in verdict["method"]["text"]


def test_the_report_names_it(tmp_path):
    study = {"study": "s", "objective": {"metric": "macro_f1"}}
    trials = pd.DataFrame(columns=["number", "arm", "state", "value"])
    page = report(Results(tmp_path, study, trials, finals(), {}, {}), judged("macro_f1", study="s"))
    assert "Test macro F1 in %" in page
    assert "(teacher: 80.0)" in page
    assert "test accuracy, %" not in page


@pytest.mark.parametrize(
    ("tests", "web", "study", "said"),
    [
        ([30, 31], [50, 60], {"data": {"size": 100}}, ""),
        (None, None, {"data": {"size": 100}}, ""),  # a search of an earlier version
        ([20, 200], [40, 400], {"data": {"size": 100}}, "20 to 200 test images each. A limited data.size is balanced"),
        ([20, 200], [40, 400], {"data": {"size": 100}}, "than `all` is, and than they are tested on."),
        ([20, 200], [40, 400], {}, "With `all` images students learn from classes as they come (web has 40 to 400"),
        ([30, 30], [40, 400], {}, "the same number of test images of each. With `all` images"),
        ([30, 31], [40, 400], {"conditions": {"data.size": [100]}}, "another mix than `all` is."),
        ([20, 200], [90, 91], {}, "learn from classes as they come."),
        ([20, 200], [40, 400], {"search": {"data.size": {"choice": [100, "all"]}}}, "A limited data.size is balanced"),
        ([20, 200], [40, 400], {"search": {"data.size": {"choice": [100, "all"]}}}, "With `all` images"),
        ([20, 200], [40, 400], {"search": {"data.size": {"int": [100, 300]}}}, "each. A limited data.size"),
    ],
)
def test_classes_that_are_rarer_are_told(tests, web, study, said):
    facts = {"test_images_per_class": tests, "student_images_per_class": web and {"web": web, "drawn": [50, 50]}}
    text = judge(study, pd.DataFrame(), finals(), {}, facts)["method"]["text"]
    assert said in text if said else "as they come" not in text

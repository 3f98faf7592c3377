"""A search with two objectives: a front in the verdict, and a row, a sentence and a figure for each of its points."""

import json

import pandas as pd
import pytest

from tune_kd import names
from tune_kd.summary import figures, headline, sentences, terminal_table, write
from tune_kd.summary.cells import label
from tune_kd.summary.compare import comparison
from tune_kd.summary.page.plots_time import with_finals
from tune_kd.summary.statistics import HELPS, NO_DIFFERENCE

from . import fronts, synthetic


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = fronts.write_folder(tmp_path_factory.mktemp("front"))
    write(folder)
    return folder


@pytest.fixture(scope="module")
def verdict(folder):
    return json.loads((folder / names.VERDICT_FILE).read_text())


def test_each_cell_has_a_front_from_cheap_to_dear(verdict):
    assert [cell["cell"] for cell in verdict["cells"]] == synthetic.cells_of(synthetic.Plan())
    for cell in verdict["cells"]:
        assert [point["model"] for point in cell["front"]] == list(fronts.MODELS)
        assert [point["word"] for point in cell["front"]] == [HELPS, HELPS, NO_DIFFERENCE]
        for point in cell["front"]:
            assert point["scratch"]["config"]["student.model"] == point["model"]
            assert point["distilled"]["n"] == 5
            assert point["cost"] == fronts.MODELS[point["model"]][0]


def test_the_cell_itself_is_its_most_accurate_model(verdict):
    for cell in verdict["cells"]:
        assert cell["distilled"]["config"]["student.model"] == "digits_teacher"
        assert cell["gain"] == cell["front"][-1]["gain"]


def test_p_is_corrected_over_all_points(verdict):
    # Twelve of them, at the first look, which has four fifths of the level.
    gains = [point["gain"] for cell in verdict["cells"] for point in cell["front"]]
    assert min(gain["p"] for gain in gains) == pytest.approx(15 * min(gain["p_uncorrected"] for gain in gains))


def test_a_dearer_model_that_is_no_better_is_not_on_the_front(tmp_path):
    folder = fronts.write_folder(tmp_path)
    finals = pd.read_parquet(folder / names.FINALS_FILE)
    dearest = finals["config.student.model"] == "digits_teacher"
    finals.loc[dearest, names.TEST_ACCURACY] = 0.3
    finals.to_parquet(folder / names.FINALS_FILE)
    for cell in write(folder)["cells"]:
        assert [point["on_front"] for point in cell["front"]] == [["scratch", "distilled"]] * 2 + [[]]


def test_a_row_and_a_sentence_for_each_point(verdict):
    columns, rows = terminal_table(verdict)
    assert columns[:4] == ["source", "images", "student", "MB"]
    assert len(rows) == len(sentences(verdict)) == 12
    assert rows[0][2:4] == ["digits_student_tiny", "0.0055"]
    assert headline(verdict) == "Distillation helps at 8 of 12 points of the front; no difference was shown at 4."
    assert len(comparison([("a", verdict), ("b", verdict)])[1]) == 24


def test_the_report_draws_the_fronts(folder):
    report = (folder / names.REPORT_FILE).read_text()
    titles = [f"Accuracy against size: {label(cell)}" for cell in synthetic.cells_of(synthetic.Plan())]
    assert all(title in report for title in titles)
    assert "The front" in report
    assert "front.png" in figures(folder)


def test_time_of_the_search_is_divided_by_what_was_trained():
    trials, finals = pd.DataFrame({"seconds": [30.0, 30.0]}), pd.DataFrame({"seconds": [10.0, 10.0]})
    shared = finals.assign(arm="scratch", seed=[1, 2], started=[5.0, 6.0])
    twice = pd.concat([shared, shared])  # the control of two cells
    found = with_finals({"start": 1.0, "search": 40.0, "report": 2.0}, trials, twice)
    assert found == {"start": 1.0, "search": pytest.approx(30.0), "finals": pytest.approx(10.0), "report": 2.0}
    assert with_finals({"search": 40.0}, trials, pd.DataFrame()) == {"search": 40.0}

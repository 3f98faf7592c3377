"""Published figures beside ours: which cell they belong to, and how they are shown."""

import json

import yaml

from tune_kd import names
from tune_kd.summary import published, published_notes, published_table, write
from tune_kd.summary.__main__ import main

from . import synthetic

ROW = {"source": "a paper", "note": "one run", "teacher": 0.7443, "scratch": 0.6951, "distilled": 0.7189}


def judged(folder, rows, **plan):
    synthetic.write_folder(folder, synthetic.Plan(**plan))
    path = folder / names.STUDY_FILE
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | {"published": rows}))
    return write(folder)


def test_a_row_for_the_whole_study(tmp_path):
    verdict = judged(tmp_path / "s", [ROW], conditions={}, truth={(): (0.7, 0.02)})
    columns, rows = published_table(verdict)
    (cell,) = verdict["cells"]
    assert [row[2] for row in rows] == ["teacher", "scratch", "distilled", "gain, points"]
    assert [row[3] for row in rows] == ["74.43", "69.51", "71.89", "+2.38"]
    assert all(len(row) == len(columns) for row in rows)
    assert rows[0][4:] == ["99.11", "+24.68"]
    assert rows[1][4] == f"{100 * cell['scratch']['mean']:.2f} ± {100 * cell['scratch']['sd']:.2f}"
    assert rows[3][4] == f"{100 * cell['gain']['mean']:+.2f}".replace("-", "\N{MINUS SIGN}")
    assert published_notes(verdict) == ["1: a paper: one run", published.CHOSEN]


def test_a_row_for_one_cell_stands_beside_that_cell(tmp_path):
    row = ROW | {"cell": {"data.source": "drawn", "data.size": 400}, "scratch_sd": 0.005}
    _, rows = published_table(judged(tmp_path / "s", [row], trials=6))
    assert {frozenset(line[1].split(", ")) for line in rows[1:]} == {frozenset({"drawn", "400 images"})}
    assert rows[1][3] == "69.51 ± 0.50"
    assert len(rows) == 4


def test_what_was_searched_tells_whose_setting_it_is_and_what_is_fixed_otherwise_has_no_row(tmp_path):
    rows = [
        {"source": "searched", "distilled": 0.5, "cell": {"kd.temperature": 2.0}},
        {"source": "as here", "distilled": 0.6, "cell": {"train.batch_size": 64}},
        {"source": "elsewhere", "teacher": 0.9, "distilled": 0.7, "cell": {"train.batch_size": 32}},
    ]
    plan = synthetic.Plan(conditions={}, truth={(): (0.7, 0.0)}, trials=6)
    synthetic.write_folder(tmp_path / "s", plan)
    path = tmp_path / "s" / names.STUDY_FILE
    study = yaml.safe_load(path.read_text()) | {"published": rows, "train": {"batch_size": 64}}
    path.write_text(yaml.safe_dump(study | {"search": {"kd.temperature": {"uniform": [1, 8]}}}))
    verdict = write(tmp_path / "s")
    _, shown = published_table(verdict)
    assert [row[:4] for row in shown] == [
        ["1", "the whole study (theirs: T 2)", "distilled", "50.00"],
        ["2", "the whole study", "distilled", "60.00"],
        ["3", "teacher", "teacher", "90.00"],
    ]
    assert all(row[4] != "–" for row in shown)
    assert published_notes(verdict)[-1] == published.CHOSEN


def test_a_level_that_the_study_does_not_have_has_no_row(tmp_path):
    rows = [ROW | {"cell": {"data.size": 7}}]
    _, shown = published_table(judged(tmp_path / "s", rows, trials=6))
    assert [row[1] for row in shown] == ["teacher"]


def test_figures_in_words_only_make_no_table(tmp_path):
    verdict = judged(tmp_path / "s", [{"source": "a report", "note": "helps a little"}], trials=6)
    assert published_table(verdict) is None
    assert published_notes(verdict) == ["1: a report: helps a little"]
    report = (tmp_path / "s" / names.REPORT_FILE).read_text()
    assert "Beside the published figures" in report
    assert "a report: helps a little" in report


def test_report_and_command_show_them(tmp_path, capsys):
    judged(tmp_path / "s", [ROW | {"note": "<b>"}], conditions={}, truth={(): (0.7, 0.02)}, trials=6)
    report = (tmp_path / "s" / names.REPORT_FILE).read_text()
    assert 'id="published"' in report
    assert "71.89" in report
    assert "a paper: &lt;b&gt;" in report
    assert main([str(tmp_path / "s")]) == 0
    assert "71.89" in capsys.readouterr().out
    verdict = json.loads((tmp_path / "s" / names.VERDICT_FILE).read_text())
    assert verdict["published"][0]["distilled"] == 0.7189


def test_studies_without_them_have_no_section(tmp_path):
    for rows in ([], None, "a", [1], {"a": 1}):
        verdict = judged(tmp_path / "s", rows, conditions={}, truth={(): (0.7, 0.0)}, trials=6)
        assert published_table(verdict) is None
    assert 'id="published"' not in (tmp_path / "s" / names.REPORT_FILE).read_text()

"""Reading result folders and writing reports into them; errors name the file."""

import json
import os
import subprocess
import sys
from dataclasses import replace

import pandas as pd
import pytest

from tune_kd import names
from tune_kd.errors import InputError
from tune_kd.space.load import dump, load
from tune_kd.summary import figures, write
from tune_kd.summary.__main__ import main
from tune_kd.summary.results import read

from . import synthetic

SMALL = synthetic.Plan({"data.source": ["drawn"], "data.size": [100, 400]}, trials=12, epochs=9)


@pytest.fixture
def folder(tmp_path):
    return synthetic.write_folder(tmp_path / "search", SMALL)


def test_write_is_repeatable_and_leaves_no_litter(folder):
    first = write(folder)
    report = (folder / names.REPORT_FILE).read_bytes()
    assert json.loads((folder / names.VERDICT_FILE).read_text()) == first
    assert write(folder) == first
    assert (folder / names.REPORT_FILE).read_bytes() == report
    files = {names.STUDY_FILE, names.TRIALS_FILE, names.FINALS_FILE, names.VERDICT_FILE, names.REPORT_FILE}
    assert {path.name for path in folder.iterdir()} == files


def test_interrupted_search_still_gets_a_report(folder):
    (folder / names.FINALS_FILE).unlink()
    (folder / names.VERDICT_FILE).unlink()
    verdict = write(folder)
    assert verdict["teacher"] == {}
    assert "no finals yet" in (folder / names.REPORT_FILE).read_text()


def test_empty_tables(folder):
    pd.DataFrame().to_parquet(folder / names.TRIALS_FILE)
    pd.DataFrame().to_parquet(folder / names.FINALS_FILE)
    assert write(folder)["counts"]["trials"] == 0


def test_failed_trials_only(folder):
    trials = pd.read_parquet(folder / names.TRIALS_FILE)
    trials.assign(state=names.FAIL, value=float("nan"), curve=[[]] * len(trials)).to_parquet(folder / names.TRIALS_FILE)
    (folder / names.FINALS_FILE).unlink()
    assert write(folder)["counts"]["fail"] == len(trials)


@pytest.mark.parametrize("name", [names.STUDY_FILE, names.TRIALS_FILE])
def test_missing_file_is_named(folder, name):
    (folder / name).unlink()
    with pytest.raises(InputError, match=f"{name}: the file is missing"):
        read(folder)


@pytest.mark.parametrize("name", [names.TRIALS_FILE, names.FINALS_FILE])
def test_truncated_parquet_is_named(folder, name, capsys):
    whole = (folder / name).read_bytes()
    (folder / name).write_bytes(whole[: len(whole) // 2])
    assert main([str(folder)]) == 2
    said = capsys.readouterr().err
    assert name in said
    assert "truncated" in said
    assert "Traceback" not in said


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        (names.STUDY_FILE, "a: [1", "cannot be read as YAML"),
        (names.STUDY_FILE, "- a\n- b", "holds no study"),
        (names.VERDICT_FILE, "{", "cannot be read as JSON"),
    ],
)
def test_broken_text_is_named(folder, name, content, said):
    (folder / name).write_text(content)
    with pytest.raises(InputError, match=said):
        read(folder)


def test_foreign_parquet_is_told_from_ours(folder):
    pd.DataFrame({"x": [1]}).to_parquet(folder / names.FINALS_FILE)
    with pytest.raises(InputError, match="lacks the columns arm, seed, test_accuracy; found x"):
        read(folder)


def test_the_study_is_read_as_it_was_written(folder):
    """In YAML 1.1 these sources would be True, False and 1000."""
    sources = ["on", "no", "1_000", "0o17", "1:30"]
    study = load(f"study: words\nconditions: {{data.source: {json.dumps(sources)}}}\n")
    (folder / names.STUDY_FILE).write_text(dump(study))
    assert list(read(folder).study["conditions"]["data.source"]) == sources
    (folder / names.STUDY_FILE).write_text("study: words\nconditions: {data.source: [on, no, 1_000, 0o17, 1:30]}\n")
    assert list(read(folder).study["conditions"]["data.source"]) == sources


def test_no_folder(tmp_path, capsys):
    assert main([str(tmp_path / "nothing")]) == 2
    assert "there is no such folder" in capsys.readouterr().err


def test_command_line_prints_the_answer(folder, capsys):
    assert main([str(folder)]) == 0
    said = capsys.readouterr().out
    assert "drawn, 100 images: distillation helps: " in said
    assert str(folder / names.REPORT_FILE) in said


def test_command_line_compares(folder, tmp_path, capsys, monkeypatch):
    other = synthetic.write_folder(tmp_path / "<other>", replace(SMALL, seed=5))
    monkeypatch.chdir(tmp_path)
    before = (other / names.VERDICT_FILE).read_text()
    assert main([str(folder), str(other)]) == 0
    rows = [line for line in capsys.readouterr().out.splitlines() if line.startswith("drawn, 100 images")]
    assert len(rows) == 2
    page = (tmp_path / "compare.html").read_text()
    assert "2 searches compared" in page
    assert "&lt;other&gt;" in page
    assert "<other>" not in page
    assert (other / names.VERDICT_FILE).read_text() == before


def test_comparison_of_same_names_and_bad_out(folder, tmp_path, capsys):
    twin = synthetic.write_folder(tmp_path / "b" / "search", SMALL)
    out = tmp_path / "out.html"
    assert main([str(folder), str(twin), "--out", str(out)]) == 0
    assert str(twin) in out.read_text()
    assert main([str(folder), str(twin), "--out", str(tmp_path / "no" / "x.html")]) == 2
    assert "cannot write there" in capsys.readouterr().err


def test_figures_are_png(folder):
    drawn = figures(folder)
    assert set(drawn) == {"gain.png", "accuracy.png", "response.png", "curves.png", "front.png"}
    assert all(image.startswith(b"\x89PNG") and len(image) > 5000 for image in drawn.values())


def test_figures_without_results(folder):
    pd.DataFrame().to_parquet(folder / names.TRIALS_FILE)
    (folder / names.FINALS_FILE).unlink()
    assert set(figures(folder)) <= {"front.png"}


def test_figures_wait_for_whoever_is_importing_ipython(tmp_path):
    """MLflow does, in its thread; matplotlib takes what it finds, however little of it is there."""
    package = tmp_path / "IPython"
    package.mkdir()
    (package / "__init__.py").write_text("import time\ntime.sleep(2)\nversion_info = (9, 0)\n")
    program = """
import sys, threading, time
threading.Thread(target=__import__, args=("IPython",)).start()
while "IPython" not in sys.modules:
    time.sleep(0.01)
from tune_kd.summary.page import pngs
pngs._new(2, 2)
"""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr

"""The Python API: one small search, looked at from all sides."""

import json
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

import tune_kd
from tune_kd import names

STUDY: dict[str, Any] = {
    "study": "api",
    "question": "Does it work from Python?",
    "data": {"dataset": "digits", "drawn": 200, "evaluate_on": ["scanned"], "teacher_on": ["scanned"]},
    "teacher": {"model": "digits_student", "epochs": 2, "train": {"lr": 0.01, "batch_size": 64}},
    "student": {"model": "digits_student_tiny"},
    "train": {"batch_size": 32, "epoch_images": 200},
    "search": {"kd.alpha": {"uniform": [0.1, 1.0]}, "train.lr": {"loguniform": [0.001, 0.05]}},
    "budget": {"trials": 3, "epochs": 3, "first_rung": 1, "complete": 1, "repeats": 2},
}


class Counts:
    """Hears everything, and counts it."""

    def __init__(self) -> None:
        self.events: Counter[str] = Counter()

    def started(self, entry: Any) -> None:
        self.events["started"] += 1

    def reported(self, entry: Any, metrics: Mapping[str, float]) -> None:
        self.events["reported"] += 1

    def ended(self, entry: Any, state: str, reason: str, results: Mapping[str, Any]) -> None:
        self.events["ended"] += 1


class OnlyReports:
    def __init__(self) -> None:
        self.best = 0.0

    def reported(self, entry: Any, metrics: Mapping[str, float]) -> None:
        self.best = max(self.best, metrics[names.VAL_ACCURACY])


@pytest.fixture(scope="module")
def heard() -> tuple[Counts, OnlyReports]:
    return Counts(), OnlyReports()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("api") / "runs" / "first"


@pytest.fixture(scope="module")
def result(ray_address: str, folder: Path, heard: tuple[Counts, OnlyReports]) -> tune_kd.Result:
    """In the Ray that this process is in already, whose address nobody has to give."""
    return tune_kd.search(
        STUDY, settings={"budget.trials": 2}, out=folder, quiet=True, tracking_uri=store(folder), callbacks=heard
    )


def store(folder: Path) -> str:
    return f"sqlite:///{folder.parent.parent / 'mlflow.db'}"


def test_the_verdict_is_typed(result: tune_kd.Result) -> None:
    cell = result.verdict.cells[0]
    raw = json.loads((result.folder / names.VERDICT_FILE).read_text())["cells"][0]
    assert (cell.word, cell.gain.low, cell.gain.high) == (raw["word"], raw["gain"]["low"], raw["gain"]["high"])
    assert cell.distilled is not None
    assert cell.scratch is not None
    assert cell.gain.mean == pytest.approx(np.mean(cell.distilled.values) - np.mean(cell.scratch.values))


def test_the_tables_are_pandas(result: tune_kd.Result) -> None:
    assert Counter(result.trials["arm"]) == {names.DISTILLED: 2, names.SCRATCH: 2}
    assert len(result.finals) == 4
    assert result.report.read_text(encoding="utf-8").startswith("<!")


def test_the_winner_is_a_module_that_takes_pixels(result: tune_kd.Result) -> None:
    from tune_kd.training.export import PROGRAM

    model = result.model()
    assert not model.training
    shape = json.loads((result.folder / names.MODEL_DIR / "model.json").read_text())["in_shape"]
    pixels = torch.randint(0, 256, (5, *shape), dtype=torch.uint8)
    program = torch.export.load(result.folder / names.MODEL_DIR / PROGRAM).module()
    with torch.inference_mode():
        torch.testing.assert_close(model(pixels), program(pixels))
    assert set(result.best) >= {"student.model", "train.lr"}


def test_callbacks_hear_every_event(result: tune_kd.Result, heard: tuple[Counts, OnlyReports]) -> None:
    counts, reports = heard
    epochs = int(result.trials["epochs"].sum() + result.finals["epochs"].sum())
    assert counts.events["reported"] == epochs
    assert counts.events["ended"] == len(result.trials) + len(result.finals)
    assert counts.events["started"] >= counts.events["ended"]
    assert reports.best >= result.trials["value"].max()


def test_a_callback_that_would_hear_nothing_is_refused(folder: Path) -> None:
    with pytest.raises(tune_kd.InputError, match="reported"):
        tune_kd.search(STUDY, out=folder.parent / "deaf", quiet=True, callbacks=[object()])
    assert not (folder.parent / "deaf").exists()


def test_a_notebook_shows_the_report_in_a_frame(result: tune_kd.Result) -> None:
    shown = result._repr_html_()
    assert shown.startswith("<iframe")
    assert "<script" not in shown
    assert result.verdict.cells[0].word in repr(result)


def test_what_is_refused_is_an_error_of_the_packages_and_touches_nothing(folder: Path) -> None:
    where = folder.parent / "refused"
    for wrong in (
        {"settings": {"budget.trials": 0}},
        {"settings": {"budget.trails": 3}},
        {"settings": {"budget.trials": object()}},
        {"tracking_uri": "sqlite:////no/such/folder/mlflow.db"},
        {"address": "127.0.0.1:1"},
        {"resume": True},
    ):
        with pytest.raises(tune_kd.InputError):
            tune_kd.search(STUDY, out=where, quiet=True, **wrong)
        assert not where.exists(), wrong
    with pytest.raises(tune_kd.InputError, match="no search"):
        tune_kd.load(where)


def test_images_that_are_missing_are_noticed_before_anything_is_left(ray_address: str, folder: Path) -> None:
    where = folder.parent / "imageless"
    missing = {"dataset": "folder", "root": str(folder.parent / "nothing"), "source": "a", "evaluate_on": ["a"]}
    with pytest.raises(tune_kd.InputError, match="is not a folder"):
        tune_kd.search(STUDY | {"data": missing}, out=where, quiet=True, tracking_uri=store(folder))
    assert not where.exists()


def test_it_goes_on_with_a_larger_budget_in_a_thread_and_prints_nothing(
    result: tune_kd.Result, folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    before = result.trials.set_index("number")
    found: list[tune_kd.Result] = []
    loaded = tune_kd.load(folder)

    def extend() -> None:
        found.append(loaded.extend(trials=3, quiet=True, tracking_uri=store(folder)))

    thread = threading.Thread(target=extend)
    thread.start()
    thread.join(200)
    after = found[0].trials.set_index("number")
    assert len(after) == 6
    pd.testing.assert_series_equal(after["value"].loc[before.index], before["value"])
    assert capfd.readouterr().out == ""


def test_importing_the_package_costs_nothing() -> None:
    program = "import sys, tune_kd\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    loaded = {name.partition(".")[0] for name in done.stdout.split()}
    assert not loaded & {"torch", "ray", "pandas", "numpy", "yaml", "pydantic", "rich", "mlflow", "optuna"}


def test_the_function_is_there_even_where_the_command_has_been_imported() -> None:
    from tune_kd.search import main

    assert callable(main)
    with pytest.raises(tune_kd.InputError, match="no such study"):
        tune_kd.search("no_such_study")

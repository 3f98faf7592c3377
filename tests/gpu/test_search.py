"""Whole searches whose trials share the card."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

import tune_kd
from tests.patience import PATIENCE
from tune_kd import names

SETTINGS = {
    "budget.trials": 4, "budget.epochs": 9, "budget.repeats": 2, "teacher.epochs": 4, "resources.gpu": 0.125,
    "conditions.data.source": "[scanned]", "conditions.data.size": "[100, 400]",
}  # fmt: skip


def begin(folder: Path, *more: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tune_kd.search", "--out", "found", *more]
    command += [part for key, value in SETTINGS.items() for part in ("--set", f"{key}={value}")]
    return subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def end(search: subprocess.Popen[str], folder: Path) -> tune_kd.Result:
    said = search.communicate(timeout=PATIENCE)[0]
    print(said)
    assert search.returncode == 0
    return check(folder / "found")


def check(folder: Path) -> tune_kd.Result:
    result = tune_kd.load(folder)
    assert len(result.trials) == 4 * 4  # two cells, two arms
    assert (result.trials["state"] == "COMPLETE").any()
    assert (result.finals["state"] == "COMPLETE").all()
    assert len(result.finals) == 2 * 2 * 2
    verdict = json.loads((folder / names.VERDICT_FILE).read_text())
    assert len(verdict["cells"]) == 2
    assert result.report.stat().st_size > 50_000
    model = result.model()
    with torch.no_grad():
        assert model(torch.zeros(3, 1, 8, 8, dtype=torch.uint8)).shape == (3, 10)
    return result


def test_a_search_with_eighths_of_the_card(tmp_path: Path) -> None:
    result = end(begin(tmp_path), tmp_path)
    print(result.trials.describe().to_string())


def test_a_search_killed_goes_on(tmp_path: Path) -> None:
    search = begin(tmp_path)
    ledger = tmp_path / "found" / names.LEDGER_FILE
    until = time.monotonic() + PATIENCE
    while not ledger.exists() or ledger.read_text().count("\n") < 25:
        assert search.poll() is None, search.communicate()[0]
        assert time.monotonic() < until
        time.sleep(0.05)
    os.kill(search.pid, signal.SIGKILL)
    search.communicate()
    known = len(ledger.read_text().splitlines())
    end(begin(tmp_path, "--resume"), tmp_path)
    assert known >= 25
    with pytest.raises(ProcessLookupError):
        os.kill(search.pid, 0)

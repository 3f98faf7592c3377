"""Two real searches on one cluster of two slots."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.patience import PATIENCE
from tune_kd import names

pytestmark = pytest.mark.slow

STUDY = """
study: shared
control: false
data: {dataset: digits, drawn: 200, evaluate_on: [scanned], teacher_on: [scanned]}
teacher: {model: digits_student, epochs: 2, train: {lr: 0.01, batch_size: 64}}
student: {model: digits_student_tiny}
train: {batch_size: 32, epoch_images: 100}
search: {kd.alpha: {uniform: [0.1, 1.0]}}
"""
LONG = "{trials: 40, epochs: 400, first_rung: 20, repeats: 2}"
SHORT = "{trials: 2, epochs: 4, first_rung: 2, complete: 1, repeats: 2}"


def begin(where: Path, address: str, name: str, budget: str) -> subprocess.Popen[str]:
    where.mkdir()
    (where / "shared.yaml").write_text(STUDY)
    return subprocess.Popen(
        [sys.executable, "-m", "tune_kd.search", "shared.yaml", "--name", name, "--address", address,
         "--set", f"budget={budget}"],
        cwd=where, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
    )  # fmt: skip


def test_two_searches_share_the_slots_and_each_is_listed(ray_address: str, tmp_path: Path) -> None:
    first = begin(tmp_path / "a", ray_address, "first", LONG)
    ledger = tmp_path / "a" / "runs" / "first" / names.LEDGER_FILE
    deadline = time.time() + PATIENCE
    while not (ledger.exists() and ledger.read_bytes().count(b'"intermediate_value"') >= 20):
        assert first.poll() is None, first.communicate()[0]
        assert time.time() < deadline
        time.sleep(0.1)
    # The first one has both slots, and a whole search of somebody else's is done before it ends.
    second = begin(tmp_path / "b", ray_address, "second", SHORT)
    listed: set[str] = set()
    while second.poll() is None and time.time() < deadline + 120:
        done = subprocess.run(
            [sys.executable, "-m", "tune_kd.search", "--list-running", "--address", ray_address],
            capture_output=True, text=True, check=True, timeout=PATIENCE,
        )  # fmt: skip
        listed |= {name for name in ("first", "second") if name in done.stdout}
    output = second.communicate(timeout=PATIENCE)[0]
    assert second.returncode == 0, output
    assert "shared with 1 other search; slots for this one: 1" in output
    assert first.poll() is None
    assert listed == {"first", "second"}
    first.send_signal(2)
    output = first.communicate(timeout=PATIENCE)[0]
    assert first.returncode == 130, output
    assert "shared with 1 other search; slots for this one: 1" in output
    assert "alone on the cluster again" in output

"""A GPU that fails under one training takes its process along, and no other training.

The failure is pretended: as with a real one, everything that the process computes afterwards fails too.
"""

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
import torch

from tests.patience import PATIENCE
from tune_kd import names
from tune_kd.execution import trial
from tune_kd.tuning.conductor import FAILED, GPU_FULL, MOST_ATTEMPTS, OUTCOME

STUDY = """
study: lost
question: Who is lost?
data: {dataset: digits, drawn: 20, source: scanned, size: 48, evaluate_on: [scanned], teacher_on: [scanned]}
control: false
teacher: {model: digits_student_tiny, epochs: 1}
student: {model: "lost:student"}
train: {lr: 0.01}
search: {train.batch_size: {grid: [8, 16, 24]}}
budget: {trials: 3, epochs: 1, repeats: 1, early_stopping: none, sampler: random}
"""

STUDENT = """
import torch
from tune_kd.models import build

lost = False

def student(classes, in_shape):
    return Student(build("digits_student_tiny", classes=classes, in_shape=in_shape))

class Student(torch.nn.Module):
    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, images):
        global lost
        lost = lost or (self.training and len(images) == 8)
        if lost:
            raise torch.AcceleratorError("CUDA error: device-side assert triggered")
        return self.inner(images)
"""


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (torch.AcceleratorError("CUDA error: an illegal memory access was encountered"), None),
        (torch.AcceleratorError("CUDA error: out of memory"), GPU_FULL),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), FAILED),
    ],
)
def test_a_leg_that_lost_its_gpu_ends_its_process_and_others_tell_what_became_of_them(
    monkeypatch: pytest.MonkeyPatch, error: Exception, outcome: str | None
) -> None:
    def leg(order: SimpleNamespace, *rest: object) -> None:
        raise error

    monkeypatch.setattr(trial, "_leg", leg)
    order = {"order": SimpleNamespace(share=SimpleNamespace(gpu=0.25))}
    if outcome is None:
        with pytest.raises(torch.AcceleratorError):
            trial.run(order, None, lambda told: None)  # type: ignore[arg-type]
    else:
        assert trial.run(order, None, lambda told: None)[OUTCOME] == outcome  # type: ignore[arg-type]


@pytest.mark.slow
def test_only_the_training_that_breaks_it_fails_and_says_why(ray_address: str, tmp_path: Path) -> None:
    (tmp_path / "lost.yaml").write_text(STUDY)
    (tmp_path / "lost.py").write_text(STUDENT)
    command = [sys.executable, "-m", "tune_kd.search", "lost.yaml", "--name", "it", "--address", ray_address]
    # One process at a time, so that the others come after it.
    done = subprocess.run(
        [*command, "--set", "resources.cpu=2"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=PATIENCE,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    trials = pd.read_parquet(tmp_path / "runs" / "it" / names.TRIALS_FILE).set_index("config.train.batch_size")
    assert trials["state"].to_dict() == {8: names.FAIL, 16: names.COMPLETE, 24: names.COMPLETE}
    why = trials[names.STOP_REASON][8]
    assert f"its process died {MOST_ATTEMPTS} times" in why
    assert "the GPU said: CUDA error: device-side assert triggered" in why

"""Whole searches and their store: two at once, and one that nobody answers until the search is over."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from mlflow import MlflowClient
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from tests.patience import PATIENCE
from tests.tracking.stores import Server, points
from tune_kd import names

STUDY = """
study: {name}
question: Do two get on?
data: {{dataset: digits, drawn: 200, evaluate_on: [scanned], teacher_on: [scanned]}}
teacher: {{model: digits_student, epochs: 2, train: {{lr: 0.01, batch_size: 64}}}}
student: {{model: digits_student_tiny}}
train: {{batch_size: 32, epoch_images: {images}}}
search:
  kd.alpha: {{uniform: [0.1, 1.0]}}
  train.lr: {{loguniform: [0.001, 0.05]}}
budget: {{trials: {trials}, epochs: 4, first_rung: 1, complete: 1, repeats: 2}}
"""
SECONDS = 15

pytestmark = pytest.mark.slow


def begin(where: Path, name: str, uri: str, *arguments: str, trials: int = 2, images: int = 200) -> subprocess.Popen:
    (where / f"{name}.yaml").write_text(STUDY.format(name=name, trials=trials, images=images))
    command = [sys.executable, "-m", "tune_kd.search", f"{name}.yaml", "--name", name, "--tracking-uri", uri]
    return subprocess.Popen(
        [*command, *arguments], cwd=where, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True,
    )  # fmt: skip


def trained(folder: Path) -> list[str]:
    """The MLflow runs of a search's trials."""
    return list(pd.read_parquet(folder / names.TRIALS_FILE)["mlflow_run_id"])


def test_two_searches_at_once_share_a_store_and_one_keeps_to_its_time(
    tmp_path: Path, uri: str, ray_address: str
) -> None:
    hurried = begin(
        tmp_path, "hurried", uri, "--address", ray_address, "--set", f"budget.seconds={SECONDS}",
        trials=1000, images=4000,
    )  # fmt: skip
    calm = begin(tmp_path, "calm", uri, "--address", ray_address)
    for search in (hurried, calm):
        said = search.communicate(timeout=PATIENCE)[0]
        assert search.returncode == 0, said
    runs = {name: trained(tmp_path / "runs" / name) for name in ("hurried", "calm")}
    client = MlflowClient(uri)
    for name, ids in runs.items():
        assert len(set(ids)) == len(ids) > 0
        parents = {client.get_run(run).data.tags["mlflow.parentRunId"] for run in ids}
        assert [client.get_run(parent).info.run_name for parent in parents] == [name]
    assert not set(runs["hurried"]) & set(runs["calm"])
    for name in runs:
        for row in pd.read_parquet(tmp_path / "runs" / name / names.TRIALS_FILE).itertuples():
            history = client.get_metric_history(row.mlflow_run_id, names.VAL_ACCURACY)
            assert [point.value for point in sorted(history, key=lambda point: point.step)] == list(row.curve)
    assert took(tmp_path / "runs" / "hurried") < SECONDS + 60


def took(folder: Path) -> float:
    """Seconds from the first trial that was asked for to the last that ended."""
    ledger = JournalStorage(JournalFileBackend(str(folder / names.LEDGER_FILE)))
    arms = [study for study in ledger.get_all_studies() if not study.study_name.endswith("| finals")]
    trials = [trial for study in arms for trial in ledger.get_all_trials(study._study_id)]
    begun = [trial.datetime_start for trial in trials if trial.datetime_start]
    ended = [trial.datetime_complete for trial in trials if trial.datetime_complete]
    return (max(ended) - min(begun)).total_seconds()


def test_a_store_that_never_answers_gets_everything_from_the_printed_command(tmp_path: Path, ray_address: str) -> None:
    server = Server(tmp_path)
    search = begin(tmp_path, "alone", server.address, "--address", ray_address)
    said = search.communicate(timeout=PATIENCE)[0]
    assert search.returncode == 0, said
    assert "The search goes on" in said
    assert "hush" not in said
    folder = tmp_path / "runs" / "alone"
    found = re.search(r"this delivers them: (python -m tune_kd\.tracking [^\n]+)", said)
    assert found, said
    server.start()
    try:
        command = [sys.executable, *shlex.split(found.group(1))[1:], "--tracking-uri", server.address]
        delivered = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=PATIENCE, check=False)
        assert delivered.returncode == 0, delivered.stdout + delivered.stderr
    finally:
        server.kill()
    counts = points(tmp_path / "mlflow.db")
    assert set(counts.values()) == {1}
    trials = pd.read_parquet(folder / names.TRIALS_FILE)
    reported = sum(map(len, trials["curve"]))
    assert sum(key.startswith("trial") for key, metric, _ in counts if metric == names.VAL_ACCURACY) == reported

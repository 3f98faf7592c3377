"""What several tests of tracking need."""

import os
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from mlflow.entities import Run

from tune_kd.tracking import Outcome, Tracker

ROOT = Path(__file__).parents[2]

Start = Callable[..., Tracker]
ReadRuns = Callable[..., Mapping[str, Run]]


@dataclass(frozen=True)
class FirstSearch:
    """The folder in which a search met no store, and everything it printed."""

    folder: Path
    printed: str


def run_python(code: str, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A process of its own, with this checkout importable and no tracking address from outside."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "MLFLOW_TRACKING_URI": "", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def finish(tracker: Tracker, status: str = "FINISHED", seconds: float = 60, **more: object) -> Outcome:
    arguments = {"metrics": {}, "tags": {}, "artifacts": [], **more}
    return tracker.finish(status=status, seconds=seconds, **arguments)  # type: ignore[arg-type]


def points(database: Path) -> Counter[tuple[str, str, int]]:
    """How often the store holds each (trial, metric, step), read without MLflow."""
    query = (
        "SELECT tags.value, metrics.key, metrics.step FROM metrics JOIN tags USING (run_uuid)"
        " JOIN runs USING (run_uuid) WHERE tags.key = 'tune_kd.key' AND runs.lifecycle_stage = 'active'"
    )
    with sqlite3.connect(database) as connection:
        return Counter(connection.execute(query).fetchall())

"""What several tests of tracking need."""

import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from mlflow.entities import Run

from tune_kd.tracking import Delivery, Tracker

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


def finish(tracker: Tracker, status: str = "FINISHED", seconds: float = 60, **more: object) -> Delivery:
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


def wait_for(condition: Callable[[], object], seconds: float = 90.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.05)


class Server:
    """`mlflow server` on loopback, on one port and one store through all its lives."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.address = f"http://me:hush@127.0.0.1:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        options = ["--port", str(self.port), "--workers", "1", "--backend-store-uri", "sqlite:///mlflow.db"]
        command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", *options]
        lean = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
        self._process = subprocess.Popen(
            command,
            cwd=self.folder,
            env={**os.environ, **lean},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        wait_for(self._healthy)

    def kill(self) -> None:
        if self._process:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None

    def _healthy(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/health", timeout=1) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

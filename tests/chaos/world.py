"""The machines of a chaos search: a Ray of several nodes, an MLflow server, and the search's own process."""

import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.chaos import audited
from tests.patience import PATIENCE
from tune_kd import names

STUDY = """
study: chaos
question: Is anything lost?
seed: 1
data: {dataset: digits, drawn: 200, source: scanned, evaluate_on: [scanned], teacher_on: [scanned]}
teacher: {model: 'audited:teacher', epochs: 4, train: {lr: 0.01, batch_size: 64, epoch_images: 400}}
student: {model: 'audited:student'}
train: {batch_size: 40, epoch_images: 200}
search:
  kd.alpha: {uniform: [0.1, 1.0]}
  train.lr: {loguniform: [0.001, 0.05]}
first: [{kd.alpha: 0.9, train.lr: 0.01}]
budget: {trials: 6, epochs: 6, first_rung: 1, complete: 2, repeats: 2}
# A whole node, so that one node is one trial at a time.
resources: {cpu: 2}
# Which is faster here is measured, so a busy machine may choose differently from one search to the next.
precision: fp32
"""
QUICK = ("budget.trials=3", "budget.epochs=4", "budget.complete=1")
SEARCH_SECONDS = PATIENCE


class Failed(AssertionError):
    """Something that must not happen has happened."""


def wait_for(condition: Callable[[], object], what: str, seconds: float = PATIENCE) -> None:
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise Failed(f"{what} did not happen within {seconds:.0f} s")
        time.sleep(0.05)


class Machines:
    """A head that trains nothing, where the search joins, and nodes that come and go."""

    def __init__(self) -> None:
        from ray.cluster_utils import Cluster

        # The loss of a node is noticed in a few seconds, not in half a minute.
        heartbeat = {
            "health_check_period_ms": 500,
            "health_check_failure_threshold": 8,
            "health_check_timeout_ms": 2000,
        }
        head = {"num_cpus": 0, "include_dashboard": False, "_system_config": heartbeat}
        self._cluster: Any = Cluster(initialize_head=True, head_node_args=head)
        self.address = str(self._cluster.address)

    def have(self, count: int) -> None:
        while len(self._cluster.worker_nodes) < count:
            self._cluster.add_node(num_cpus=2)
        while len(self._cluster.worker_nodes) > count:
            self._cluster.remove_node(next(iter(self._cluster.worker_nodes)))

    def kill_worker(self, choose: random.Random) -> bool:
        """False where nothing trains at this moment."""
        try:
            os.kill(choose.choice(self._workers()), signal.SIGKILL)
        except (IndexError, ProcessLookupError):
            return False
        return True

    def lose_one(self, choose: random.Random) -> None:
        """Kills a node's raylet. Returns when Ray knows, so that a node that comes next is not one too many."""
        node = choose.choice(sorted(self._cluster.worker_nodes, key=lambda node: self._raylet(node).pid))
        alive = len(self._cluster.global_state._live_node_ids())
        raylet = self._raylet(node)
        raylet.kill()
        raylet.wait()
        self._cluster.worker_nodes.remove(node)
        wait_for(lambda: len(self._cluster.global_state._live_node_ids()) < alive, "Ray's noticing of a lost node")

    def _workers(self) -> list[int]:
        """Processes that train, by the names that Ray gives them."""
        raylets = [self._raylet(node) for node in self._cluster.worker_nodes]
        found = {child: _title(child) for raylet in raylets for child in _children(raylet.pid)}
        idle = ("Agent", "IDLE")
        return [pid for pid, title in sorted(found.items()) if "ray::" in title and not any(w in title for w in idle)]

    def shutdown(self) -> None:
        self._cluster.shutdown()

    @staticmethod
    def _raylet(node: Any) -> Any:
        return node.all_processes["raylet"][0].process


def _children(pid: int) -> list[int]:
    try:
        return [
            int(word)
            for task in Path(f"/proc/{pid}/task").iterdir()
            for word in (task / "children").read_text().split()
        ]
    except OSError:
        return []


def _title(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return ""


class Server:
    """`mlflow server` on loopback, on one port and one store through all its lives."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._port = probe.getsockname()[1]
        self.address = f"http://127.0.0.1:{self._port}"
        self.database = folder / "mlflow.db"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Does not wait until it answers."""
        store = ["--backend-store-uri", f"sqlite:///{self.database}", "--host", "127.0.0.1", "--port", str(self._port)]
        lean = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "mlflow", "server", "--workers", "1", *store],
            cwd=self.folder,
            env={**os.environ, **lean},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def kill(self) -> None:
        if self._process:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None

    def answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.address}/health", timeout=1) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False


class Search:
    """One search in one folder, through all the processes that it takes to end it."""

    def __init__(self, where: Path, address: str, tracking: str, settings: tuple[str, ...] = ()) -> None:
        where.mkdir(parents=True)
        self.where = where
        self.folder = where / "runs" / "chaos"
        self.experiment = where.name
        self.audit = where / audited.AUDIT_FILE.name
        (where / "chaos.yaml").write_text(STUDY)
        shutil.copy(audited.__file__, where)
        given = ["--address", address, "--tracking-uri", tracking, "--experiment", self.experiment]
        self._command = [sys.executable, "-m", "tune_kd.search", "--out", str(self.folder), *given]
        self._settings = [word for setting in settings for word in ("--set", setting)]
        self._process: subprocess.Popen[bytes] | None = None
        self.lives = 0

    @property
    def ledger(self) -> Path:
        return self.folder / names.LEDGER_FILE

    @property
    def output(self) -> str:
        return (self.where / "output.txt").read_text()

    def start(self) -> None:
        """From the beginning, or from wherever it was killed."""
        begun = self.ledger.exists()
        words = ["--resume"] if begun else ["chaos.yaml", *self._settings]
        with (self.where / "output.txt").open("ab") as output:
            self._process = subprocess.Popen(
                [*self._command, *words],
                cwd=self.where,
                stdout=output,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        self.lives += 1

    def kill(self) -> None:
        if self._process:
            self._process.kill()
            self._process.wait()

    def wait(self) -> int:
        """Until it is over; its exit code."""
        assert self._process is not None
        return self._process.wait(SEARCH_SECONDS)

    @property
    def ended(self) -> bool:
        """True once it is over; a search that gave up although nobody had killed its driver has failed."""
        code = self._process.poll() if self._process else 0
        if code not in (None, 0):
            raise Failed(f"the search ended with code {code}:\n{self.output[-3000:]}")
        return code == 0

    def deliver(self) -> None:
        """What MLflow had not taken when the search ended."""
        done = subprocess.run(
            [sys.executable, "-m", "tune_kd.tracking", str(self.folder), "--seconds", "90"],
            cwd=self.where,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise Failed(f"MLflow was not told everything: {done.stdout}{done.stderr}")

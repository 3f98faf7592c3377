"""Plays searches on two machines of this one with pretended GPUs: Ray and Tune are real, the training is a sleep.

A process of its own, because Ray joins one cluster at a time. Writes what happened as JSON:
`python -m tests.execution.on_a_cluster FOLDER`.
"""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ray
from ray import tune
from ray.cluster_utils import Cluster

from tests.patience import PATIENCE
from tests.tuning.played import Play
from tune_kd.execution import runner
from tune_kd.execution.resources import Shares

SMALL, LARGE = "digits_student_tiny", "digits_student"
MACHINE = {"num_cpus": 8, "num_gpus": 2, "object_store_memory": 80 * 2**20}


class Scene:
    """One search on the cluster as it is."""

    def __init__(self, folder: Path, gpus: dict[str, float], *settings: str) -> None:
        self.folder = folder
        self.play = Play(folder, "first=[]", f"conditions={{student.model: [{SMALL}, {LARGE}]}}", *settings)
        self.shares = Shares(1, {student: {"": gpu} for student, gpu in gpus.items()})

    def run(self, train: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
        runner.drive(self.play.conductor, train, self.shares, lambda: None)

    def marks(self) -> list[dict[str, Any]]:
        return [json.loads(line) for path in self.folder.glob("*.marks") for line in path.read_text().splitlines()]

    def told(self) -> dict[str, Any]:
        return {
            "legs": legs(self.marks()),
            "states": [state for _, _, state in self.play.states()],
            "epochs": [epochs for _, epochs, _ in self.play.states()],
            "twice": len(reports(self.play)) - len(set(reports(self.play))),
        }


def reports(play: Play) -> list[tuple[str, int]]:
    return [(key, epoch) for kind, key, epoch in play.heard.events if kind == "reported"]


def training(folder: Path, seconds: float, together: float = 0, then: float = 0) -> Callable[..., Any]:
    """A leg that sleeps instead of training; it loads nothing heavy, so sixteen of them start quickly.

    The first ones wait for each other until they take so many cards `together`; each is slow to end by `then` seconds.
    """

    def begun() -> float:
        marks = [json.loads(line) for path in folder.glob("*.marks") for line in path.read_text().splitlines()]
        return sum(mark["gpu"] for mark in marks if mark["what"] == "begin")

    def train(config: dict[str, Any]) -> dict[str, Any]:
        order = config["order"]
        about = {
            "key": Path(order.saved).stem,
            "node": ray.get_runtime_context().get_node_id(),
            "card": ",".join(map(str, ray.get_gpu_ids())),
            "gpu": order.share.gpu,
            "pid": os.getpid(),
        }

        def mark(what: str) -> None:
            with (folder / f"{os.getpid()}.marks").open("a") as file:
                file.write(json.dumps(about | {"what": what, "time": time.time()}) + "\n")

        mark("begin")
        patience = time.monotonic() + TOGETHER_SECONDS
        while begun() < together and time.monotonic() < patience:
            time.sleep(0.1)
        for epoch in range(order.reported + 1, order.until + 1):
            time.sleep(seconds)
            tune.report({"epoch": epoch, "val_accuracy": order.config["train.lr"] * epoch, "seconds": seconds})
        mark("end")
        time.sleep(then)
        return {"outcome": "ok"} | ({"result": '{"test_accuracy": 0.5}'} if order.final else {})

    return train


def legs(marks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Each with its beginning and its end; one whose process was killed has no end."""
    found: list[dict[str, Any]] = []
    for pid in sorted({mark["pid"] for mark in marks}):
        for mark in sorted((mark for mark in marks if mark["pid"] == pid), key=lambda mark: mark["time"]):
            if mark["what"] == "begin":
                found.append({**mark, "begin": mark["time"], "end": None})
            else:
                found[-1]["end"] = mark["time"]
    return sorted(found, key=lambda leg: leg["begin"])


TOGETHER_SECONDS = 90

ONE_RUNG = ("budget.epochs=1", "budget.repeats=1", "budget.complete=1")


def sixteen(folder: Path) -> dict[str, Any]:
    """Shares of a quarter, more trials than there is room for."""
    scene = Scene(folder, {SMALL: 0.25, LARGE: 0.25}, *ONE_RUNG, "budget.trials=6")
    scene.run(training(folder, 0.3, together=4))
    return scene.told()


def mixed(folder: Path) -> dict[str, Any]:
    scene = Scene(folder, {SMALL: 0.25, LARGE: 0.5}, *ONE_RUNG, "budget.trials=8")
    # Ray chooses the cards as processes happen to start, so that two of them may be left with a quarter each.
    scene.run(training(folder, 0.3, together=3.5))
    return scene.told()


def slow_to_end(folder: Path) -> dict[str, Any]:
    """A training that is slow to let go of its process, where processes are used again."""
    scene = Scene(folder, {SMALL: 1.0, LARGE: 1.0}, *ONE_RUNG, "budget.trials=2")
    scene.run(training(folder, 0.1, together=4, then=3))
    return scene.told()


SHORT = ("budget.epochs=4", "budget.first_rung=2", "budget.trials=3", "budget.repeats=1")


def faults(folder: Path, cluster: Cluster) -> dict[str, Any]:
    """A machine joins late; a trial's process is killed; a machine goes."""
    scene = Scene(folder, {SMALL: 0.5, LARGE: 0.5}, *SHORT)
    head = ray.get_runtime_context().get_node_id()
    done: dict[str, Any] = {"head": head}

    def under_way_on(node: str) -> list[str]:
        return [leg["key"] for leg in legs(scene.marks()) if leg["end"] is None and leg["node"] == node]

    def happen() -> None:
        wait_for(lambda: len(scene.marks()) >= 4)
        late = cluster.add_node(**MACHINE)
        done["late"] = late.node_id
        wait_for(lambda: any(mark["node"] == late.node_id for mark in scene.marks()))
        wait_for(lambda: any(under_way_on(head)))
        leg = [leg for leg in legs(scene.marks()) if leg["end"] is None and leg["node"] == head][-1]
        done["killed"] = leg["key"]
        os.kill(leg["pid"], signal.SIGKILL)
        wait_for(lambda: any(under_way_on(late.node_id)))
        done["moved"] = under_way_on(late.node_id)
        done["gone"] = time.time()
        cluster.remove_node(late, allow_graceful=False)

    # Ray starts machines from the main thread only.
    beside = threading.Thread(target=scene.run, args=[training(folder, 1.5)])
    beside.start()
    happen()
    beside.join()
    return scene.told() | done


HUNGRY = """
study: hungry
question: Is it tried again?
data: {dataset: digits, drawn: 100, source: scanned, size: 50, evaluate_on: [scanned], teacher_on: [scanned]}
control: false
teacher: {model: digits_student, epochs: 1}
student: {model: "hungry:student"}
search: {train.lr: {loguniform: [0.001, 0.05]}}
budget: {trials: 2, epochs: 1, complete: 1, repeats: 1}
"""

STUDENT = """
import ray, torch
from tune_kd.models import build

def student(classes, in_shape):
    return Hungry(build("digits_student_tiny", classes=classes, in_shape=in_shape))

class Hungry(torch.nn.Module):
    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, images):
        context = ray.get_runtime_context()
        has = context.get_assigned_resources() if context.worker.mode == ray.WORKER_MODE else {}
        if self.training and max((v for k, v in has.items() if k.startswith("GPU")), default=1) < 0.5:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return self.inner(images)
"""


def hungry(folder: Path, address: str) -> dict[str, Any]:
    """A whole search with the command, of a student that runs out of memory with less than half a card."""
    (folder / "hungry.yaml").write_text(HUNGRY)
    (folder / "hungry.py").write_text(STUDENT)
    command = [sys.executable, "-m", "tune_kd.search", "hungry.yaml", "--name", "it", "--address", address]
    environment = os.environ | {"PYTHONPATH": str(folder), "TUNE_KD_CACHE": str(folder / "cache")}
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=PATIENCE
    )
    ledger = folder / "runs" / "it" / "ledger.journal"
    return {
        "code": done.returncode,
        "output": done.stdout + done.stderr,
        "doubled": ledger.read_text().count('"share_factor":2') if ledger.exists() else -1,
        "states": [],
        "twice": 0,
    }


def wait_for(condition: Callable[[], bool], seconds: float = 100) -> None:
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError
        time.sleep(0.1)


def main(folder: Path) -> None:
    cluster = Cluster(initialize_head=True, head_node_args={**MACHINE, "include_dashboard": False})
    second = cluster.add_node(**MACHINE)
    ray.init(address=cluster.address, log_to_driver=False)
    try:
        found: dict[str, Any] = {}
        for scene in (sixteen, mixed, slow_to_end):
            (folder / scene.__name__).mkdir()
            found[scene.__name__] = on(scene, folder / scene.__name__)
        cluster.remove_node(second)
        (folder / "faults").mkdir()
        found["faults"] = on(lambda folder: faults(folder, cluster), folder / "faults")
        (folder / "hungry").mkdir()
        found["hungry"] = on(lambda folder: hungry(folder, cluster.address), folder / "hungry")
        (folder / "found.json").write_text(json.dumps(found))
    finally:
        ray.shutdown()
        cluster.shutdown()


def on(scene: Callable[[Path], dict[str, Any]], folder: Path) -> dict[str, Any]:
    started = time.time()
    return scene(folder) | {"seconds": time.time() - started}


if __name__ == "__main__":
    main(Path(sys.argv[1]))

"""What a worker holds in memory, and whether the images lie once on the node.

    python -m benchmarks.memory --root DIR_OF_CIFAR --trials 20

Each leg of a search notes, after its training, how much of its process lies in memory, how much of that nobody else
has, and which file its image array is mapped from. The driver's memory over many trials: benchmarks.many_trials.
"""

import argparse
import json
import os
import sys
import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ray
import torch

from benchmarks import exercise
from benchmarks.driven import Clock, Search, connected, scratch
from benchmarks.measuring import Figure, Result, own_mb, parser, report, require_equal, resident_mb
from tune_kd.execution.trial import Report, run
from tune_kd.execution.workbench import Material, workbench
from tune_kd.storage.stores import Storage

WORKER_MB = 600.0


def main() -> int:
    flags = parser(__doc__, rounds=1)
    exercise.add_flags(flags)
    flags.add_argument("--trials", type=int, default=20)
    flags.add_argument("--address", help="a Ray that runs already, with two processors")
    given = flags.parse_args()
    return report("memory", given, lambda: measure(given))


class Watched:
    """The search's own legs, each leaving a note of its process's memory."""

    def __init__(self, notes: Path) -> None:
        self.notes = notes

    def __call__(self, config: Mapping[str, Any], material: ray.ObjectRef[Any], report: Report) -> dict[str, Any]:
        told = run(config, material, report)
        images = workbench(material, config["order"].share.gpu).images.images
        note = {
            "pid": os.getpid(),
            "when": time.time(),
            "resident_mb": resident_mb(),
            "own_mb": own_mb(),
            "images_mb": images.nbytes / 2**20,
            "images_lie_in": mapped_from(images.data_ptr()),
        }
        (self.notes / f"{uuid.uuid4().hex}.json").write_text(json.dumps(note))
        return told


def mapped_from(address: int) -> str:
    """The file behind an address of this process; nothing for memory of its own."""
    for line in Path("/proc/self/maps").read_text().splitlines():
        span, *rest = line.split(maxsplit=5)
        start, end = (int(part, 16) for part in span.split("-"))
        if start <= address < end:
            return rest[4] if len(rest) > 4 else ""
    return ""


def measure(given: argparse.Namespace) -> Result:
    with scratch() as folder:
        os.environ["TUNE_KD_CACHE"] = str(folder / "cache")
        made = exercise.make(given, folder)
        notes = folder / "notes"
        notes.mkdir()
        with connected(given.address) as cpu:
            study, prepared = made.load()
            teacher = exercise.teacher_of(study, prepared)
            kept = Storage.at(str(folder / "run")).marked()
            material = Material(study, prepared.splits, prepared.mean, prepared.std, kept)
            budget = study.budget.model_copy(update={"trials": given.trials})
            resources = study.resources.model_copy(update={"cpu": cpu})
            study = study.model_copy(update={"budget": budget, "resources": resources})
            clock = Clock()
            Search.of(study, folder / "run").conduct(material, Watched(notes), clock, teacher=teacher)
        told = sorted((json.loads(path.read_text()) for path in notes.iterdir()), key=lambda note: note["when"])
    legs = require_equal("legs", noted=len(told), ended=len(clock.done))
    own = [note for note in told if not Path(note["images_lie_in"]).is_relative_to("/dev/shm")]
    figures = {
        "a worker's resident memory": Figure(max(note["resident_mb"] for note in told), "MB", at_most=WORKER_MB),
        "of that its own": Figure(max(note["own_mb"] for note in told), "MB"),
        "copies of the image array in workers": Figure(len({note["pid"] for note in own}), "", at_most=0),
        "image array": Figure(told[0]["images_mb"], "MB"),
    }
    settings = {"trials": given.trials, "cifar": bool(given.root), "torch_threads": torch.get_num_threads()}
    return Result(settings, figures, {"legs": told}, {"legs": legs})


if __name__ == "__main__":
    sys.exit(main())

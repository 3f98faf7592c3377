"""What a step of each method costs against plain KD, whose teacher's logits are cached.

    python -m benchmarks.method_steps --root DIR_OF_CIFAR

One process and one thread, our own training on every side, in seconds that the processor worked for it. An epoch of one
method is followed by an epoch of the next; what fills the cache, and each training's first epoch, do not count.
"""

import argparse
import os
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import torch

from benchmarks import exercise
from benchmarks.cached_step import Steps
from benchmarks.driven import scratch
from benchmarks.measuring import Figure, Result, in_turn, median, parser, ratio, report, require_equal
from tune_kd.space import methods
from tune_kd.space.study import resolve
from tune_kd.training.train import Job, train

PLAIN = "kd"


def main() -> int:
    flags = parser(__doc__, rounds=7)
    exercise.add_flags(flags, images=2048, epochs=2)
    given = flags.parse_args()
    torch.set_num_threads(1)
    return report("method_steps", given, lambda: measure(given))


def measure(given: argparse.Namespace) -> Result:
    with scratch() as folder:
        os.environ["TUNE_KD_CACHE"] = str(folder / "cache")
        steps = Steps(exercise.make(given, folder))
        guide = steps.guide()
        seconds(steps, PLAIN, guide, folder)
        filled = guide.images_run
        sides = {name: partial(seconds, steps, name, guide, folder) for name in methods.METHODS}
        told = in_turn(sides, given.rounds)
        require_equal("images whose logits were asked of the teacher", first=filled, all_in_all=guide.images_run)
    figures = {f"step of {name} ÷ of {PLAIN}": Figure(ratio(told[name], told[PLAIN])) for name in methods.METHODS}
    figures[PLAIN] = Figure(1e6 * median(told[PLAIN]) / len(steps.chosen), "µs of processor an image")
    settings = {"images": given.images, "epochs": given.epochs, "threads": 1, "cifar": bool(given.root)}
    return Result(settings, figures, told, {"images an epoch": len(steps.chosen)})


def seconds(steps: Steps, method: str, guide: Any, folder: Path) -> float:
    """That the processor works for an epoch, without a look at validation images."""
    study = resolve(steps.study, {"kd.method": method})
    saved, heard = folder / "student.pt", list[float]()
    saved.unlink(missing_ok=True)
    job = Job(study, steps.chosen, torch.empty(0, dtype=torch.long), 0, study.budget.epochs)
    train(job, steps.data, guide, lambda metrics: heard.append(time.process_time()), saved)
    return (heard[-1] - heard[0]) / (len(heard) - 1)


if __name__ == "__main__":
    sys.exit(main())

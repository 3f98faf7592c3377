"""What a step of each method costs against plain KD, whose teacher's logits are cached.

    python -m benchmarks.method_steps --root DIR_OF_CIFAR

One process and one thread, our own training on every side, images a second as it reports them itself. An epoch of one
method is followed by an epoch of the next; the first epoch, which fills the cache, does not count.
"""

import argparse
import os
import sys
from functools import partial
from pathlib import Path

import torch

from benchmarks import exercise
from benchmarks.cached_step import Steps
from benchmarks.driven import scratch
from benchmarks.measuring import Figure, Result, in_turn, median, parser, report, require_equal
from tune_kd.space import methods
from tune_kd.space.study import resolve

PLAIN = "kd"


def main() -> int:
    flags = parser(__doc__, rounds=7)
    exercise.add_flags(flags, images=2048, epochs=1)
    given = flags.parse_args()
    torch.set_num_threads(1)
    return report("method_steps", given, lambda: measure(given))


def measure(given: argparse.Namespace) -> Result:
    with scratch() as folder:
        os.environ["TUNE_KD_CACHE"] = str(folder / "cache")
        steps = Steps(exercise.make(given, folder))
        guide = steps.guide()
        steps.rate(guide, folder)
        filled = guide.images_run

        def rate(method: str, folder: Path) -> float:
            steps.study = resolve(steps.study, {"kd.method": method})
            return steps.rate(guide, folder)

        told = in_turn({name: partial(rate, name, folder) for name in methods.METHODS}, given.rounds)
        require_equal("images whose logits were asked of the teacher", first=filled, all_in_all=guide.images_run)
    figures = {
        f"step of {name} ÷ of {PLAIN}": Figure(median([a / b for a, b in zip(told[PLAIN], told[name], strict=True)]))
        for name in methods.METHODS
    }
    figures[PLAIN] = Figure(median(told[PLAIN]), "images/s")
    settings = {"images": given.images, "epochs": given.epochs, "threads": 1, "cifar": bool(given.root)}
    return Result(settings, figures, told, {"images an epoch": len(steps.chosen)})


if __name__ == "__main__":
    sys.exit(main())

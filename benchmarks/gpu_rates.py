"""Images a second on one GPU: one process, its steps ordinary or recorded, and 4, 8 and 16 that share it.

    python -m benchmarks.gpu_rates --root DIR_OF_CIFAR

Each process trains LightNN from cached logits with our own training, as a trial with that share of the card does.
"""

import argparse
import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import torch

from benchmarks import exercise
from benchmarks.cached_step import Steps
from benchmarks.driven import scratch
from benchmarks.measuring import NO_RESULT, ROOT, Figure, Result, in_turn, median, parser, progress, report
from tune_kd.training import graph as recording

SHARES = (1, 4, 8, 16)
SECONDS = 900


def main() -> int:
    flags = parser(__doc__)
    exercise.add_flags(flags, images=16384, epochs=20)
    flags.add_argument("--processes", type=int, nargs="+", default=SHARES, help="how many share the card (1 4 8 16)")
    flags.add_argument("--train-in", type=Path, help=argparse.SUPPRESS)
    flags.add_argument("--ordinary", action="store_true", help=argparse.SUPPRESS)
    given = flags.parse_args()
    if not torch.cuda.is_available():
        progress("There is no GPU here that torch can use, so there is nothing to measure.")
        return NO_RESULT
    if given.train_in:
        if given.ordinary:
            recording.LEAST_STEPS = sys.maxsize
        print(train(given.train_in, given.images, given.epochs))
        return 0
    return report("gpu_rates", given, lambda: measure(given))


def measure(given: argparse.Namespace) -> Result:
    with scratch() as folder:
        os.environ["TUNE_KD_CACHE"] = str(folder / "cache")
        exercise.make(given, folder)
        together(given, folder, 1)  # fills the cache
        sides = {f"{number} processes": partial(together, given, folder, number) for number in given.processes}
        sides["1 process, ordinary steps"] = partial(together, given, folder, 1, "--ordinary")
        told = in_turn(sides, given.rounds)
    figures = {name: Figure(median(rates), "images/s") for name, rates in told.items()}
    settings = {"images": given.images, "epochs": given.epochs, "gpu": torch.cuda.get_device_name()}
    return Result(settings, figures, told, {"images an epoch": given.images, "epochs": given.epochs})


def together(given: argparse.Namespace, folder: Path, processes: int, *more: str) -> float:
    """Their images a second, summed; each gives its median epoch, so that starting and ending do not count."""
    command = [sys.executable, "-m", "benchmarks.gpu_rates", "--train-in", str(folder)]
    command += ["--images", str(given.images), "--epochs", str(given.epochs), *more]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    started = [subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) for _ in range(processes)]
    told = [process.communicate(timeout=SECONDS)[0] for process in started]
    if any(process.returncode for process in started):
        raise RuntimeError(f"of {processes} processes on the card some failed")
    return sum(float(text.splitlines()[-1]) for text in told)


def train(folder: Path, images: int, epochs: int) -> float:
    torch.set_num_threads(1)
    steps = Steps(exercise.Exercise(folder, images, epochs), torch.device("cuda"))
    with scratch() as own:
        return median(steps.rates(steps.guide(), own))


if __name__ == "__main__":
    sys.exit(main())

"""What distillation adds to a training step once the teacher's logits are cached.

    python -m benchmarks.cached_step --root DIR_OF_CIFAR

One process and one thread, our own training on both sides, images a second as it reports them itself. An epoch of one
side is followed by an epoch of the other, and the first, which fills the cache, does not count.
"""

import argparse
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from benchmarks import exercise
from benchmarks.driven import scratch
from benchmarks.measuring import Figure, Result, in_turn, median, parser, report, require_equal
from tune_kd import names
from tune_kd.data.splits import student_indices
from tune_kd.data.views import Views
from tune_kd.space.study import resolve
from tune_kd.teacher.guide import Guide
from tune_kd.training.train import Job, train

GOAL = 1.02
CPU = torch.device("cpu")


def main() -> int:
    flags = parser(__doc__, rounds=15)
    exercise.add_flags(flags, images=8192, epochs=2)
    given = flags.parse_args()
    torch.set_num_threads(1)
    return report("cached_step", given, lambda: measure(given))


def measure(given: argparse.Namespace) -> Result:
    with scratch() as folder:
        os.environ["TUNE_KD_CACHE"] = str(folder / "cache")
        steps = Steps(exercise.make(given, folder))
        guide = steps.guide()
        steps.rate(guide, folder)
        filled = guide.images_run
        sides = {
            "without a teacher": lambda: steps.rate(None, folder),
            "warm cache": lambda: steps.rate(guide, folder),
        }
        told = in_turn(sides, given.rounds)
        require_equal("images the teacher ran on", first=filled, all_in_all=guide.images_run)
    images = require_equal("images an epoch", **{side: len(steps.chosen) for side in told}, wanted=given.images)
    ratios = [plain / warm for plain, warm in zip(told["without a teacher"], told["warm cache"], strict=True)]
    figures = {
        "step with warm cache ÷ without a teacher": Figure(median(ratios), at_most=GOAL),
        "without a teacher": Figure(median(told["without a teacher"]), "images/s"),
        "warm cache": Figure(median(told["warm cache"]), "images/s"),
    }
    settings = {"images": given.images, "epochs": given.epochs, "threads": 1, "cifar": bool(given.root)}
    return Result(settings, figures, told, {"images an epoch": images})


class Steps:
    """Trainings of the exercise's student in this process."""

    def __init__(self, made: exercise.Exercise, device: torch.device = CPU) -> None:
        study, self.prepared = made.load()
        self.study = resolve(study, {"kd.alpha": 0.5, "train.lr": 0.001})
        self.data = exercise.data_of(self.prepared).to(device)
        self.chosen = torch.from_numpy(student_indices(self.prepared.splits, "all", made.images, None))
        self.teacher = exercise.teacher_of(self.study, self.prepared)

    def guide(self) -> Guide:
        views = Views.of(self.study.augment, self.study.seed)
        return Guide.of(self.teacher, self.data, self.prepared.splits.digests["images"], views)

    def rates(self, guide: Any, folder: Path) -> list[float]:
        """Images a second in each epoch of a new training."""
        saved = folder / "student.pt"
        saved.unlink(missing_ok=True)
        heard: list[Mapping[str, float]] = []
        validation = torch.from_numpy(self.prepared.splits.validation.copy())
        job = Job(self.study, self.chosen, validation, 0, self.study.budget.epochs)
        train(job, self.data, guide, heard.append, saved)
        return [metrics[names.IMAGES_PER_SECOND] for metrics in heard]

    def rate(self, guide: Any, folder: Path) -> float:
        """Of the last epoch."""
        return self.rates(guide, folder)[-1]


if __name__ == "__main__":
    sys.exit(main())

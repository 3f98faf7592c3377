"""A distillation step of ours against one of the torchdistill package: same models, images and loss, one CPU thread.

    pip install --no-deps torchdistill==1.1.5 && python -m benchmarks.torchdistill_step --root DIR_OF_CIFAR

torchdistill runs the teacher in every step, so it is measured once and compared with ours from the cache and without.
Its images wait as normalised tensors; ours are normalised in the step.
"""

import argparse
import importlib.util
import os
import sys
import time
from typing import Any

import torch
from torch import Tensor

from benchmarks import exercise
from benchmarks.cached_step import Steps
from benchmarks.driven import scratch
from benchmarks.measuring import (
    NO_RESULT,
    Figure,
    Result,
    UnequalWork,
    in_turn,
    median,
    parser,
    progress,
    ratio,
    report,
    require_equal,
)
from tune_kd.distill.distiller import Distiller, loss_parts, temperature
from tune_kd.distill.method import Given, Seen
from tune_kd.models import build
from tune_kd.teacher.guide import Guide
from tune_kd.training.images import normalise

CACHED_GOAL, ONLINE_GOAL = 10.0, 1.5
PARITY = 1e-3
THEIRS, CACHED, ONLINE = "torchdistill", "ours, warm cache", "ours, teacher online"


def main() -> int:
    flags = parser(__doc__, rounds=5)
    exercise.add_flags(flags, images=4096, epochs=1)
    given = flags.parse_args()
    if importlib.util.find_spec("torchdistill") is None:
        progress("torchdistill is not installed here. Get it with: pip install --no-deps torchdistill==1.1.5")
        return NO_RESULT
    torch.set_num_threads(1)
    return report("torchdistill_step", given, lambda: measure(given))


def measure(given: argparse.Namespace) -> Result:
    with scratch() as folder:
        os.environ["TUNE_KD_CACHE"] = str(folder / "cache")
        steps = Steps(exercise.make(given, folder))
        cached = steps.guide()
        online = Guide(steps.teacher, None, torch.device("cpu"))
        box = Box(steps, given.epochs)
        losses = box.same_loss()
        steps.rate(cached, folder)
        told = in_turn(
            {
                THEIRS: box.rate,
                CACHED: lambda: steps.rate(cached, folder),
                ONLINE: lambda: steps.rate(online, folder),
            },
            given.rounds,
        )
    figures = {
        "torchdistill's step ÷ ours, warm cache": Figure(ratio(told[CACHED], told[THEIRS]), at_least=CACHED_GOAL),
        "torchdistill's step ÷ ours, teacher online": Figure(ratio(told[ONLINE], told[THEIRS]), at_least=ONLINE_GOAL),
        **{side: Figure(median(rates), "images/s") for side, rates in told.items()},
    }
    settings = {"images": given.images, "epochs": given.epochs, "threads": 1, "cifar": bool(given.root)}
    return Result(settings, figures, told, {"images an epoch": box.images, "loss of one batch": losses})


class Box:
    """torchdistill's side of the exercise."""

    def __init__(self, steps: Steps, epochs: int) -> None:
        from benchmarks.peers import torchdistill_box

        self._peer, self._steps, self._epochs = torchdistill_box, steps, epochs
        self.images = 0
        data, study = steps.data, steps.study
        self._inputs = normalise(data.images[steps.chosen], data.mean, data.std)
        self._labels = data.labels[steps.chosen]
        self._settings = {
            "batch_size": study.train.batch_size,
            "epochs": epochs,
            "lr": study.train.lr,
            "temperature": study.kd.temperature,
            "alpha": study.kd.alpha,
        }

    def _make(self) -> Any:
        data = self._steps.data
        self.student = build("lightnn", classes=data.classes, in_shape=data.shape)
        teacher = self._steps.teacher.module(torch.device("cpu"))
        return self._peer.make_box(teacher, self.student, self._inputs, self._labels, self._settings)

    def rate(self) -> float:
        """Images a second of the last epoch of a new training."""
        box = self._make()
        for number in range(self._epochs):
            seen: list[int] = []
            started = time.perf_counter()
            self._peer.epoch(box, number, seen.append)
            seconds = time.perf_counter() - started
        self.images = require_equal("images an epoch", ours=len(self._steps.chosen), torchdistill=sum(seen))
        return self.images / seconds

    def _loss(self, logits: Tensor, guide: Tensor, labels: Tensor) -> Tensor:
        settings, data = self._steps.study.kd, self._steps.data
        given = Given(temperature(settings), self._epochs, data.classes, len(data.images), 0)
        method = Distiller.of(settings, given)
        return loss_parts(method, Seen(logits), Seen(guide.float()), labels, 0.0, 1).total

    def same_loss(self) -> dict[str, float]:
        """Both sides' loss of the same batch with the same weights."""
        box = self._make()
        self.student.eval()
        inputs, labels = self._inputs[:128], self._labels[:128]
        theirs = self._peer.loss_of(box, inputs, labels)
        with torch.no_grad():
            guide = Guide(self._steps.teacher, None, torch.device("cpu")).run(
                self._steps.data.images[self._steps.chosen[:128]]
            )
            ours = float(self._loss(self.student(inputs), guide, labels))
        if abs(ours - theirs) > PARITY * abs(theirs):
            raise UnequalWork(f"the loss of one batch is {ours} here and {theirs} in torchdistill")
        return {"ours": ours, "torchdistill": theirs}


if __name__ == "__main__":
    sys.exit(main())

"""One process of a measurement: trains a student on noise, as a trial would, beside others that do the same.

`python -m tune_kd.execution.probe`, with a question as one line of JSON on its standard input. Says `ready` once warm,
waits for `go`, and answers with a line of JSON. Knows no Ray.
"""

import contextlib
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import torch
from torch import Tensor

from tune_kd.cluster import mps
from tune_kd.execution import memory
from tune_kd.execution.resources import HEADROOM, memory_fraction
from tune_kd.models import build
from tune_kd.models.layout import ImageShape
from tune_kd.space.load import load
from tune_kd.space.schema import Student
from tune_kd.space.study import Study, by_teacher, lessons
from tune_kd.teacher.ensemble import Guides
from tune_kd.teacher.guide import Guide
from tune_kd.teacher.making import Teacher
from tune_kd.teacher.online import Online
from tune_kd.training.images import Images
from tune_kd.training.train import EVALUATION_BATCH, Job, train

BATCHES = 32
"""Of one measured epoch: so short that processes are done at about the same time, so long that saving hardly shows."""

FOR_EVER = 1_000_000


@dataclass(frozen=True)
class Question:
    """What a measurement is of: a student, taught by a method on so many images of a shape. `cost` names what of the
    study matters."""

    study: str
    cost: str
    student: str
    method: str
    batch_size: int
    images: int
    shape: ImageShape
    classes: int

    @classmethod
    def read(cls, raw: Mapping[str, Any]) -> "Question":
        return cls(**{**raw, "shape": tuple(raw["shape"])})


class Enough(Exception):
    """The time of the measurement is over."""


def device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def facts() -> dict[str, str]:
    """What a measurement depends on besides the question; an empty name where PyTorch sees no card."""
    if not torch.cuda.is_available():
        return {"gpu": "", "driver": "", "torch": torch.__version__}
    asked = subprocess.run(
        ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"],
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    return {
        "gpu": torch.cuda.get_device_name(0),
        "driver": asked.stdout.partition("\n")[0].strip(),
        "torch": torch.__version__,
        "mps": "yes" if mps.answers() else "no",
    }


def usage() -> dict[str, float]:
    """Bytes: this process's own, all that is taken where it runs (others included), and all there is."""
    if torch.cuda.is_available():
        free, total = torch.cuda.mem_get_info()
        return {"own": torch.cuda.max_memory_reserved(), "taken": total - free, "total": total}
    scale = 1 if sys.platform == "darwin" else 1024
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * scale
    there = memory_of("MemTotal")
    return {"own": own, "taken": there - memory_of("MemAvailable"), "total": there}


def memory_of(name: str) -> float:
    lines = Path("/proc/meminfo").read_text().splitlines()
    return next(1024.0 * int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))


@dataclass(frozen=True)
class Table:
    """Logits as from the cache, and the teacher's network for methods that look at its maps."""

    logits: Tensor
    guide: Guide

    def __call__(self, index: Tensor, view: Tensor, pictures: Tensor) -> Tensor:
        return self.logits[index.cpu()].to(pictures.device).float()

    def online(self) -> Online:
        return self.guide.online()


class Bench:
    """A student, images of noise, and logits of noise."""

    def __init__(self, question: Question, gpu: float, folder: Path) -> None:
        torch.set_num_threads(1)
        study = load(question.study)
        self._study: Study = study.model_copy(
            update={
                "student": Student(model=question.student),
                "train": study.train.model_copy(update={"batch_size": question.batch_size, "epoch_images": None}),
                "kd": study.kd.model_copy(update={"method": question.method, "alpha": 0.5}),
                "budget": study.budget.model_copy(update={"epochs": FOR_EVER}),
            }
        )
        where = device()
        channels = question.shape[0]
        if where.type == "cuda":
            # As enforced in a trial, less what is kept free: a share that is too small shows as out of memory.
            total = torch.cuda.get_device_properties(0).total_memory
            torch.cuda.set_per_process_memory_fraction(HEADROOM * memory_fraction(gpu, total))
        noise = torch.randint(0, 256, (question.images, *question.shape), dtype=torch.uint8, device=where)
        labels = torch.arange(question.images, device=where) % question.classes
        self._images = Images(noise, labels, (0.5,) * channels, (0.25,) * channels, question.classes)
        self._logits = torch.randn(question.images, question.classes).half()
        self._saved = folder / "probe.pt"
        self._device = where

    def warm_up(self) -> None:
        """The first epoch runs the teacher too: a trial does where nobody has filled the cache."""
        guides = [self._guide(lessons(own)[-1].teacher.model) for own in by_teacher(self._study)]
        self._train(1, 0, Guides(guides, [1.0] * len(guides)), lambda metrics: None)

    def _guide(self, model: str) -> Guide:
        module, images = build(model, classes=self._images.classes, in_shape=self._images.shape), self._images
        teacher = Teacher(model, module.state_dict(), images.mean, images.std, images.shape, images.classes)
        return Guide(teacher, None, self._device)

    def rate(self, seconds: float) -> float:
        """Images a second with logits from a table, as from the cache; from the second epoch on, as in the first one a
        step is recorded."""
        done: list[float] = []

        def report(metrics: dict[str, float]) -> None:
            done.append(time.perf_counter())
            if done[-1] - done[0] >= seconds:
                raise Enough

        table = Table(self._logits, self._guide(lessons(self._study)[-1].teacher.model))
        with contextlib.suppress(Enough):
            self._train(FOR_EVER, 1, table, report)
        return (len(done) - 1) * self._epoch / (done[-1] - done[0])

    @property
    def _epoch(self) -> int:
        return min(BATCHES * self._study.train.batch_size, len(self._images.images))

    def _train(self, until: int, reported: int, guide: Any, report: Any) -> None:
        index = torch.arange(self._epoch)
        job = Job(self._study, index, index[: EVALUATION_BATCH["cuda"]], 0, until, reported)
        train(job, self._images, guide, report, self._saved)


def answer(question: Question, gpu: float, heard: TextIO, said: TextIO) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        try:
            bench = Bench(question, gpu, Path(folder))
            bench.warm_up()
            print("ready", file=said, flush=True)
            seconds = float(heard.readline().removeprefix("go"))
            return {"rate": bench.rate(seconds), **usage()}
        except Exception as error:
            return {"failed": memory.what_is_full(error) or f"{type(error).__name__}: {error}"}


def main() -> None:
    line = json.loads(sys.stdin.readline())
    found = answer(Question.read(line["question"]), line["gpu"], sys.stdin, sys.stdout) if line else facts()
    print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()

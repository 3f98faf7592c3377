"""What one GPU trains: ordinary and recorded steps, processes that share it with MPS and without; its teacher's runs.

    python -m benchmarks.gpu_rates

Images and logits are noise of CIFAR's shape: a step costs the same. Each figure is told as soon as it is known; what
fails is told and left out, so that a card that is lent for minutes leaves what it can.
"""

import argparse
import contextlib
import itertools
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.measuring import NO_RESULT, Figure, Result, in_turn, median, parser, progress, ratio, report
from tune_kd import names
from tune_kd.cluster import mps
from tune_kd.execution import gauge
from tune_kd.execution.probe import Question
from tune_kd.execution.resources import AUTO_SHARE
from tune_kd.models import build
from tune_kd.space.load import dump, load
from tune_kd.space.study import Study
from tune_kd.teacher.guide import Guide
from tune_kd.teacher.making import Teacher
from tune_kd.training import graph as recording
from tune_kd.training import precision
from tune_kd.training.images import Images
from tune_kd.training.precision import Precision
from tune_kd.training.train import Job, train

SHAPE, CLASSES, HELD_OUT = (3, 32, 32), 10, 5000
CHUNKS = (64, 256, 512, 1024, 2048)
TEACHER = "resnet56"

Told = dict[str, list[float]]


def main() -> int:
    flags = parser(__doc__)
    flags.add_argument("--students", nargs="+", default=["lightnn", "resnet8"])
    flags.add_argument("--images", type=int, default=45056, help="of an epoch (45056)")
    flags.add_argument("--epochs", type=int, default=4, help="of a training; the first does not count (4)")
    flags.add_argument("--augment", default="none", help="augment.kind (none)")
    flags.add_argument("--processes", type=int, nargs="+", default=gauge.AT_ONCE, help="how many share the card")
    flags.add_argument("--seconds", type=float, default=3.0, help="for which these are measured (3)")
    given = flags.parse_args()
    if not torch.cuda.is_available():
        progress("There is no GPU here that torch can use, so there is nothing to measure.")
        return NO_RESULT
    return report("gpu_rates", given, lambda: measure(given, torch.device("cuda")))


def measure(given: argparse.Namespace, device: torch.device) -> Result:
    torch.set_num_threads(1)
    best: Precision = "bf16" if precision.capable(device) else "fp32"
    data = noise(given.images, device)
    figures: dict[str, Figure] = {}
    told: Told = {}

    def tell(name: str, figure: Figure) -> None:
        figures[name] = figure
        progress(f"{name}: {figure.words()}")

    for student in given.students:
        for used in dict.fromkeys(("fp32", best)):
            with kept_going():
                alone(given, data, study(student, used, given.augment), f"{student}, {used}", tell, told)
    for chunk in CHUNKS:
        with kept_going():
            tell(f"{TEACHER}, {best}, {chunk} at once", Figure(teacher(data, best, chunk), "images/s"))
    for student in given.students:
        with kept_going():
            share(given, question(given, study(student, best, given.augment)), "", tell)
        with kept_going(), mps.served():
            if mps.answers():
                share(given, question(given, study(student, best, given.augment)), ", MPS", tell)
    card = torch.cuda.get_device_name() if device.type == "cuda" else ""
    settings = {"images": given.images, "epochs": given.epochs, "augment": given.augment, "gpu": card}
    return Result(settings, figures, told, {"images an epoch": given.images, "epochs": given.epochs})


@contextlib.contextmanager
def kept_going() -> Iterator[None]:
    try:
        yield
    except Exception:
        progress(traceback.format_exc())


def noise(images: int, device: torch.device) -> Images:
    generator = torch.Generator().manual_seed(0)
    number = images + HELD_OUT
    pixels = torch.randint(0, 256, (number, *SHAPE), dtype=torch.uint8, generator=generator)
    return Images(pixels, torch.arange(number) % CLASSES, (0.5,) * 3, (0.25,) * 3, CLASSES).to(device)


def study(student: str, used: str, augment: str) -> Study:
    text = f"study: rates\nstudent: {{model: {student}}}\nteacher: {{model: {TEACHER}}}\nprecision: {used}\n"
    return load(text + f"augment: {{kind: {augment}}}\nkd: {{alpha: 0.5}}\nbudget: {{trials: 1, epochs: 99}}\n")


# One process.


def alone(
    given: argparse.Namespace, data: Images, of: Study, name: str, tell: Callable[[str, Figure], None], told: Told
) -> None:
    """Ordinary and recorded steps in turn, and what an epoch takes besides its steps: looking at images, saving."""
    epochs = {kind: partial(train_for, given, data, of, kind == "recorded") for kind in ("ordinary", "recorded")}
    found = in_turn(epochs, given.rounds)
    rates = {kind: [images_per_second for images_per_second, _ in rounds] for kind, rounds in found.items()}
    for kind, each in rates.items():
        told[f"{name}, {kind}"] = each
        tell(f"{name}, {kind} steps", Figure(median(each), "images/s"))
    tell(f"{name}, recorded ÷ ordinary", Figure(ratio(rates["recorded"], rates["ordinary"])))
    besides = [seconds for _, seconds in found["recorded"]]
    tell(f"{name}, besides an epoch's steps", Figure(1000 * median(besides), "ms"))


def train_for(given: argparse.Namespace, data: Images, of: Study, recorded: bool) -> tuple[float, float]:
    """Images a second in its steps, and seconds of an epoch that are not for these; medians without the first epoch."""
    logits = torch.randn(len(data.images), CLASSES, device=data.images.device)

    def look_up(index: Tensor, view: Tensor, pictures: Tensor) -> Tensor:
        return logits[index.to(logits.device, non_blocking=True)]

    heard: list[tuple[float, float]] = []

    def hear(metrics: dict[str, float]) -> None:
        heard.append((time.perf_counter(), metrics[names.IMAGES_PER_SECOND]))

    held_out = torch.arange(given.images, given.images + HELD_OUT)
    job = Job(of, torch.arange(given.images), held_out, 0, given.epochs)
    least, recording.LEAST_STEPS = recording.LEAST_STEPS, 1 if recorded else sys.maxsize
    try:
        with tempfile.TemporaryDirectory() as folder:
            train(job, data, look_up, hear, Path(folder) / "student.pt")
    finally:
        recording.LEAST_STEPS = least
    took = [later - earlier for (earlier, _), (later, _) in itertools.pairwise(heard)]
    rates = [rate for _, rate in heard[1:]]
    return median(rates), median([whole - given.images / rate for whole, rate in zip(took, rates, strict=True)])


def teacher(data: Images, used: Precision, chunk: int) -> float:
    """Images a second of a teacher that fills the cache, so many in one run."""
    weights = build(TEACHER, classes=CLASSES, in_shape=SHAPE).state_dict()
    made = Teacher(TEACHER, weights, data.mean, data.std, SHAPE, CLASSES)
    guide = Guide(made, None, data.images.device, used)
    guide.at_once = chunk
    pictures = data.images[: 32 * CHUNKS[-1]]
    guide.run(pictures[:chunk]).cpu()
    started = time.perf_counter()
    guide.run(pictures).cpu()
    return len(pictures) / (time.perf_counter() - started)


# Several processes.


def question(given: argparse.Namespace, of: Study) -> Question:
    return Question(dump(of), "", of.student.model, of.kd.method, of.train.batch_size, given.images, SHAPE, CLASSES)


def share(given: argparse.Namespace, asked: Question, how: str, tell: Callable[[str, Figure], None]) -> None:
    """As `gpu: auto` measures it, but all numbers; and what it would choose against a share that is given."""
    found: list[gauge.Measurement] = []
    for number in given.processes:
        each = gauge._together(asked, number, given.seconds)
        found.append(each)
        if each.failed:
            progress(f"{asked.student}, {number} processes{how}: {each.failed}")
            continue
        taken = f"{each.taken / 2**30:.1f} of {each.total / 2**30:.0f} GiB taken"
        tell(f"{asked.student}, {number} processes{how}", Figure(each.rate, "images/s", note=taken))
    _against(found, asked.student + how, tell)


def _against(found: Sequence[gauge.Measurement], name: str, tell: Callable[[str, Figure], None]) -> None:
    rates = {each.at_once: each.rate for each in found if each.fits}
    chosen = gauge.choose(found)
    for number in (1, round(1 / AUTO_SHARE)):
        if number in rates and chosen in rates:
            note = f"auto takes {chosen} at once"
            tell(f"{name}, auto ÷ {number} at once", Figure(rates[chosen] / rates[number], note=note))


if __name__ == "__main__":
    sys.exit(main())

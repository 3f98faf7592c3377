"""How fast this machine trains and runs a model: measured, remembered from earlier plans and searches, or reckoned.

What was measured is kept in the user's cache, a small file each. Where that cannot be written, nothing is kept.
"""

import functools
import hashlib
import json
import math
import platform
import tempfile
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Final, Literal

import numpy as np
import torch

from tune_kd import names
from tune_kd.data.sources import user_cache
from tune_kd.models import build
from tune_kd.models.layout import ImageShape
from tune_kd.space.schema import Student
from tune_kd.space.study import Study
from tune_kd.training import measures, precision
from tune_kd.training.images import Images
from tune_kd.training.precision import Precision
from tune_kd.training.train import Job, train

How = Literal["measured now", "measured by an earlier plan", "measured in a search", "reckoned from multiplications"]
RECKONED: Final[How] = "reckoned from multiplications"

SHARE: Final = 0.2
"""Of the rate of large matrices, what a training is taken to reach until it is measured: a guess on the safe side."""

EPOCH_SECONDS: Final = 0.01
"""What an epoch is taken to need besides its images, where it has not been measured: a guess."""

STEPS: Final = 10
"""So many steps should fit into the time of a measurement; large models are measured in smaller batches."""


@dataclass(frozen=True)
class Asked:
    """What a speed is of; settings that a step costs the same with are left out."""

    model: str
    shape: ImageShape
    classes: int
    batch_size: int
    augment: str
    precision: str
    device: str
    threads: int

    @classmethod
    def of(cls, study: Study, shape: ImageShape, classes: int, device: torch.device, threads: int) -> "Asked":
        """Of the study's student."""
        kinds = "&".join(filter(None, [study.augment.kind, study.augment.strong]))
        own = study.student.model, shape, classes, study.train.batch_size, kinds, study.precision
        return cls(*own, device_name(device), threads)

    @property
    def file(self) -> Path:
        told = asdict(self) | {"torch": torch.__version__}
        digest = hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:20]
        return user_cache() / "rates" / f"{digest}.json"


@dataclass(frozen=True)
class Rate:
    """Of one process."""

    training: float
    """Images a second."""
    evaluating: float
    """Images a second."""
    epoch: float
    """Seconds of an epoch that are not for images: a checkpoint, scores."""
    single: float
    """Seconds for one image alone."""
    macs: int
    how: How


def pick_device(study: Study) -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() and study.resources.gpu != 0 else "cpu")


@functools.cache
def device_name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(0)
    with suppress(OSError, StopIteration):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return platform.processor() or platform.machine()


# What is remembered.


def known(asked: Asked) -> Rate | None:
    """A file that is not there, or not whole, is as none."""
    try:
        found = Rate(**json.loads(asked.file.read_text())["rate"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return found if found.evaluating > 0 else None


def keep(asked: Asked, rate: Rate) -> None:
    with suppress(OSError):
        asked.file.parent.mkdir(parents=True, exist_ok=True)
        mine = asked.file.with_suffix(f".{uuid.uuid4().hex}")
        mine.write_text(json.dumps({"asked": asdict(asked), "rate": asdict(rate)}))
        mine.replace(asked.file)


_NOTED: set[Asked] = set()


def note(asked: Asked, found: Mapping[str, float], busy: float, images: int, validation: int) -> None:
    """What a training of a search has reported of an epoch, beside others as trainings are; once in a process. It had
    its processor for a share `busy` of the time.
    """
    if asked in _NOTED:
        return
    _NOTED.add(asked)
    macs = _macs(asked)
    guessed = known(asked) or reckon(asked, macs)
    evaluating = found[names.SECONDS] - images / found[names.IMAGES_PER_SECOND]
    # Where nothing is validated, what is left of the time was for something else.
    if validation and evaluating > 0 and busy > 0:
        speeds = found[names.IMAGES_PER_SECOND] / busy, validation / evaluating / busy
        rate = replace(guessed, training=speeds[0], evaluating=speeds[1])
        keep(asked, replace(rate, how="measured in a search"))


def _kept() -> Iterator[tuple[Asked, Rate]]:
    for file in (user_cache() / "rates").glob("*.json"):
        with suppress(OSError, ValueError, KeyError, TypeError):
            told = json.loads(file.read_text())
            rate = Rate(**told["rate"])
            if rate.evaluating > 0:
                yield Asked(**told["asked"] | {"shape": tuple(told["asked"]["shape"])}), rate


# What is reckoned.


def reckon(asked: Asked, macs: int | None = None) -> Rate:
    """From the most similar model that was measured in such a process here, else from the rate of matrices."""
    macs = macs or _macs(asked)
    like = [rate for other, rate in _kept() if (other.device, other.threads) == (asked.device, asked.threads)]
    if like:
        near = min(like, key=lambda rate: abs(math.log(rate.macs / macs)))
        factor = near.macs / macs
        speeds = near.training * factor, near.evaluating * factor, near.epoch, near.single / factor
        return Rate(*speeds, macs, RECKONED)
    training = SHARE * _matrix_rate(asked.threads) / (6 * macs)
    return Rate(training, 3 * training, EPOCH_SECONDS, 1 / (3 * training), macs, RECKONED)


def _macs(asked: Asked) -> int:
    return max(1, measures.macs(build(asked.model, classes=asked.classes, in_shape=asked.shape), asked.shape))


@functools.cache
def _matrix_rate(threads: int) -> float:
    """Floating-point operations a second, of so many threads that have a core each."""
    one = torch.randn(512, 512)
    return 2 * 512**3 / min(_seconds(one) for _ in range(8)) * threads


def _seconds(one: torch.Tensor) -> float:
    started = time.perf_counter()
    one @ one
    return time.perf_counter() - started


# What is measured.


class Clock:
    """How much of the time a process has had its processors: on a machine that others use as well, not all of it."""

    def __init__(self, device: torch.device, threads: int = 1) -> None:
        self._counts = device.type == "cpu"
        self._threads = threads
        self._wall, self._worked = time.perf_counter(), time.process_time()

    def lap(self) -> tuple[float, float]:
        """That share since the last lap, and the seconds."""
        wall, worked = time.perf_counter(), time.process_time()
        seconds, busy = wall - self._wall, (worked - self._worked) / self._threads
        self._wall, self._worked = wall, worked
        return (min(1.0, busy / seconds) if self._counts else 1.0), seconds


class Enough(Exception):
    """The time of the measurement is over."""


def measure(study: Study, asked: Asked, seconds: float) -> Rate:
    """Trains the model on noise for about so long, where a trial would: on a GPU if there is one."""
    device = pick_device(study)
    # What `auto` would decide, without its comparison, which takes longer than all of this.
    either: tuple[Precision, ...] = ("fp32",) if study.precision == "auto" else (study.precision,)
    if study.precision == "auto" and precision.capable(device):
        either = ("fp32", "bf16")
    expected = reckon(asked)
    share = seconds / len(either)
    batch = max(2, min(asked.batch_size, int(expected.training * share / STEPS)))
    before = torch.get_num_threads()
    torch.set_num_threads(asked.threads)
    try:
        return max((_measure(study, asked, used, batch, share, device) for used in either), key=lambda r: r.training)
    finally:
        torch.set_num_threads(before)


def _measure(study: Study, asked: Asked, used: Precision, batch: int, seconds: float, device: torch.device) -> Rate:
    """The quickest epoch of a few batches counts, and of a processor the time that it worked for this: whatever else
    runs here takes nothing from it."""
    noise = np.random.default_rng(0).integers(0, 256, (2 * batch, *asked.shape), dtype=np.uint8)
    labels = torch.arange(2 * batch) % asked.classes
    channels = asked.shape[0]
    images = Images(torch.from_numpy(noise), labels, (0.5,) * channels, (0.25,) * channels, asked.classes).to(device)
    settings = study.model_copy(
        update={
            "student": Student(model=asked.model),
            "precision": used,
            "train": study.train.model_copy(update={"batch_size": batch, "epoch_images": None}),
        }
    )
    heard: list[dict[str, float]] = []
    clock = Clock(device, asked.threads)
    began = time.perf_counter()

    def report(found: dict[str, float]) -> None:
        busy, whole = clock.lap()
        worked = found[names.SECONDS] * busy
        training = 2 * batch / found[names.IMAGES_PER_SECOND] * busy
        heard.append({"training": training, "looking": worked - training, "beside": max(0.0, whole * busy - worked)})
        if time.perf_counter() - began >= seconds:
            raise Enough

    index = torch.arange(2 * batch)
    job = Job(settings, index, index[:batch], seed=0, until=1_000_000)
    with tempfile.TemporaryDirectory() as folder, suppress(Enough):
        train(job, images, None, report, Path(folder) / "measure.pt")
    training, looking, beside = (min(each[part] for each in heard) for part in ("training", "looking", "beside"))
    network = build(asked.model, classes=asked.classes, in_shape=asked.shape)
    single = measures.latency_ms(network, asked.shape, 1, repeats=3)[0] / 1000
    return Rate(2 * batch / training, batch / looking, beside, single, _macs(asked), "measured now")

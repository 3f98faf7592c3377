"""Teachers that searches have trained, in the user's cache: trained again they would be the same to the bit.

A file is named after all that decides its weights, this package's own code and the processor included, so none is ever
stale. A network of the user's own is not kept, as nobody can tell here whether its code has changed.
"""

import functools
import hashlib
import json
import shutil
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor

from tune_kd import names
from tune_kd.data.sources import user_cache
from tune_kd.errors import InputError, StorageError
from tune_kd.models import registry
from tune_kd.storage import files
from tune_kd.teacher.logits import LARGEST_SHARE_OF_DISK
from tune_kd.teacher.making import Order, Teacher
from tune_kd.training import checkpoint, precision
from tune_kd.training.rates import device_name

LIBRARIES: Final = ("torch", "torchvision", "timm")
TAKEN: Final = "taken_from_an_earlier_search"
"""What a report calls it."""

NO_MATTER: Final = {
    *("study", "question", "mode", "data", "teacher", "teachers", "kd", "conditions", "search", "first", "control"),
    *("controls", "objectives", "budget", "resources", "published"),
}
"""What of a study decides nothing of its teacher, or stands in its order by itself."""


@dataclass(frozen=True)
class Place:
    """Where one teacher is kept; without a file none is."""

    order: Order
    file: Path | None

    @classmethod
    def of(cls, order: Order, images_digest: str, tutor: Teacher | None = None) -> "Place":
        if not (registry.lasts(order.study.teacher.model) and order.job.until):
            return cls(order, None)
        told = json.dumps(_decides(order, images_digest, tutor), sort_keys=True, default=str)
        name = hashlib.sha256(told.encode()).hexdigest()[:20]
        return cls(order, user_cache() / "teachers" / f"{name}.pt")

    def find(self, saved: Path) -> tuple[Teacher, str] | None:
        """The teacher, and when it was trained. What is damaged counts as not there; so does one that was trained in
        another precision than `auto` has chosen for this search, whose decisions lie beside `saved`."""
        try:
            if self.file is None or not self.file.exists():
                return None
            kept = checkpoint.load(self.file)
            data, model = self.order.data, self.order.study.teacher.model
            seen = tuple(data.mean), tuple(data.std), data.shape, data.classes, data.interpolation
            teacher = Teacher(model, kept["weights"], *seen)
            if teacher.digest != kept["digest"] or not self._agreed(saved, kept["precision"]):
                return None
            return teacher, f"trained {kept['when']} in {kept['seconds']:,.0f} s"
        except (InputError, OSError, KeyError, TypeError, ValueError, AttributeError):
            return None

    def keep(self, teacher: Teacher, saved: Path) -> None:
        """Whole or not at all, whoever else writes it; where there is no room the next search trains it again."""
        if self.file is None:
            return
        with suppress(OSError, StorageError, InputError):
            decision = self._decision(saved)
            state = {
                "weights": dict(teacher.weights),
                "digest": teacher.digest,
                "when": time.strftime("%Y-%m-%d"),
                "seconds": sum(each[names.SECONDS] for each in checkpoint.load(saved)["history"]),
                "precision": decision,
            }
            content = checkpoint.packed(state)
            self.file.parent.mkdir(parents=True, exist_ok=True)
            if len(content) <= LARGEST_SHARE_OF_DISK * shutil.disk_usage(self.file.parent).free:
                files.replace(self.file, content)

    def _agreed(self, saved: Path, kept: Mapping[str, Any]) -> bool:
        """A search that has not chosen a precision yet takes the one of the teacher's training for its own."""
        return self.order.study.precision != "auto" or self._decision(saved, kept)["precision"] == kept["precision"]

    def _decision(self, saved: Path, first: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """The search's own: `first` where there was none before, and none where the study says which."""
        study = self.order.study
        if study.precision != "auto":
            return {}
        file = precision.place(saved.parent, "training", study.teacher.model)
        return (self.order.job.agree or precision.in_folder)(file, lambda: dict(first or {}))


def _decides(order: Order, images_digest: str, tutor: Teacher | None) -> dict[str, Any]:
    job, data = order.job, order.data
    own = NO_MATTER if tutor is None else NO_MATTER - {"kd"}
    start = job.start
    return {
        "code": _code(),
        "libraries": _libraries(),
        "device": device_name(data.images.device),
        "threads": torch.get_num_threads(),
        "settings": job.settings.model_dump(mode="json", exclude=own),
        "seed": job.seed,
        "epochs": job.until,
        "tuning": asdict(job.tuning),
        "images": images_digest,
        "train": _digest([job.train]),
        "validation": _digest([job.validation]),
        "seen": (data.mean, data.std, data.shape, data.classes, data.interpolation),
        "start": start and [sorted(start.weights), _digest(start.weights[key] for key in sorted(start.weights))],
        "tutor": tutor and tutor.digest,
    }


def _digest(tensors: Iterable[Tensor]) -> str:
    found = hashlib.sha256()
    for each in tensors:
        found.update(f"{each.dtype} {tuple(each.shape)}".encode())
        found.update(each.detach().cpu().reshape(-1).contiguous().view(torch.uint8).numpy().data)
    return found.hexdigest()


@functools.cache
def _code() -> str:
    """Of this package as it is now. A number that somebody has to raise when results change would be forgotten."""
    found = hashlib.sha256()
    for file in sorted(Path(__file__).parents[1].rglob("*.py")):
        found.update(file.read_bytes())
    return found.hexdigest()


@functools.cache
def _libraries() -> dict[str, str]:
    found = {}
    for name in LIBRARIES:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found

"""A teacher's logits per (image, view), in one memory-mapped file a node, shared by its trials and by later searches.

Filled as views are first needed, by whichever trial needs them. The mark that a place is filled is a sum over its
logits, so a mark without its logits is seen: one that another process is writing, or one whose logits a power cut took
(the system writes the pages of a mapped file in any order it likes).
"""

import fcntl
import hashlib
import json
import math
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tune_kd.data.sources import user_cache
from tune_kd.models.layout import ImageShape

LARGEST_SHARE_OF_DISK = 0.5


@dataclass(frozen=True)
class CacheKey:
    """What the numbers depend on: another teacher, other images or other views never meet in one file."""

    teacher: str
    images: str
    views: str

    @property
    def digest(self) -> str:
        return hashlib.sha256(json.dumps(vars(self), sort_keys=True).encode()).hexdigest()[:20]


@dataclass(frozen=True)
class LogitCache:
    name: str
    logits: np.ndarray
    filled: np.ndarray

    @classmethod
    def open(cls, key: CacheKey, shape: ImageShape) -> "LogitCache | None":
        """The file for (images, views, classes); None where the disk has no room, and the teacher runs instead."""
        folder = user_cache() / "logits"
        name = f"{key.digest}-{'x'.join(map(str, shape))}"
        logits, filled = folder / f"{name}.f16", folder / f"{name}.sum"
        needed = dict(zip((logits, filled), sizes(shape), strict=True))
        try:
            folder.mkdir(parents=True, exist_ok=True)
            # Trials open it at the same moment, and all of them must hold the same two files.
            with (folder / f"{name}.lock").open("w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                if not _whole(needed) and not _make(needed):
                    return None
                return cls(
                    name,
                    np.memmap(logits, np.float16, "r+", shape=shape),
                    np.memmap(filled, np.uint32, "r+", shape=shape[:2]),
                )
        except OSError:
            return None

    def read(self, index: np.ndarray, view: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Logits (fp16) and which of them are there."""
        # Plain arrays of the same memory: indexing a memmap makes another memmap, which costs more than small reads.
        found: np.ndarray = np.asarray(self.logits)[index, view]
        return found, np.asarray(self.filled)[index, view] == _sums(found)

    def write(self, index: np.ndarray, view: np.ndarray, logits: np.ndarray) -> None:
        self.logits[index, view] = logits
        self.filled[index, view] = _sums(logits)


def sizes(shape: ImageShape) -> tuple[int, int]:
    """Bytes of the logits of (images, views, classes), and of their marks."""
    return 2 * math.prod(shape), 4 * math.prod(shape[:2])


def _sums(logits: np.ndarray) -> np.ndarray:
    """A number for each row, never 0. Whatever is lost and reads as zeros makes it smaller."""
    bits = logits.view(np.uint16)
    weights = np.arange(1, 2 * bits.shape[-1], 2, dtype=np.uint32)
    summed: np.ndarray = bits @ weights
    return summed | np.uint32(1)


def _whole(sizes: Mapping[Path, int]) -> bool:
    return all(path.exists() and path.stat().st_size == size for path, size in sizes.items())


def _make(sizes: Mapping[Path, int]) -> bool:
    """Both files anew: marks are worth nothing without the logits they were set for."""
    folder = next(iter(sizes)).parent
    for path in sizes:
        path.unlink(missing_ok=True)
    if sum(sizes.values()) > LARGEST_SHARE_OF_DISK * shutil.disk_usage(folder).free:
        return False
    try:
        for path, size in sizes.items():
            with path.open("wb") as file:
                # The disk's room is taken now: a full disk kills a process that writes to a hole in a mapped file.
                os.posix_fallocate(file.fileno(), 0, size)
    except OSError:
        for path in sizes:
            path.unlink(missing_ok=True)
        return False
    return True

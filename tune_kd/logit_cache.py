"""A teacher's logits per (image, view), in one memory-mapped file a node, shared by its trials and by later searches.

Filled as views are first needed, by whichever trial needs them. Two processes may fill the same place at once: both
write the same numbers, and the mark that a place is filled is written after them.
"""

import hashlib
import json
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import Tensor

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
    logits: np.ndarray
    filled: np.ndarray

    @classmethod
    def open(cls, key: CacheKey, shape: tuple[int, int, int]) -> "LogitCache | None":
        """The file for (images, views, classes); None where the disk has no room, and the teacher runs instead."""
        folder = cache_root() / "logits"
        path = folder / f"{key.digest}-{'x'.join(map(str, shape))}"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            logits = _map(path.with_suffix(".f16"), np.float16, shape)
            filled = _map(path.with_suffix(".mark"), np.uint8, shape[:2])
        except OSError:
            return None
        return cls(logits, filled) if logits is not None and filled is not None else None

    def read(self, index: np.ndarray, view: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Logits (fp16) and which of them are there. The marks are read first, see above."""
        known = self.filled[index, view] == 1
        return self.logits[index, view], known

    def write(self, index: np.ndarray, view: np.ndarray, logits: Tensor) -> None:
        self.logits[index, view] = logits.cpu().numpy()
        self.filled[index, view] = 1


def cache_root() -> Path:
    """Where caches lie: TUNE_KD_CACHE, or the user's cache folder."""
    return Path(os.environ.get("TUNE_KD_CACHE") or Path.home() / ".cache" / "tune_kd")


def _map(path: Path, dtype: type, shape: tuple[int, ...]) -> np.ndarray | None:
    """The file as an array; made sparse when it is new, made anew when its size is not what it must be."""
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    if not path.exists() or path.stat().st_size != size:
        if size > LARGEST_SHARE_OF_DISK * shutil.disk_usage(path.parent).free:
            return None
        with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
            file.truncate(size)
        # Renamed whole, so a process that opens the file beside us sees all of it or none.
        os.replace(file.name, path)
    return np.memmap(path, dtype=dtype, mode="r+", shape=shape)

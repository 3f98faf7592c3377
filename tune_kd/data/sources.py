"""What a data set is: named pools of labelled images of the same classes, and which module fills them."""

import os
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from tune_kd.errors import InputError
from tune_kd.space.schema import Data

Images = npt.NDArray[np.uint8]
Labels = npt.NDArray[np.int64]
Progress = Callable[[str], None]


@dataclass(frozen=True)
class Source:
    """Images (N, C, H, W) that came from one place. Read-only: every split is made of indices into them."""

    name: str
    images: Images
    labels: Labels
    names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        self.images.setflags(write=False)
        self.labels.setflags(write=False)


@dataclass(frozen=True)
class Dataset:
    """Training pools in a fixed order, the test images that others report on, and what a user should know."""

    name: str
    classes: tuple[str, ...]
    sources: Mapping[str, Source]
    official_test: Source | None
    notes: tuple[str, ...]


def load(data: Data, seed: int, progress: Progress | None = None) -> Dataset:
    """The images that `data` names. Only the module that is needed is imported: torchvision alone takes seconds."""
    tell = progress or (lambda message: None)
    if data.dataset == "folder":
        from tune_kd.data import folders

        return folders.load(data, tell)
    if data.dataset == "digits":
        from tune_kd.data import digits

        _refuse_size(data, 8)
        return digits.load(data, seed)
    from tune_kd.data import cifar

    _refuse_size(data, 32)
    return cifar.load(data, tell)


def user_cache() -> Path:
    """Where this user's files go that can be made again: TUNE_KD_CACHE, or the user's cache folder."""
    if chosen := os.environ.get("TUNE_KD_CACHE"):
        return Path(chosen)
    try:
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tune_kd"
    except RuntimeError:  # a container may run as a user without a home
        return Path(tempfile.gettempdir()) / "tune_kd"


def _refuse_size(data: Data, side: int) -> None:
    """Only folders hold images of any size; elsewhere a size that changes nothing would mislead."""
    if data.image_size not in (None, side):
        raise InputError(
            f"data.image_size: {data.image_size} cannot be used: {data.dataset} images are {side}x{side}. "
            "Leave the key out; it is for data.dataset=folder."
        )

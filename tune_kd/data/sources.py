"""What a data set is: named pools of labelled images of the same classes, and which module fills them."""

import os
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from tune_kd.names import Interpolation
from tune_kd.space import datasets
from tune_kd.space.schema import Data

Images = npt.NDArray[np.uint8]
Labels = npt.NDArray[np.int64]
Progress = Callable[[str], None]

TRAINING: Final = ("train", "training")
VALIDATION: Final = ("val", "valid", "validation", "dev")
TEST: Final = ("test", "testing", "eval")
"""What people call their splits."""


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
    """Training pools in a fixed order, the test images that others report on, and what a user should know.

    `judged` names the sources that are tested on where a study names none: none means all. `whole` is one array of all
    images in the order of the sources, where there is one.
    """

    name: str
    classes: tuple[str, ...]
    sources: Mapping[str, Source]
    official_test: Source | None
    notes: tuple[str, ...]
    judged: tuple[str, ...] = ()
    whole: Images | None = None


def silent(message: str) -> None:
    """Progress that nobody wants to hear of."""


@dataclass(frozen=True)
class Asked:
    """What a data set is asked for besides its settings: whom to tell, which sources the study names, and of which
    size and by which filter its networks want pictures that come in any."""

    seed: int = 0
    progress: Progress = silent
    sources: tuple[str, ...] = ()
    side: int | None = None
    interpolation: Interpolation = "bicubic"


def load(data: Data, asked: Asked | None = None) -> Dataset:
    """The images that `data` names. Only the module that is needed is imported: some bring libraries that are slow."""
    loaded: Dataset = datasets.member(data.dataset).load(data, asked or Asked())
    return loaded


def user_cache() -> Path:
    """Where this user's files go that can be made again: TUNE_KD_CACHE, or the user's cache folder."""
    if chosen := os.environ.get("TUNE_KD_CACHE"):
        return Path(chosen)
    try:
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tune_kd"
    except RuntimeError:  # a container may run as a user without a home
        return Path(tempfile.gettempdir()) / "tune_kd"

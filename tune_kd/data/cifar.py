"""CIFAR-10 and CIFAR-100 through torchvision, and CIFAR-10 cut into sources by the search word that found each image.

A file name in CIFAR-10's batches begins with that word: `felis_catus_s_000123.png`. Each class has 12 to 84 of them.
Put in alphabetical order and cut into four runs of about equal size (20 to 31 % of a class), they make the sources
`words1` to `words4`: disjoint, all ten classes in each, and truly different pictures, as kindred words mostly stand
together. Airplanes: airbuses, airliners, attack aircraft | biplanes to fighters | jetliners, jumbo jets, monoplanes |
stealth bombers and fighters, twinjets. `data.source=all` is all 50,000. CIFAR-100 is one source, `train`.
"""

import re
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import numpy as np
import numpy.typing as npt

from tune_kd.data.sources import Asked, Dataset, Images, Labels, Source, user_cache
from tune_kd.errors import InputError
from tune_kd.space.schema import Data, OnDisk

GROUPS: Final = 4
_FOLDERS: Final = {"cifar10": "cifar-10-batches-py", "cifar100": "cifar-100-python"}
_FILE_NAME: Final = re.compile(rb"[a-z_]+_s_\d{6}\.png")


class Settings(Data):
    """`root` holds the unpacked archive; `download` fetches it."""

    dataset: Literal["cifar10", "cifar100"] = "cifar10"
    root: Annotated[str | None, OnDisk()] = None
    download: bool = False


def load(data: Settings, asked: Asked) -> Dataset:
    """The official training images as sources and the official test images, as torchvision's md5 check passed them."""
    root = Path(data.root).expanduser() if data.root else user_cache() / "cifar"
    folder = root / _FOLDERS[data.dataset]
    if not data.download and not folder.is_dir():
        raise InputError(
            f"data.root: {data.dataset} is not in {root}. Put the folder {folder.name}/ there (the unpacked archive "
            "from https://www.cs.toronto.edu/~kriz/cifar.html), name its parent with --set data.root=DIR, "
            "or fetch it with --set data.download=true."
        )
    asked.progress(f"{data.dataset}: reading {folder}")
    train, test = _open(data, root)
    labels, planes = np.asarray(train.targets, dtype=np.int64), train.data.transpose(0, 3, 1, 2)
    sources = (
        _by_word(planes, labels, _file_names(folder, train.train_list))
        if data.dataset == "cifar10"
        else {"train": Source("train", np.ascontiguousarray(planes), labels)}
    )
    official = Source(
        "test", np.ascontiguousarray(test.data.transpose(0, 3, 1, 2)), np.asarray(test.targets, dtype=np.int64)
    )
    return Dataset(data.dataset, tuple(train.classes), sources, official, notes=())


def word_groups(words: npt.NDArray[np.str_], labels: Labels) -> npt.NDArray[np.int64]:
    """Which of the groups each image falls in: per class, a word goes where the middle of its run of images lies."""
    groups = np.empty(len(words), dtype=np.int64)
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        _, word, counts = np.unique(words[members], return_inverse=True, return_counts=True)
        middles = np.cumsum(counts) - counts / 2
        groups[members] = (middles * GROUPS / len(members)).astype(np.int64)[word]
    return groups


def word_of(file_name: str) -> str:
    """`felis_catus_s_000123.png` was found by `felis_catus`."""
    return file_name.rpartition("_s_")[0]


def _open(data: Settings, root: Path) -> tuple[Any, Any]:
    """torchvision's training and test sets; it unpickles only what has the md5 it knows."""
    from torchvision import datasets

    kind = datasets.CIFAR10 if data.dataset == "cifar10" else datasets.CIFAR100
    try:
        return kind(str(root), train=True, download=data.download), kind(str(root), train=False)
    except (RuntimeError, OSError) as error:
        remedy = "check the network" if data.download else "fetch it again with --set data.download=true"
        raise InputError(
            f"data.root: {data.dataset} in {root} is incomplete or damaged, or cannot be fetched: {error}. "
            f"Delete {root / _FOLDERS[data.dataset]} and {remedy}."
        ) from error


def _file_names(folder: Path, batches: Iterable[tuple[str, str]]) -> tuple[str, ...]:
    """The images' file names, which torchvision drops: searched for in the batches' bytes, so nothing is unpickled."""
    names: list[str] = []
    for batch, _ in batches:
        raw = (folder / batch).read_bytes()
        names += [name.decode() for name in _FILE_NAME.findall(raw, raw.rfind(b"filenames"))]
    return tuple(names)


def _by_word(planes: Images, labels: Labels, names: tuple[str, ...]) -> dict[str, Source]:
    """The word groups as slices of one array: the images are copied once."""
    groups = word_groups(np.array([word_of(name) for name in names]), labels)
    order = np.argsort(groups, kind="stable")
    images, labels = np.ascontiguousarray(planes[order]), labels[order]
    ends = np.cumsum(np.bincount(groups, minlength=GROUPS)).tolist()
    sources = {}
    for number, (start, end) in enumerate(pairwise([0, *ends]), start=1):
        name = f"words{number}"
        own_names = tuple(names[index] for index in order[start:end])
        sources[name] = Source(name, images[start:end], labels[start:end], own_names)
    return sources

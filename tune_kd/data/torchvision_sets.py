"""torchvision's data sets of labelled images, by name: `torchvision.FashionMNIST`."""

import inspect
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Final

from PIL import Image
from pydantic import Field

from tune_kd.data import decoding
from tune_kd.data.decoding import Item, Origin
from tune_kd.data.pictures import Unreadable
from tune_kd.data.sources import Asked, Dataset, user_cache
from tune_kd.errors import InputError, did_you_mean
from tune_kd.space.schema import OnDisk, Pictures

PREFIX: Final = "torchvision."
KNOWN: Final = (
    "Caltech101", "Country211", "DTD", "EuroSAT", "FGVCAircraft", "FashionMNIST", "Flowers102", "Food101", "GTSRB",
    "KMNIST", "MNIST", "OxfordIIITPet", "PCAM", "RenderedSST2", "SEMEION", "STL10", "SUN397", "SVHN", "StanfordCars",
    "USPS",
)  # fmt: skip
"""Those whose items are an image and the number of its class, in splits of the usual names."""

TESTED: Final = ("test",)


class Settings(Pictures):
    """`root` is what torchvision calls so; `download` fetches what is not there."""

    dataset: Annotated[str, Field(pattern=r"^torchvision\.\w+$", description="torchvision.NAME")]
    root: Annotated[str | None, OnDisk()] = None
    download: bool = False


def load(data: Settings, asked: Asked) -> Dataset:
    """Its splits are sources; one called `test` is for tests, as others report on it."""
    name = data.dataset.removeprefix(PREFIX)
    if name not in KNOWN:
        raise InputError(
            f"data.dataset: torchvision.{name} is not known here.{did_you_mean(name, KNOWN)} Allowed: torchvision. "
            f"and one of {', '.join(KNOWN)}."
        )
    root = Path(data.root).expanduser() if data.root else user_cache() / "torchvision"
    splits = dict(_splits(name, root, data.download))
    items = [item for split, opened in splits.items() for item in _items(split, opened)]
    origin = Origin("data.root", str(root), root / f".{name}")
    made = decoding.dataset(data.dataset, origin, items, data, asked)
    return decoding.with_official_test(made, TESTED)


def _splits(name: str, root: Path, download: bool) -> Iterator[tuple[str, Any]]:
    from torchvision import datasets

    kind = getattr(datasets, name)
    known = inspect.signature(kind.__init__).parameters
    found: set[str] = set()
    for split, given in _ways(known):
        if split == "trainval" and "train" in found:
            continue  # the same images again
        if "download" in known:
            given["download"] = download
        try:
            yield split, kind(str(root), **given)
            found.add(split)
        except (RuntimeError, OSError, ValueError) as error:
            if "Unknown value" in str(error):
                continue  # it has no such split
            raise InputError(
                f"data.root: torchvision's {name} is not in {root}, or damaged: {' '.join(str(error).split())[:200]}. "
                "Fetch it with --set data.download=true, or name the folder that holds it with --set data.root=DIR."
            ) from error


def _ways(known: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    if "train" in known:
        yield from (("train", {"train": True}), ("test", {"train": False}))
    elif "split" in known:
        splits = ("train", "trainval", "val", "valid", "test")
        yield from ((split, {"split": split}) for split in splits)
    else:
        yield "all", {}


def _items(split: str, opened: Any) -> Iterator[Item]:
    labels = _labels(opened)
    words = getattr(opened, "classes", None) or getattr(opened, "categories", None)
    for number, label in enumerate(labels):
        word = str(words[label]) if words is not None and label < len(words) else str(label)
        yield Item(split, word, f"{split}/{number:06}", partial(_picture, opened, number))


def _labels(opened: Any) -> list[int]:
    """Without decoding an image, where torchvision keeps them."""
    for name in ("targets", "labels", "_labels", "y"):
        if (found := getattr(opened, name, None)) is not None:
            return [int(label) for label in found]
    if (samples := getattr(opened, "_samples", None)) is not None:  # names of files, each with its label
        return [int(label) for _, label in samples]
    return [int(opened[number][1]) for number in range(len(opened))]


def _picture(opened: Any, number: int) -> Image.Image:
    """Opened and decoded by torchvision, whose way with damaged files is Pillow's."""
    try:
        picture: Image.Image = opened[number][0]
    except Exception as error:  # Pillow's readers raise almost anything on damaged bytes
        raise Unreadable(f"damaged: {' '.join(str(error).split())[:120] or type(error).__name__}") from None
    return picture

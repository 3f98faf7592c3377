"""Images that are given in Python: any data set with a length and items (image, label), such as PyTorch's."""

from collections.abc import Iterable, Mapping, Sequence, Sized
from typing import Any, Final, Literal, cast

import numpy as np

from tune_kd.data.sources import Asked, Dataset, Images, Labels, Source
from tune_kd.errors import InputError
from tune_kd.space.schema import Data

NAME: Final = "objects"
FORMS: Final = "Allowed: bytes 0…255 or floats 0…1, (C, H, W) as tensors, (H, W, C) or (H, W) as arrays or PIL images"


class Settings(Data):
    """No keys of its own: the images come with the call."""

    dataset: Literal["objects"] = "objects"


def load(data: Settings, asked: Asked) -> Dataset:
    raise InputError(
        f"data.dataset: {NAME}: the images of this study are given in Python, as tune_kd.search(…, data={{…}}). "
        "Begin or go on from there, or name another data set."
    )


def dataset(given: Any, test: Any = None, validation: Any = None) -> Dataset:
    """Sources by name, or one alone; images for test and validation that are set apart already are sources as well."""
    named = dict(given) if isinstance(given, Mapping) else {"data": given}
    if not named:
        raise InputError("data: no source. Give a data set, or a mapping from the sources' names to data sets.")
    apart = {key: value for key, value in (("test", test), ("validation", validation)) if value is not None}
    if both := sorted(set(named) & set(apart)):
        raise InputError(f"data: a source may not be called '{both[0]}' beside {both[0]}=. Give it another name.")
    read = {name: _read(name, each) for name, each in (named | apart).items()}
    shapes = {name: images.shape[1:] for name, (images, _) in read.items()}
    if len(set(shapes.values())) > 1:
        told = ", ".join(f"{name} {' x '.join(map(str, shape))}" for name, shape in shapes.items())
        raise InputError(f"data: images of different shapes ({told}). Resize them to one shape, and to one mode.")
    classes = _classes(named.values(), [labels for _, labels in read.values()])
    sources = {name: Source(name, *found) for name, found in read.items()}
    return Dataset(NAME, classes, sources, official_test=None, notes=())


def _read(name: str, given: Any) -> tuple[Images, Labels]:
    if not isinstance(given, Sized) or not hasattr(given, "__getitem__") or not len(given):
        raise InputError(f"data: '{name}' is no data set with a length and items (image, label), or it is empty.")
    images, labels = [], []
    for place in range(len(given)):
        item = given[place]
        if not isinstance(item, Sequence) or len(item) < 2:
            raise InputError(f"data: item {place} of '{name}' is no pair (image, label), but {type(item).__name__}.")
        images.append(_pixels(item[0], f"image {place} of '{name}'"))
        labels.append(_label(item[1], f"label {place} of '{name}'"))
        if images[-1].shape != images[0].shape:
            raise InputError(
                f"data: image {place} of '{name}' is {images[-1].shape}, the first one {images[0].shape} (C, H, W). "
                "Resize them to one shape."
            )
    return np.stack(images), np.asarray(labels, dtype=np.int64)


def _pixels(image: Any, where: str) -> Images:
    """As bytes, (C, H, W)."""
    is_tensor = hasattr(image, "detach")
    array = image.detach().cpu().numpy() if is_tensor else np.asarray(image)
    if array.ndim == 2:
        array = array[None] if is_tensor else array[..., None]
    if array.ndim != 3:
        raise InputError(f"data: {where} has {array.ndim} dimensions. {FORMS}.")
    if not is_tensor:
        array = np.moveaxis(array, -1, 0)
    if array.dtype == np.uint8:
        return cast(Images, np.ascontiguousarray(array))
    if not np.issubdtype(array.dtype, np.floating) or not (array.min() >= 0 and array.max() <= 1):
        raise InputError(
            f"data: {where} holds {array.dtype} from {array.min():g} to {array.max():g}. {FORMS}: leave out a "
            "transform that normalises, as tune_kd does that by itself."
        )
    return cast(Images, np.rint(array * 255).astype(np.uint8))


def _label(label: Any, where: str) -> int:
    try:
        number = int(label)
    except (TypeError, ValueError):
        number = -1
    if number < 0 or number != label:
        raise InputError(f"data: {where} is {label!r}. A label is the number of a class, from 0 up.")
    return number


def _classes(given: Iterable[Any], labels: Sequence[Labels]) -> tuple[str, ...]:
    """As the data sets call them, else by their numbers."""
    count = 1 + max(int(each.max()) for each in labels)
    named = [tuple(map(str, found)) for each in given if (found := getattr(each, "classes", None))]
    return next((names for names in named if len(names) >= count), tuple(map(str, range(count))))

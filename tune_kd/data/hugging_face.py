"""A Hugging Face data set: saved to disk, as parquet files, or by its name on the hub. Needs the extra tune_kd[hf]."""

from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from tune_kd.data import columns, decoding
from tune_kd.data.decoding import Item, Origin, read_file
from tune_kd.data.pictures import Unreadable
from tune_kd.data.sources import Asked, Dataset, user_cache
from tune_kd.errors import InputError
from tune_kd.space.schema import OnDisk, Pictures

SINGLE: Final = "train"
_FORMS: Final = "data.root: a folder of save_to_disk or of parquet files; or data.name: a name on the hub"


class Settings(Pictures):
    """`root` is a folder that save_to_disk wrote, or one of parquet files; `name` is one of the hub."""

    dataset: Literal["hf"] = "hf"
    root: Annotated[str | None, OnDisk()] = None
    name: str | None = None
    config: str | None = None
    image_column: str | None = None
    label_column: str | None = None


def load(data: Settings, asked: Asked) -> Dataset:
    """Its splits are sources."""
    splits = _opened(data)
    features = next(iter(splits.values())).features
    image = _column(data.image_column, "image", features, "Image", columns.IMAGE)
    label = _column(data.label_column, "label", features, "ClassLabel", columns.LABEL)
    words = tuple(getattr(features[label], "names", ()))
    every = [item for name, rows in splits.items() for item in _items(name, rows, image, label, words)]
    home = Path(data.root).expanduser() if data.root else user_cache() / "hf" / str(data.name).replace("/", "--")
    origin = Origin("data.root" if data.root else "data.name", str(data.root or data.name), home)
    items, unlabelled = decoding.labelled(every)
    return decoding.dataset("hf", origin, items, data, asked, unlabelled)


def _opened(data: Settings) -> Mapping[str, Any]:
    """The splits by name."""
    if (data.root is None) == (data.name is None):
        raise InputError(f"data: dataset hf needs one of two. {_FORMS}.")
    try:
        import datasets
    except ImportError as error:
        raise InputError(
            "data.dataset=hf needs the library datasets, which is not installed: pip install 'tune_kd[hf]'. A parquet "
            "file can also be read without it: data.dataset=table, data.file=FILE."
        ) from error
    root = Path(data.root).expanduser() if data.root else None
    try:
        if root is None:
            found = datasets.load_dataset(data.name, data.config)
        elif files := _parquet(root):
            found = datasets.load_dataset("parquet", data_files=files, cache_dir=str(user_cache() / "hf"))
        else:
            found = datasets.load_from_disk(str(root))
    except Exception as error:  # no network, no such folder, another format: the library raises many kinds
        key = "data.root" if root else "data.name"
        raise InputError(
            f"{key}: {data.root or data.name} cannot be opened: {' '.join(str(error).split())[:200]}. {_FORMS}. "
            "Without a network, save it elsewhere with save_to_disk and copy that folder."
        ) from error
    return found if isinstance(found, Mapping) else {SINGLE: found}


def _parquet(root: Path) -> dict[str, list[str]]:
    """Parquet files by split: `train-00000-of-00002.parquet` is of `train`."""
    files = [root] if root.suffix == ".parquet" else sorted(root.rglob("*.parquet")) if root.is_dir() else []
    splits: dict[str, list[str]] = {}
    for file in files:
        splits.setdefault(file.stem.partition("-")[0] if len(files) > 1 else SINGLE, []).append(str(file))
    return splits


def _column(given: str | None, what: str, features: Mapping[str, Any], kind: str, usual: tuple[str, ...]) -> str:
    """The one named, else the only one of its type, else one of a usual name."""
    of_kind = [name for name, feature in features.items() if type(feature).__name__ == kind]
    if given is None and len(of_kind) == 1:
        return of_kind[0]
    return columns.chosen(given, what, usual, list(features))


def _items(split: str, rows: Any, image: str, label: str, words: tuple[str, ...]) -> Iterator[Item]:
    import datasets

    if type(rows.features[image]).__name__ == "Image":
        # The bytes as they are: decoding is ours, so that every kind of data set gives the same pixels.
        rows = rows.cast_column(image, datasets.Image(decode=False))
    labels = rows[label]
    for number in range(len(rows)):
        name = columns.label_of(labels[number], words)
        yield Item(split, name, f"{split}/{number:06}", partial(_read, rows, image, number))


def _read(rows: Any, image: str, number: int) -> bytes:
    value = rows[number][image]
    if isinstance(value, Mapping):
        value = value.get("bytes") or value.get("path")
    if isinstance(value, bytes):
        return value
    if not value:
        raise Unreadable("it holds no image")
    return read_file(Path(str(value)))

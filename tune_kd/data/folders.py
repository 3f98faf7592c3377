"""A user's own images: `<root>/<source>/<class>/*`, of any format and size."""

import os
import unicodedata
from functools import partial
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import Field

from tune_kd.data import decoding
from tune_kd.data.decoding import Item, Origin, read_file
from tune_kd.data.sources import TEST, TRAINING, VALIDATION, Asked, Dataset
from tune_kd.errors import InputError
from tune_kd.space.schema import OnDisk, Pictures

_LAYOUT: Final = "Expected images in <root>/<source>/<class>/, such as photos/google/cat/1.jpg."


class Settings(Pictures):
    """`missing` is said to whoever lacks folders of images."""

    dataset: Literal["folder"] = "folder"
    root: Annotated[str, OnDisk(), Field(description="the folder that holds a folder for each source")]
    missing: str = ""


def load(data: Settings, asked: Asked) -> Dataset:
    root = _root(data)
    _check_named(data, root, asked)
    folders = [(source, folder) for source in _sources(root) for folder in _classes(source, root)]
    found = [(_text(source.name), _text(folder.name), folder) for source, folder in folders]
    items = [
        Item(source, label, _shown(path, root), partial(read_file, path))
        for source, label, folder in found
        for path in _visible(folder)
    ]
    origin = Origin("data.root", str(root), root)
    decoding.require_classes(origin, items, [], {(source, label) for source, label, _ in found})
    return decoding.dataset("folder", origin, items, data, asked)


def _check_named(data: Settings, root: Path, asked: Asked) -> None:
    """Names every folder of images that a study asks for and that is not there, before the others are read."""
    absent = [source for source in asked.sources if not (root / source).is_dir()]
    if absent and (len(absent) == len(asked.sources) or data.missing):
        folders = "\n".join(f"  {root / source}/<class>/*" for source in absent)
        advice = data.missing.strip() or "The classes are the same folders in every source, such as cat/ and dog/."
        raise InputError(f"data.root: these folders of images are missing:\n{folders}\n{advice}")


def _root(data: Settings) -> Path:
    root = Path(data.root).expanduser()
    if not root.is_dir():
        raise InputError(f"data.root: '{data.root}' is not a folder (seen from {Path.cwd()}). {_LAYOUT}")
    return root


def _sources(root: Path) -> list[Path]:
    sources = _folders(root)
    if not sources:
        raise InputError(f"data.root: there are no source folders in {root}. {_LAYOUT}")
    for source in sources:
        decoding.refuse_mix("data.root", _text(source.name))
        _refuse_splits_below(source, root)
    return sources


def _refuse_splits_below(source: Path, root: Path) -> None:
    """One folder too high: what would be read as classes are the usual splits."""
    inside = {path.name.lower() for path in _folders(source)}
    if "train" in inside and inside <= set(TRAINING + VALIDATION + TEST):
        raise InputError(
            f"data.root: {_text(str(source))} holds {', '.join(sorted(inside))}, which are splits rather than classes. "
            f"Name that folder itself: --set data.root={_text(str(source))}"
        )


def _classes(source: Path, root: Path) -> list[Path]:
    classes = _folders(source)
    if classes:
        return classes
    above = ""
    if any(path.is_file() for path in _visible(source)):
        above = (
            f" It holds files: if {_shown(source, root)} is a class, put it and the others into one more folder, or "
            f"name the folder above: --set data.root={_text(str(root.parent))}"
        )
    raise InputError(f"data.root: source '{_shown(source, root)}' in {root} has no class folders. {_LAYOUT}{above}")


def _folders(parent: Path) -> list[Path]:
    """Folders to descend into, links followed, but not those that lead back up."""
    here = parent.resolve()
    return [path for path in _visible(parent) if os.path.isdir(path) and not here.is_relative_to(path.resolve())]


def _visible(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except OSError as error:
        raise InputError(f"data.root: the folder {_text(str(folder))} cannot be opened: {error.strerror}.") from error


def _text(name: str) -> str:
    """A name that compares and prints alike everywhere: macOS splits accents, old disks hold odd bytes."""
    return unicodedata.normalize("NFC", os.fsencode(name).decode("utf-8", "backslashreplace"))


def _shown(path: Path, root: Path) -> str:
    return _text(str(path.relative_to(root)))

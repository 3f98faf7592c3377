"""Which columns of somebody's table hold images and labels, and what its numbers of classes are called."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from tune_kd.errors import InputError, did_you_mean

IMAGE: Final = (
    "image",
    "img",
    "path",
    "file",
    "filename",
    "file_name",
    "image_path",
    "filepath",
    "picture",
    "jpg",
    "png",
)
LABEL: Final = ("label", "labels", "class", "target", "category", "class_name", "fine_label", "species", "y")


def chosen(given: str | None, what: str, usual: Sequence[str], names: Sequence[str]) -> str:
    """The column that holds images or labels."""
    found = optional(given, what, usual, names)
    if found is None:
        raise InputError(
            f"data.{what}_column: no column is called {', '.join(usual)}. Name the one that holds the {what}s: "
            f"--set data.{what}_column=NAME. Columns: {', '.join(names)}."
        )
    return found


def optional(given: str | None, what: str, usual: Sequence[str], names: Sequence[str]) -> str | None:
    if given is not None and given not in names:
        near = did_you_mean(given, names)
        raise InputError(f"data.{what}_column: there is no column '{given}'.{near} Columns: {', '.join(names)}.")
    lower = {name.lower(): name for name in names}
    return given or next((lower[name] for name in usual if name in lower), None)


def label_of(value: Any, words: Sequence[str]) -> str:
    """A label in words; nothing where there is none."""
    if value is None or value != value or (words and isinstance(value, int) and value < 0):
        return ""
    if words and isinstance(value, int) and value < len(words):
        return words[value]
    return str(value).strip()


def class_names(path: Path, label: str) -> tuple[str, ...]:
    """What Hugging Face's parquet files call their classes, which stand in them as numbers."""
    if path.suffix not in (".parquet", ".pq"):
        return ()
    import pyarrow.parquet

    about = (pyarrow.parquet.read_schema(path).metadata or {}).get(b"huggingface")
    try:
        return tuple(json.loads(about)["info"]["features"][label]["names"]) if about else ()
    except (ValueError, KeyError, TypeError):
        return ()

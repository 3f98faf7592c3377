"""Images that a table lists: CSV or parquet, with a column of paths (or of the images' bytes) and one of labels."""

import csv
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import Field

from tune_kd.data import columns, decoding, parquet
from tune_kd.data.decoding import Item, Origin, read_file
from tune_kd.data.pictures import Unreadable
from tune_kd.data.sources import Asked, Dataset
from tune_kd.errors import InputError
from tune_kd.space.schema import OnDisk, Pictures

SINGLE: Final = "table"
"""What the one source is called where no column names any."""


class Settings(Pictures):
    """Columns are found by their usual names where they are not given."""

    dataset: Literal["table"] = "table"
    file: Annotated[str, OnDisk(), Field(description="a CSV or parquet file")]
    root: Annotated[str | None, OnDisk()] = None
    image_column: str | None = None
    label_column: str | None = None
    source_column: str | None = None
    split_column: str | None = None


def load(data: Settings, asked: Asked) -> Dataset:
    path = Path(data.file).expanduser()
    rows, names = _rows(path, data.image_column)
    image = columns.chosen(data.image_column, "image", columns.IMAGE, names)
    label = columns.chosen(data.label_column, "label", columns.LABEL, names)
    source = columns.optional(data.source_column, "source", ("source",), names)
    split = columns.optional(data.split_column, "split", ("split",), names)
    root = Path(data.root).expanduser() if data.root else path.parent
    words = columns.class_names(path, label)
    every = [_item(number, row, (image, label, source, split), root, words) for number, row in enumerate(rows, start=1)]
    items, unlabelled = decoding.labelled(every)
    origin = Origin("data.file", str(path), path.parent)
    return decoding.dataset("table", origin, items, data, asked, unlabelled)


def _item(
    number: int,
    row: Mapping[str, Any],
    chosen: tuple[str, str, str | None, str | None],
    root: Path,
    words: Sequence[str],
) -> Item:
    image, label, source, split = chosen
    value = row[image]
    where = "" if split is None else str(row[split] or "").strip()
    # A row of the training split belongs to its source; another split is a source of its own.
    own = str(row[source] or "").strip() if source and where.lower() in ("", "train", "training") else where
    name = str(value) if isinstance(value, str) else f"row {number}"
    return Item(own or SINGLE, columns.label_of(row[label], words), name, partial(_read, value, root))


def _read(value: Any, root: Path) -> bytes:
    """A path, or the bytes themselves; Hugging Face's parquet files have both side by side."""
    if isinstance(value, Mapping):
        value = value.get("path")
    if isinstance(value, parquet.Stretch):
        return value.read()
    if not value:
        raise Unreadable("the table names no file")
    return read_file(root / str(value))


def _rows(path: Path, image: str | None) -> tuple[Sequence[Mapping[str, Any]], list[str]]:
    """The rows, and the names of the columns; which is that of the images decides how it is read."""
    try:
        if path.suffix in (".parquet", ".pq"):
            return parquet.rows(path, image)
        with path.open(newline="", encoding="utf-8-sig") as file:
            head = file.readline()
            file.seek(0)
            separator = max(",;\t", key=head.count)
            reader = csv.DictReader(file, delimiter=separator)
            return list(reader), list(reader.fieldnames or [])
    except FileNotFoundError:
        raise InputError(
            f"data.file: there is no file '{path}' (seen from {Path.cwd()}). Name a CSV or parquet file."
        ) from None
    except InputError:
        raise
    except Exception as error:  # a reader raises many kinds on a file that is something else
        raise InputError(
            f"data.file: {path} cannot be read as {'parquet' if path.suffix != '.csv' else 'CSV'}: "
            f"{' '.join(str(error).split())[:200]}. Name a CSV file in UTF-8 with a line of column names, or a "
            "parquet file."
        ) from error

"""Tables of parquet whose images stand in them as bytes, which may be more than fits into memory.

A parquet file gives its rows in order and many at a time, and images are decoded by class. So the bytes are copied
once, a few rows at a time, into a file that has no name any more and goes with the process; rows say where theirs lie.
"""

import errno
import os
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

from tune_kd.data import columns
from tune_kd.data.sources import user_cache
from tune_kd.errors import InputError

ROWS: Final = 16
"""Read at a time; pyarrow itself reads a page, of up to 1,024."""
BUFFER: Final = 1 << 20
NO_ROOM: Final = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES)


@dataclass(frozen=True)
class Stretch:
    """Where an image's bytes lie."""

    file: IO[bytes]
    start: int
    length: int

    def read(self) -> bytes:
        return os.pread(self.file.fileno(), self.length, self.start)


def rows(path: Path, image: str | None) -> tuple[list[dict[str, Any]], list[str]]:
    """The rows, and the names of the columns. In the column of images, bytes are stretches of a file."""
    from pyarrow import types
    from pyarrow.parquet import ParquetFile

    with ParquetFile(path, buffer_size=BUFFER, pre_buffer=False) as file:
        schema = file.schema_arrow
        chosen = columns.optional(image, "image", columns.IMAGE, schema.names)
        heavy = chosen is not None and not types.is_string(schema.field(chosen).type)
        others = [name for name in schema.names if not (heavy and name == chosen)]
        found: list[dict[str, Any]] = file.read(columns=others).to_pylist()
        if heavy and chosen:
            found = found or [{} for _ in range(file.metadata.num_rows)]
            for row, value in zip(found, _stretches(path, file, chosen), strict=True):
                row[chosen] = value
    return found, list(schema.names)


def _stretches(path: Path, file: Any, column: str) -> Iterator[Any]:
    """A column's values; of those that hold an image's bytes, where these lie now."""
    place, end = user_cache(), 0
    try:
        place.mkdir(parents=True, exist_ok=True)
        copied = tempfile.TemporaryFile(dir=place)  # noqa: SIM115, it is closed when no row is left
        for batch in file.iter_batches(batch_size=ROWS, columns=[column]):
            for value in batch.column(0).to_pylist():
                raw = value.get("bytes") if isinstance(value, Mapping) else value
                if isinstance(raw, bytes) and raw:
                    copied.write(raw)
                    yield Stretch(copied, end, len(raw))
                    end += len(raw)
                else:
                    yield value
        copied.flush()
    except OSError as error:
        if error.errno not in NO_ROOM:
            raise
        raise InputError(
            f"data.file: the images of {path} cannot be copied to {place} ({error.strerror}). Make room there, or name "
            "a folder of a larger disk in TUNE_KD_CACHE."
        ) from error

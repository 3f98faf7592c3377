"""Files of results are written whole or not at all: the one place that does it."""

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


def replace(path: Path, content: bytes) -> None:
    """A reader, or a crash, finds the old content or the new, never half of it."""
    with replacing(path) as file:
        file.write(content)


@contextmanager
def replacing(path: Path, sync: bool = True) -> Iterator[BinaryIO]:
    """The same for what is written bit by bit. Without sync it may be lost when the power fails, but is never half."""
    unfinished = _unfinished(path)
    try:
        with unfinished.open("wb") as file:
            yield file
            _settle(file, sync)
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def write_once(path: Path, content: bytes) -> None:
    """Whoever is first is right: a file that is there already stays."""
    unfinished = _unfinished(path)
    try:
        with unfinished.open("wb") as file:
            file.write(content)
            _settle(file, sync=True)
        appear(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)


def appear(unfinished: Path, path: Path) -> None:
    """Whoever links first wins. File systems without links get a rename, which is as whole but may replace."""
    try:
        os.link(unfinished, path)
    except FileExistsError:
        pass
    except OSError:
        if not path.exists():
            unfinished.replace(path)


def _unfinished(path: Path) -> Path:
    return path.with_name(f".{path.name}.{uuid.uuid4().hex}")


def _settle(file: BinaryIO, sync: bool) -> None:
    file.flush()
    if sync:
        os.fsync(file.fileno())

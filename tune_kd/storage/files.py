"""Files of results are written whole or not at all."""

import os
from pathlib import Path


def replace(path: Path, content: bytes) -> None:
    """A reader, or a crash, finds the old content or the new, never half of it."""
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with unfinished.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)

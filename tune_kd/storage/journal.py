"""A file of lines that only grows, with one writer: what is added is there whole or not at all."""

import contextlib
import errno
import os
from pathlib import Path


class Journal:
    """A line that a kill or a full disk cut short is dropped at the next start."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)

    def drop_torn_line(self) -> None:
        size = kept = os.fstat(self._file).st_size
        while kept > 0:
            start = max(0, kept - 4096)
            end = os.pread(self._file, kept - start, start).rfind(b"\n")
            if end >= 0:
                kept = start + end + 1
                break
            kept = start
        if kept != size:
            os.ftruncate(self._file, kept)

    def append(self, content: bytes) -> None:
        """Raises OSError where there is no room, and leaves what was there."""
        size = os.fstat(self._file).st_size
        try:
            if os.write(self._file, content) != len(content):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError:
            with contextlib.suppress(OSError):
                os.ftruncate(self._file, size)
            raise

    def sync(self) -> None:
        """Waits until everything written has reached the disk."""
        os.fsync(self._file)

    def fileno(self) -> int:
        return self._file

    def close(self) -> None:
        os.close(self._file)

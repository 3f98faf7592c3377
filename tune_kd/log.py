"""A search's log: what was given up and why, once per cause, in one file of its folder.

A worker cannot write there, as it may be on another machine: what it has to say goes along with the end of its leg.
"""

import contextlib
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tune_kd import names

LOGGER = logging.getLogger("tune_kd")
FORM = "%(asctime)s %(levelname)s %(name)s: %(message)s"


class _Once(logging.Filter):
    """Passes each message once: a cause that comes again with every step says nothing new."""

    def __init__(self) -> None:
        super().__init__()
        self._told: set[str] = set()

    def filter(self, record: logging.LogRecord) -> bool:
        message = record.getMessage()
        new = message not in self._told
        self._told.add(message)
        return new


class _File(logging.FileHandler):
    """Goes without what a full disk does not take: whoever notices the disk itself says so."""

    def emit(self, record: logging.LogRecord) -> None:
        with contextlib.suppress(OSError):
            super().emit(record)

    def handleError(self, record: logging.LogRecord) -> None:
        pass


class _Kept(logging.Handler):
    """A worker's, until its leg ends."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []
        self.addFilter(_Once())

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(f"{record.name}: {record.getMessage()}")


_kept = _Kept()


@contextmanager
def recorded(folder: Path, verbose: bool = False) -> Iterator[None]:
    """Into the folder's file; verbosely with every detail, and to the screen as well."""
    level = logging.DEBUG if verbose else logging.WARNING
    handlers: list[logging.Handler] = [_File(folder / names.LOG_FILE, encoding="utf-8", delay=True)]
    if verbose:
        handlers.append(logging.StreamHandler())
    before, passes_on = LOGGER.level, LOGGER.propagate
    LOGGER.setLevel(level)
    LOGGER.propagate = verbose
    for handler in handlers:
        handler.setFormatter(logging.Formatter(FORM))
        handler.addFilter(_Once())
        LOGGER.addHandler(handler)
    try:
        yield
    finally:
        LOGGER.setLevel(before)
        LOGGER.propagate = passes_on
        for handler in handlers:
            LOGGER.removeHandler(handler)
            handler.close()


def keep() -> None:
    """In a worker, from now on."""
    if _kept not in LOGGER.handlers:
        LOGGER.addHandler(_kept)


def taken() -> str:
    """What a worker has to say since the last time, a line each."""
    lines, _kept.lines = _kept.lines, []
    return "\n".join(lines)


def told(lines: str) -> None:
    """What a worker said."""
    for line in lines.splitlines():
        LOGGER.warning("%s", line)


def reason(error: BaseException) -> str:
    return f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"

"""Optuna's journal as one append-only file with one writer: the search that holds the result folder.

Optuna's own backend takes a lock file for every write (which a killed process leaves behind for 30 s) and waits for the
disk each time. Here a write is one append; the disk is waited for once a second, and a line cut short by a kill is
dropped at the next start. optuna-dashboard reads the file as it is.
"""

import json
import time
from array import array
from collections.abc import Generator
from pathlib import Path
from typing import Any

from optuna.storages.journal import BaseJournalBackend

from tune_kd.errors import TuneKDError
from tune_kd.storage.journal import Journal

SYNC_SECONDS = 1.0


class LedgerFile(BaseJournalBackend):
    def __init__(self, path: Path) -> None:
        _check(path)
        self._path = path
        self._end = Journal(path)
        self._end.drop_torn_line()
        self._file = path.open("rb")
        self._offsets = array("Q", [0])
        self._synced = time.monotonic()

    def read_logs(self, log_number_from: int) -> Generator[dict[str, Any], None, None]:
        known = min(log_number_from, len(self._offsets) - 1)
        self._file.seek(self._offsets[known])
        for number, line in enumerate(self._file, start=known):
            if number + 1 == len(self._offsets):
                self._offsets.append(self._offsets[-1] + len(line))
            if number >= log_number_from:
                try:
                    yield json.loads(line)
                except ValueError as error:
                    raise TuneKDError(
                        f"{self._path}: line {number + 1} of the ledger is damaged, and nothing was changed. Take the "
                        "file from a copy, or begin a new search with another --name."
                    ) from error

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Whole, or not at all."""
        content = "".join(json.dumps(log, separators=(",", ":")) + "\n" for log in logs).encode()
        try:
            self._end.append(content)
            if time.monotonic() - self._synced > SYNC_SECONDS:
                self.sync()
        except OSError as error:
            raise TuneKDError(
                f"{self._path}: the ledger cannot be written ({error.strerror}). Everything before is kept. Make room, "
                "then go on with --resume."
            ) from error

    def sync(self) -> None:
        """Waits until everything written has reached the disk."""
        self._end.sync()
        self._synced = time.monotonic()


def _check(path: Path) -> None:
    """Refuses a file that is not a ledger at all."""
    if not path.exists():
        return
    with path.open("rb") as file:
        first = file.readline()
    if first and not first.startswith(b'{"op_code":'):
        raise TuneKDError(
            f"{path}: this is not a ledger of tune_kd, and it is left as it is. Give another --out or --name."
        )

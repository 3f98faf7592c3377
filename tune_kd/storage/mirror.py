"""A copy of the results folder in the storage, from which a search goes on when its machine is gone.

The search itself reads and writes its own folder only, the ledger above all: one file, one writer.
"""

import logging
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from tune_kd import names
from tune_kd.errors import InputError, StorageError, TuneKDError
from tune_kd.log import reason
from tune_kd.storage.files import replace
from tune_kd.storage.folder import LOCK_FILE
from tune_kd.storage.stores import MARK, Storage

SECONDS = 5.0
"""Between two copies of the ledger; a copy that takes long is made more rarely."""

FIRST_SECONDS = 1.0

SHARE_OF_TIME = 0.05

OWN = {LOCK_FILE, MARK, names.STORAGE_FILE, names.CHECKPOINT_DIR, names.TEACHER_DIR, "mlflow"}
"""What of a results folder is of this machine, or in the storage already."""


def chosen(address: str | None, folder: Path, name: str) -> Storage:
    """The storage that the user names, or that the search was begun with, or the results folder."""
    remembered = folder / names.STORAGE_FILE
    begun = (folder / names.LEDGER_FILE).exists()
    if begun and remembered.exists():
        known = Storage.at(remembered.read_text().strip())
        if address is None:
            return known
        # The keys, and how it is reached, are those given now. The name can be another than that of the folder.
        for now in (Storage.at(address), Storage.at(address, known.place.rpartition("/")[2])):
            if now.place == known.place:
                return now
        raise _another(folder, Storage.at(address, name), known.place)
    if address is None:
        return Storage.at(str(folder))
    now = Storage.at(address, name)
    if begun and now.folder != folder:
        raise _another(folder, now, str(folder))
    return now


def _another(folder: Path, now: Storage, known: str) -> InputError:
    return InputError(
        f"--storage {now.shown}: the search in {folder} keeps its checkpoints in {known}, and it goes on with them. "
        "Leave --storage out, or begin a new search with another --name."
    )


def fetch(storage: Storage, folder: Path) -> None:
    """A search that this machine knows nothing of, from where another one left it; its ledger is never replaced."""
    ledger = storage.read(names.LEDGER_FILE)
    study = storage.read(names.STUDY_FILE)
    if ledger is None or study is None:
        raise InputError(
            f"--resume: there is no search in {folder}, and none in the storage {storage.shown}. Give the --name and "
            "the --storage that it was begun with, or leave --resume out to begin one."
        )
    folder.mkdir(parents=True, exist_ok=True)
    replace(folder / names.STUDY_FILE, study)
    remember(storage, folder)
    with (folder / names.LEDGER_FILE).open("xb") as file:
        file.write(ledger)


def remember(storage: Storage, folder: Path) -> None:
    replace(folder / names.STORAGE_FILE, f"{storage.shown}\n".encode())


class Mirror:
    """Copies the ledger now and then, from a thread, and the results at the end. Nothing waits for it but the end."""

    def __init__(self, storage: Storage, folder: Path) -> None:
        self._storage = storage
        self._folder = folder
        self._own = storage.folder == folder
        self._copied = b""
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self.taken = False
        """Another machine goes on with this search: this one must stop."""

    @property
    def storage(self) -> Storage:
        return self._storage

    @property
    def where_it_goes_on(self) -> str:
        return f"another machine has gone on with this search in {self._storage.shown}: go on there."

    def adopt(self, resume: bool) -> None:
        """Before anything is opened or changed: takes over what is newer there, and refuses what does not fit."""
        if self._own:
            return
        stored = self._storage.read(names.LEDGER_FILE)
        if not resume and (stored is not None or self._storage.holds(names.CHECKPOINT_DIR)):
            raise InputError(
                f"--storage {self._storage.shown}: there is a search already. To go on with it: give --resume, and the "
                "--name and --storage that it has. To begin another: give another --name."
            )
        if stored is None:
            return
        ledger = self._folder / names.LEDGER_FILE
        known = _whole_lines(ledger)
        if not stored.startswith(known) and not known.startswith(stored):
            raise TuneKDError(
                f"the ledger {ledger} and its copy in {self._storage.shown} have gone different ways: another "
                "machine has gone on with this search, and nothing was changed. Go on there; or to go on with the "
                f"copy here, move {self._folder} away and resume with its --name and --storage."
            )
        if len(stored) > len(known):
            replace(ledger, stored)

    def mark(self) -> Storage:
        """The storage, from now on this search's."""
        self._storage = self._storage.marked()
        return self._storage

    def begin(self) -> None:
        if self._own:
            return
        remember(self._storage, self._folder)
        self._storage.write(names.STUDY_FILE, (self._folder / names.STUDY_FILE).read_bytes())
        self._thread = threading.Thread(target=self._run, name="mirror", daemon=True)
        self._thread.start()

    def end(self) -> str:
        """Copies all there is and takes the mark away; says what is to be said about that."""
        self._stop.set()
        try:
            if self._thread is not None:
                self._thread.join()
                self._look()
                if self.taken:
                    return self.where_it_goes_on
                for path in self._results():
                    self._storage.write(path.relative_to(self._folder).as_posix(), path.read_bytes())
                self._copy()
            self._storage.leave()
        except (TuneKDError, OSError) as error:
            where = "" if self._own else f" The results could not be copied; they are in {self._folder}."
            return f"{error}.{where}"
        return ""

    def _run(self) -> None:
        pause = FIRST_SECONDS
        while not self._stop.wait(pause) and not self.taken:
            started = time.monotonic()
            try:
                self._look()
                self._copy()
            except (StorageError, OSError) as error:  # it is tried again, and what is missing at the end is said then
                logging.getLogger(__name__).warning("the ledger could not be copied: %s", reason(error))
            pause = max(SECONDS, (time.monotonic() - started) / SHARE_OF_TIME)

    def _look(self) -> None:
        self.taken = self.taken or self._storage.taken()

    def _copy(self) -> None:
        ledger = _whole_lines(self._folder / names.LEDGER_FILE)
        if ledger != self._copied and not self.taken:
            self._storage.write(names.LEDGER_FILE, ledger)
            self._copied = ledger

    def _results(self) -> Iterator[Path]:
        for path in sorted(self._folder.rglob("*")):
            top = path.relative_to(self._folder).parts[0]
            if path.is_file() and top not in OWN and top != names.LEDGER_FILE:
                yield path


def _whole_lines(path: Path) -> bytes:
    """A line may be under way."""
    content = path.read_bytes() if path.exists() else b""
    return content[: content.rfind(b"\n") + 1]

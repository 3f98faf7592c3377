"""The result folder: one search holds it at a time, and a search that is already there is never overwritten."""

import contextlib
import fcntl
import shlex
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tune_kd import names
from tune_kd.errors import InputError
from tune_kd.storage.stores import MARK

LOCK_FILE = ".lock"
OWN = {LOCK_FILE, names.STUDY_FILE, names.TEACHER_DIR, names.STORAGE_FILE, names.LOG_FILE, MARK}


@contextmanager
def held(folder: Path, resume: bool) -> Iterator[None]:
    """Takes the folder for this process. The lock is the system's, so a process that dies lets go of it.

    A search that ends before it has begun leaves nothing.
    """
    where = shlex.quote(str(folder))
    try:
        begun = (folder / names.LEDGER_FILE).exists()
        # What a search leaves that failed before it had begun is no obstacle.
        foreign = folder.is_dir() and {path.name for path in folder.iterdir()} - OWN
    except OSError as error:
        raise _unusable(folder, error) from error
    if resume and not begun:
        raise InputError(f"--resume: there is no search in {folder}. Leave --resume out to begin one there.")
    if begun and not resume:
        raise InputError(
            f"{folder} holds a search already. To go on with it: python -m tune_kd.search --out {where} --resume. "
            f"To begin another: give another --name or --out."
        )
    if not begun and foreign:
        raise InputError(f"{folder} is not empty and holds no search. Give a new --name or --out.")
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / LOCK_FILE).open("w")
    except OSError as error:
        raise _unusable(folder, error) from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise InputError(
                f"another search is running in {folder}. Wait for it, or give another --name or --out."
            ) from error
        try:
            yield
        finally:
            if not begun and not (folder / names.LEDGER_FILE).exists():
                _clear(folder, made)


def _clear(folder: Path, made: list[Path]) -> None:
    """What was written before the search was refused, and the folders that were made for it."""
    for path in [folder / name for name in OWN]:
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    with contextlib.suppress(OSError):  # somebody has put something else there meanwhile
        for path in made:
            path.rmdir()


def _unusable(folder: Path, error: OSError) -> InputError:
    return InputError(f"--out {folder}: cannot be written to ({error.strerror}). Give another --out.")

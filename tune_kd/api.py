"""From Python: `search`, `load`. The command is a caller of this as well."""

import errno
import json
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from rich.console import Console

from tune_kd import names
from tune_kd.cluster.address import own_cluster
from tune_kd.cluster.connection import HEAVY, connected
from tune_kd.errors import InputError, StorageError
from tune_kd.log import recorded
from tune_kd.objects import NO_OBJECTS, Objects, read
from tune_kd.options import EXPERIMENT
from tune_kd.request import Outcome, Request
from tune_kd.result import Result
from tune_kd.said import Spoken
from tune_kd.space import stored
from tune_kd.space.load import dump
from tune_kd.space.study import Study
from tune_kd.stopping import Stop, heard
from tune_kd.storage.folder import held
from tune_kd.storage.mirror import chosen, fetch
from tune_kd.tracking import resolve
from tune_kd.tuning.callbacks import Own

DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO)
"""What a disk says that is full, or will not be written to any more."""


def search(
    study: str | Path | Mapping[str, Any] | Study | None = None,
    *,
    settings: Mapping[str, Any] | None = None,
    name: str | None = None,
    out: str | Path | None = None,
    seed: int | None = None,
    tracking_uri: str | None = None,
    experiment: str = EXPERIMENT,
    address: str | None = None,
    storage: str | None = None,
    resume: bool = False,
    quiet: bool = False,
    verbose: bool = False,
    callbacks: Sequence[object] = (),
    teacher: Any = None,
    student: Any = None,
    data: Any = None,
    test: Any = None,
    validation: Any = None,
    methods: Mapping[str, type] | None = None,
) -> Result:
    """Searches, and returns what was found; the keywords are the options of `python -m tune_kd.search`.

    `study` is the name of one that ships (quickstart, where none is given), a path, a mapping as in a study file, or a
    `Study`; to go on, the search's own where none is given. Objects may stand where it has names: a trained network as
    `teacher`, a function (or several by name) that makes the `student`, data sets of (image, label) by source as
    `data`, with those for `test` and `validation` where they are set apart already.

    What cannot be used is an `InputError`. Ctrl-C is a `KeyboardInterrupt` after everything has been kept, and
    `resume=True` goes on.
    """
    given = {"teacher": teacher, "student": student, "data": data, "test": test, "validation": validation}
    given |= {"methods": methods}
    objects = read(**given)
    objects.travelling.unpack()
    overrides = [*objects.settings, *_overrides(settings)]
    asked = request(
        _source(study), overrides, name=name, out=out, seed=seed, tracking_uri=tracking_uri, experiment=experiment,
        address=address, storage=storage, resume=resume, objects=objects,
    )  # fmt: skip
    said = Spoken(Console(highlight=False, soft_wrap=True, quiet=quiet), quiet)
    outcome = run(asked, said, Stop(), callbacks, verbose)
    said.ended(outcome)
    if outcome.error is not None:
        raise outcome.error
    return Result(asked.folder, asked, {"callbacks": callbacks} | given)


def load(folder: str | Path) -> Result:
    """What a search has left in its folder."""
    return Result(Path(folder))


def request(
    source: str | Path | None,
    settings: Sequence[str] = (),
    *,
    name: str | None = None,
    out: str | Path | None = None,
    seed: int | None = None,
    tracking_uri: str | None = None,
    experiment: str = EXPERIMENT,
    address: str | None = None,
    storage: str | None = None,
    resume: bool = False,
    home: Path | None = None,
    objects: Objects = NO_OBJECTS,
) -> Request:
    """Whatever is given as it is meant: relative to `home`, checked where that needs neither images nor Ray."""
    home = home or Path.cwd()
    folder = Path(out) if out else Path("runs") / name if name else None
    folder = home / folder.expanduser() if folder else None
    if storage and "://" not in storage:
        storage = str(home / Path(storage).expanduser())
    resolve(tracking_uri)
    if not resume:
        study = stored.asked("quickstart" if source is None else source, settings, seed)
    elif folder is None:
        raise InputError("--resume: say which search, with --name or --out as it was begun.")
    else:
        if storage and not (folder / names.LEDGER_FILE).exists():
            fetch(chosen(storage, folder, name or folder.name), folder)
        study = stored.resumed(folder, source, settings, seed)
    called = name or (folder.name if folder else f"{study.study}-{time.strftime('%Y%m%d-%H%M%S')}")
    folder = folder or home / "runs" / called
    return Request(study, called, folder, resume, tracking_uri, experiment, address or own_cluster(), storage, objects)


def run(asked: Request, said: Spoken, stop: Stop, callbacks: Sequence[object] = (), verbose: bool = False) -> Outcome:
    """The whole search, in a Ray that is there or in one of its own. What is refused leaves nothing behind."""
    heard_by = [Own(callback) for callback in callbacks]
    try:
        with held(asked.folder, asked.resume), recorded(asked.folder, verbose), heard(stop), ExitStack() as ray:
            # Gently, as torch is imported meanwhile: an exception anywhere in here can be swallowed by Ray, or leave an
            # import's lock taken, for which the other thread would wait for ever.
            with stop.gently():
                shared = ray.enter_context(connected(asked.address, HEAVY))
                # Ray listens to the system's signals too, so once more: the last one to ask is told.
                ray.enter_context(heard(stop))
                from tune_kd.session import Session
            stop.look()
            return Session(asked, said, stop, heard_by, shared).run()
    except OSError as error:
        if error.errno not in DISK:
            raise
        raise StorageError(
            f"{error.filename or 'the result folder'} cannot be written: {error.strerror}. Everything before is kept. "
            "Make room, then go on with --resume."
        ) from error


def _source(study: str | Path | Mapping[str, Any] | Study | None) -> str | Path | None:
    """As the reader of studies takes it; what has line breaks is the text itself."""
    if isinstance(study, Study):
        return dump(study)
    if isinstance(study, Mapping):
        return _text(dict(study), "study", 1)
    return study


def _overrides(settings: Mapping[str, Any] | None) -> list[str]:
    return [f"{key}={_text(value, key)}" for key, value in (settings or {}).items()]


def _text(value: Any, where: str, indent: int | None = None) -> str:
    """JSON, which is YAML."""
    try:
        return json.dumps(value, indent=indent, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise InputError(f"{where}: {error}. Give numbers, words, lists and mappings, as in a study file.") from None

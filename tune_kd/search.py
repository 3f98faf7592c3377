"""python -m tune_kd.search: the command, its wiring, its exit codes. The only place of a search that prints."""

import argparse
import errno
import os
import signal
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from tune_kd import names, options
from tune_kd.cluster.address import own_cluster, working_folder
from tune_kd.errors import InputError, TuneKDError
from tune_kd.space.load import dump, load, shipped
from tune_kd.space.schema import paths
from tune_kd.space.study import Study
from tune_kd.space.yaml12 import parse
from tune_kd.storage.folder import held
from tune_kd.storage.mirror import chosen, fetch

DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO)
"""What a disk says that is full, or will not be written to any more."""

GROWABLE = ("budget.trials", "budget.epochs", "budget.repeats", "budget.seconds")
"""What may be larger when a search goes on."""


def main(argv: Sequence[str] | None = None) -> int:
    console = Console(highlight=False, soft_wrap=True)
    try:
        return _command(options.parse(argv), console)
    except TuneKDError as error:
        Console(stderr=True, highlight=False, soft_wrap=True).print(f"[bold red]error:[/] {escape(str(error))}")
        return error.exit_code
    except OSError as error:
        if error.errno not in DISK:
            raise
        Console(stderr=True, highlight=False, soft_wrap=True).print(
            f"[bold red]error:[/] {escape(str(error.filename or 'the result folder'))} cannot be written: "
            f"{error.strerror}. Everything before is kept. Make room, then go on with --resume."
        )
        return TuneKDError.exit_code
    except KeyboardInterrupt:
        return names.INTERRUPTED


def _command(given: argparse.Namespace, console: Console) -> int:
    if given.list:
        for name, question in shipped():
            console.print(f"[bold]{name}[/]  {escape(question)}")
        return 0
    # Imported where they are used, as they bring torch and Ray: `--help`, `--list` and a mistake in a study should not
    # wait for them.
    if given.submit and not given.plan:
        from tune_kd.cluster.submission import run

        return run(given, console)
    given.address = given.address or own_cluster()
    if given.list_running:
        from tune_kd.cluster.running import show_running

        return show_running(given.address, console)
    home = working_folder()
    folder = given.out or (Path("runs") / given.name if given.name else None)
    folder = home / folder if folder else None
    if given.storage and "://" not in given.storage:
        given.storage = str(home / Path(given.storage).expanduser())
    if given.resume and given.storage and folder is not None:
        _fetch(folder, given)
    study = _stored_study(folder, given) if given.resume else _study(given.study or "quickstart", given)
    if given.plan:
        from tune_kd.planning import machines, show

        return show(study, machines(given), console)
    name = given.name or (folder.name if folder else f"{study.study}-{time.strftime('%Y%m%d-%H%M%S')}")
    folder = folder or home / "runs" / name
    # So that `mlflow.db` and all that is given relative lies where the next job finds it.
    home.mkdir(parents=True, exist_ok=True)
    os.chdir(home)
    from tune_kd.cluster.connection import HEAVY, connected

    # Also where a shell that started this in the background has switched Ctrl-C off.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    with held(folder, given.resume), ExitStack() as ray:
        try:
            ray.enter_context(connected(given.address, HEAVY))
            from tune_kd.session import Session
        except KeyboardInterrupt:
            console.print("\nStopped before anything was begun. The same command begins again.")
            return names.INTERRUPTED
        return Session(study, name, folder, given, console).run()


def _fetch(folder: Path, given: argparse.Namespace) -> None:
    """A search of another machine is brought here first."""
    storage = chosen(given.storage, folder, given.name or folder.name)
    if not (folder / names.LEDGER_FILE).exists():
        fetch(storage, folder)


def _study(source: str, given: argparse.Namespace) -> Study:
    seed = [] if given.seed is None else [f"seed={given.seed}"]
    return _anchored(load(source, [*given.settings, *seed]))


def _anchored(study: Study) -> Study:
    """Its paths made absolute: the stored study must run from any folder, and the teacher is loaded elsewhere."""
    named = {key: str(Path(path).expanduser().absolute()) for key, path in paths(study.data).items()}
    data, checkpoint = study.data.model_copy(update=named), study.teacher.checkpoint
    if checkpoint is not None and not checkpoint.startswith("models:/"):
        checkpoint = str(Path(checkpoint).expanduser().absolute())
    return study.model_copy(
        update={"data": data, "teacher": study.teacher.model_copy(update={"checkpoint": checkpoint})}
    )


def _stored_study(folder: Path | None, given: argparse.Namespace) -> Study:
    """The study of the search that goes on; only its budget may have grown since."""
    if folder is None:
        raise InputError("--resume: say which search, with --name or --out as it was begun.")
    stored = folder / names.STUDY_FILE
    if not stored.exists():
        raise InputError(f"--resume: there is no search in {folder}. Leave --resume out to begin one there.")
    before = load(stored)
    now = _study(str(stored), given) if given.study is None else _study(given.study, given)
    changed = [
        key for key, (old, new) in _differences(before, now).items() if key not in GROWABLE or not _grew(old, new)
    ]
    if changed:
        lines = "\n".join(f"  {key}: {old!r} → {new!r}" for key, (old, new) in _differences(before, now).items())
        raise InputError(
            f"--resume: the study is not the one that {folder} was begun with:\n{lines}\n"
            f"Only {', '.join(GROWABLE)} may grow. Give the study as it was, or begin a new search with another --name."
        )
    if now.budget.epochs > before.budget.epochs and (schedules := _planned_to_the_end(now)):
        raise InputError(
            f"--resume: budget.epochs cannot grow from {before.budget.epochs} to {now.budget.epochs} with "
            f"train.schedule: {' or '.join(schedules)}. Its learning rates depend on the number of epochs, so what is "
            "trained so far would have been trained otherwise. Begin a new search with another --name."
        )
    return now


def _planned_to_the_end(study: Study) -> list[str]:
    """Schedules, among those that a student may have, that one more epoch changes from the first on."""
    key = "train.schedule"

    def possible(schedule: str) -> bool:
        if key in study.search:
            return study.search[key].contains(schedule)
        return schedule in study.conditions.get(key, (study.train.schedule,))

    return [schedule for schedule in ("cosine", "milestones") if possible(schedule)]


def _grew(old: object, new: object) -> bool:
    return new is None or (isinstance(old, int | float) and isinstance(new, int | float) and new >= old)


def _differences(before: Study, now: Study) -> dict[str, tuple[object, object]]:
    old, new = (_flat(parse(dump(study), "the study")) for study in (before, now))
    return {key: (old.get(key), new.get(key)) for key in sorted({*old, *new}) if old.get(key) != new.get(key)}


def _flat(value: object, path: str = "") -> dict[str, object]:
    if not isinstance(value, dict):
        return {path: value}
    return {
        inner: leaf
        for key, child in value.items()
        for inner, leaf in _flat(child, f"{path}.{key}" if path else str(key)).items()
    }


if __name__ == "__main__":
    sys.exit(main())

"""python -m tune_kd.search: the command, its wiring, its exit codes. The only place of a search that prints."""

import errno
import shlex
import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from tune_kd import names, notify, options
from tune_kd.errors import TuneKDError
from tune_kd.options import Options

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import Console

DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO)
"""What a disk says that is full, or will not be written to any more."""


def main(argv: Sequence[str] | None = None) -> int:
    try:
        return _command(options.parse(argv))
    except TuneKDError as error:
        _say_error(str(error))
        return error.exit_code
    except OSError as error:
        if error.errno not in DISK:
            raise
        _say_error(
            f"{error.filename or 'the result folder'} cannot be written: {error.strerror}. Everything before is kept. "
            "Make room, then go on with --resume."
        )
        return TuneKDError.exit_code
    except KeyboardInterrupt:
        return names.INTERRUPTED


def _say_error(text: str) -> None:
    from rich.console import Console
    from rich.markup import escape

    Console(stderr=True, highlight=False, soft_wrap=True).print(f"[bold red]error:[/] {escape(text)}")


def _command(given: Options) -> int:
    # Imported where they are used, as they bring torch and Ray: `--help`, `--list` and a mistake in a study should not
    # wait for them.
    from rich.console import Console

    console = Console(highlight=False, soft_wrap=True)
    if given.list:
        return _list(console)
    if given.new and given.data:
        return _new(given.new, given.data, console)
    if given.submit and not given.plan:
        from tune_kd.cluster.submission import run

        return run(given, console)
    from tune_kd.cluster.address import own_cluster

    given = replace(given, address=given.address or own_cluster())
    if given.list_running:
        from tune_kd.cluster.running import show_running

        return show_running(given.address, console)
    return _search(given, console)


def _list(console: "Console") -> int:
    from rich.markup import escape

    from tune_kd.space.load import shipped

    for name, question in shipped():
        console.print(f"[bold]{name}[/]  {escape(question)}")
    return 0


def _new(file: "Path", folder: "Path", console: "Console") -> int:
    from rich.markup import escape

    from tune_kd import starter

    console.print(f"{escape(starter.write(file, folder))} → {escape(str(file))}")
    console.print(f"look at it, then:  python -m tune_kd.search {escape(shlex.quote(str(file)))} --plan")
    return 0


def _search(given: Options, console: "Console") -> int:
    import os
    import signal
    import time
    from contextlib import ExitStack
    from pathlib import Path

    from tune_kd.cluster.address import working_folder
    from tune_kd.errors import InputError
    from tune_kd.space import stored
    from tune_kd.storage.folder import held
    from tune_kd.storage.mirror import chosen, fetch

    home = working_folder()
    folder = given.out or (Path("runs") / given.name if given.name else None)
    folder = home / folder if folder else None
    if given.storage and "://" not in given.storage:
        given = replace(given, storage=str(home / Path(given.storage).expanduser()))
    if not given.resume:
        study = stored.asked(given.study or "quickstart", given.settings, given.seed)
    elif folder is None:
        raise InputError("--resume: say which search, with --name or --out as it was begun.")
    else:
        if given.storage and not (folder / names.LEDGER_FILE).exists():
            fetch(chosen(given.storage, folder, given.name or folder.name), folder)
        study = stored.resumed(folder, given.study, given.settings, given.seed)
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
            from tune_kd import results
            from tune_kd.session import Session
        except KeyboardInterrupt:
            console.print("\nStopped before anything was begun. The same command begins again.")
            return names.INTERRUPTED
        with notify.told(given.notify, name, study=study.study, question=study.question, folder=str(folder)) as end:
            code = Session(study, name, folder, given, console).run()
            end |= results.ending(folder, code)
            return code


if __name__ == "__main__":
    sys.exit(main())

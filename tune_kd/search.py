"""python -m tune_kd.search: the command, a thin caller of the Python API, with exit codes."""

import shlex
import sys
from collections.abc import Sequence
from types import ModuleType
from typing import TYPE_CHECKING, Any

from tune_kd import names, options
from tune_kd.errors import InputError, TuneKDError
from tune_kd.options import Options

# Whatever brings more is imported where it is used: `--help` and a mistake in an option should wait for nothing.
if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import Console

    from tune_kd.result import Result

NEEDED = {"ray", "torch", "optuna", "mlflow", "pandas", "pyarrow", "numpy", "pydantic", "yaml", "rich", "scipy",
          "sklearn", "matplotlib", "PIL", "jinja2"}  # fmt: skip
"""What the command cannot do without, by the names of imports."""


def main(argv: Sequence[str] | None = None) -> int:
    try:
        return _command(options.parse(argv))
    except TuneKDError as error:
        return _failed(error)
    except KeyboardInterrupt:
        return names.INTERRUPTED
    except ModuleNotFoundError as error:
        if error.name not in NEEDED:
            raise
        return _not_installed(error.name)


def _not_installed(module: str) -> int:
    """The environment was not activated, or its installation not finished: nothing of ours is wrong."""
    print(f"error: {sys.executable} has no '{module}', which tune_kd needs. Activate the environment that you have "
          "installed it into (. .venv/bin/activate), or install it: pip install -c constraints.txt -e .",
          file=sys.stderr)  # fmt: skip
    return InputError.exit_code


def _failed(error: TuneKDError) -> int:
    from rich.console import Console
    from rich.markup import escape

    Console(stderr=True, highlight=False, soft_wrap=True).print(f"[bold red]error:[/] {escape(str(error))}")
    return error.exit_code


def _command(given: Options) -> int:
    from rich.console import Console

    console = Console(highlight=False, soft_wrap=True)
    if given.list:
        return _list(console)
    if given.new and given.data:
        return _new(given.new, given.data, console)
    if given.submit and not given.plan:
        from tune_kd.cluster.submission import run

        return run(given, console)
    if given.list_running:
        from tune_kd.cluster.address import own_cluster
        from tune_kd.cluster.running import show_running

        return show_running(given.address or own_cluster(), console)
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

    from tune_kd import api, notify
    from tune_kd.cluster.address import working_folder
    from tune_kd.said import Spoken
    from tune_kd.stopping import Stop

    home = working_folder()
    asked = api.request(
        given.study, given.settings, name=given.name, out=given.out, seed=given.seed, tracking_uri=given.tracking_uri,
        experiment=given.experiment, address=given.address, storage=given.storage, resume=given.resume, home=home,
    )  # fmt: skip
    if given.plan:
        from tune_kd.planning import machines, show

        return show(asked.study, machines(given), console, given.price_per_gpu_hour)
    # So that `mlflow.db` and all that is given relative lies where the next job finds it.
    home.mkdir(parents=True, exist_ok=True)
    os.chdir(home)
    said = Spoken(console, given.quiet)
    about = {"study": asked.study.study, "question": asked.study.question, "folder": str(asked.folder)}
    try:
        with notify.told(given.notify, asked.name, **about) as end:
            outcome = api.run(asked, said, Stop(), verbose=given.verbose)
            from tune_kd import results  # it brings torch, which the search has by now

            end |= results.ending(asked.folder, outcome.code)
    except KeyboardInterrupt:
        console.print("\nStopped before anything was begun. The same command begins again.")
        return names.INTERRUPTED
    said.ended(outcome)
    if isinstance(outcome.error, TuneKDError):
        return _failed(outcome.error)
    if outcome.error is not None:
        console.print(f"\n{outcome.error}", markup=False)
    return outcome.code


class _Callable(ModuleType):
    """`tune_kd.search(…)` also where this module has been imported, which puts it in the function's place."""

    def __call__(self, *given: Any, **keywords: Any) -> "Result":
        from tune_kd.api import search

        return search(*given, **keywords)


sys.modules[__name__].__class__ = _Callable

if __name__ == "__main__":
    sys.exit(main())

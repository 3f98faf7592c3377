"""python -m tune_kd.experience: what earlier searches have left for later ones; list, export, import, forget."""

import argparse
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from tune_kd.errors import InputError, TuneKDError
from tune_kd.tuning.experience import ON, SUFFIX, place, searches


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tune_kd.experience", description=(__doc__ or "").split(": ")[1])
    parser.add_argument("--folder", default=ON, metavar="DIR", help="where it is kept (default: the user's cache)")
    todo = parser.add_subparsers(dest="todo", required=True, metavar="list|export|import|forget")
    todo.add_parser("list", help="a line a search")
    for name, what in (("export", "copies all of it into a folder"), ("import", "takes in what was exported")):
        todo.add_parser(name, help=what).add_argument("other", type=Path, metavar="DIR")
    forget = todo.add_parser("forget", help="deletes what searches have left")
    forget.add_argument("search", nargs="*", help="of these alone, as `list` names them; all where none is named")
    given = parser.parse_args(arguments)
    folder = place(given.folder)
    assert folder is not None
    try:
        if given.todo == "list":
            _list(folder)
        elif given.todo == "forget":
            _forget(folder, given.search)
        else:
            _copy(*((folder, given.other) if given.todo == "export" else (given.other, folder)))
    except TuneKDError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


def _list(folder: Path) -> None:
    found = searches(folder)
    for search in found:
        whole = sum(len(curve) == arm.epochs for arm in search.arms for curve in arm.curves)
        print(
            f"{search.file.stem}  ended {search.ended}, likeness {search.file.parent.name}: "
            f"{search.trainings} trainings in {len(search.arms)} arms, {whole} of them to the end"
        )
    print(f"{len(found)} searches in {folder}")


def _copy(source: Path, target: Path) -> None:
    """Every file is read before anything is written: what is no experience is refused whole."""
    files = [search.file for search in searches(source)]
    if not files:
        raise InputError(f"{source}: no search has left anything there. Give a folder that `export` wrote.")
    for file in files:
        to = target / file.parent.name / file.name
        try:
            to.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, to)
        except OSError as error:
            raise InputError(f"{to}: cannot be written ({error.strerror}). Give a folder that can be.") from None
    print(f"{len(files)} searches copied to {target}")


def _forget(folder: Path, wanted: Sequence[str]) -> None:
    known = {file.stem: file for file in sorted(folder.glob(f"*/*{SUFFIX}"))}
    if unknown := [name for name in wanted if name not in known]:
        raise InputError(f"{unknown[0]}: no search of that name has left anything in {folder}. `list` names them.")
    for name in wanted or known:
        known[name].unlink()
    print(f"{len(wanted or known)} searches forgotten")


if __name__ == "__main__":
    sys.exit(main())

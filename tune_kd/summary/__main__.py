"""python -m tune_kd.summary DIR...: rebuild a search's report offline, or compare several searches."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from tune_kd.errors import InputError, TuneKDError
from tune_kd.names import REPORT_FILE
from tune_kd.storage.files import replace
from tune_kd.summary.compare import comparison, comparison_page, names_of
from tune_kd.summary.published import published_notes, published_table
from tune_kd.summary.serving import serve
from tune_kd.summary.words import headline, percent, sentences, teacher_accuracy, terminal_table
from tune_kd.summary.writing import judged, write


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tune_kd.summary", description=__doc__)
    parser.add_argument("folders", nargs="+", type=Path, metavar="DIR", help="result folder of a search")
    parser.add_argument("--out", type=Path, default=Path("compare.html"), help="where the comparison of several goes")
    parser.add_argument("--serve", type=int, nargs="?", const=8070, metavar="PORT",
                        help="show the report of one folder on loopback as it grows (default: %(const)s)")  # fmt: skip
    given = parser.parse_args(arguments)
    try:
        if given.serve is not None:
            _serve(given.folders, given.serve)
        elif len(given.folders) == 1:
            _rebuild(given.folders[0])
        else:
            _compare(given.folders, given.out)
    except TuneKDError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


def _serve(folders: Sequence[Path], port: int) -> None:
    if len(folders) > 1:
        raise InputError(f"--serve shows one search, and these are {len(folders)}: give one folder.")
    serve(folders[0], port)


def _rebuild(folder: Path) -> None:
    try:
        verdict = write(folder)
    except OSError as error:
        raise InputError(
            f"{folder}: cannot write there ({error.strerror}). Choose a folder that can be written."
        ) from None
    print(f"teacher {percent(teacher_accuracy(verdict))} %\n")
    print(_aligned(*terminal_table(verdict)), "", *sentences(verdict), "", headline(verdict), sep="\n")
    beside = published_table(verdict)
    for lines in ([_aligned(*beside)] if beside else [], published_notes(verdict)):
        print(*lines, sep="\n", end="\n\n" if lines else "")
    print(f"report: {(folder / REPORT_FILE).resolve()}")


def _compare(folders: Sequence[Path], out: Path) -> None:
    verdicts = [judged(folder) for folder in folders]
    named = list(zip(names_of([str(folder) for folder in folders], verdicts), verdicts, strict=True))
    print(_aligned(*comparison(named)))
    try:
        replace(out, comparison_page(named).encode())
    except OSError as error:
        raise InputError(
            f"--out {out}: cannot write there ({error.strerror}). Give a file in a folder that exists."
        ) from None
    print(f"report: {out.resolve()}")


def _aligned(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns of plain text, two spaces apart."""
    widths = [max(len(cell) for cell in column) for column in zip(columns, *rows, strict=True)]
    lines = [columns, ["─" * width for width in widths], *rows]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )


if __name__ == "__main__":
    sys.exit(main())

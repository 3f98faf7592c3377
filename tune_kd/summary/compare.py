"""Several searches side by side: the same cell, a gain and a word from each."""

from collections.abc import Mapping, Sequence
from typing import Any

from tune_kd.names import DISTILLED, SCRATCH
from tune_kd.summary import cells, front, tables, words
from tune_kd.summary.page.page import page, section

Named = Sequence[tuple[str, Mapping[str, Any]]]
"""Searches as (name, verdict)."""


def names_of(folders: Sequence[str], verdicts: Sequence[Mapping[str, Any]]) -> list[str]:
    """A name a search: the folder's last part, the whole path where two would be the same."""
    short = [
        folder.rstrip("/").rpartition("/")[2] or verdict["study"]
        for folder, verdict in zip(folders, verdicts, strict=True)
    ]
    return [name if short.count(name) == 1 else folder for name, folder in zip(short, folders, strict=True)]


def comparison(named: Named) -> tuple[list[str], list[list[str]]]:
    """Column names and rows: cells that several searches share stand together."""
    columns = ["cell", "search", "teacher %", "scratch %", "distilled %", "gain, points", "p", "word"]
    return columns, [
        [where, name, words.percent(words.teacher_accuracy(verdict)), words.spread(cell[SCRATCH]),
         words.spread(cell[DISTILLED]), words.interval(cell["gain"]), words.p_value(cell["gain"]["p"]), cell["word"]]
        for where, name, verdict, cell in _by_cell(named)
    ]  # fmt: skip


def _by_cell(named: Named) -> list[tuple[str, str, Mapping[str, Any], Mapping[str, Any]]]:
    found = [
        (cells.label(cell["cell"]), name, verdict, cell)
        for name, verdict in named
        for cell in front.by_point(verdict)["cells"]
    ]
    order = list(dict.fromkeys(where for where, *_ in found))
    return sorted(found, key=lambda one: order.index(one[0]))


def comparison_page(named: Named) -> str:
    """compare.html."""
    columns, rows = comparison(named)
    shown = [[*row[:-1], tables.chip(row[-1])] for row in rows]
    table = tables.table(
        "Test accuracy in %, mean ± standard deviation; gain in points [95 % interval]", columns, shown, class_="stack"
    )
    caution = "Each search was judged on its own: p values are corrected within a search, not across them."
    return page(
        "compare.html",
        title=f"{len(named)} searches compared",
        answers=[(name, words.headline(verdict)) for name, verdict in named],
        cells=section("cells", "Cell by cell", caution, table),
    )

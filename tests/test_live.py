"""The live view: lines where nobody watches a terminal, and a drawing below a notebook's cell."""

import sys
from io import StringIO
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from rich.console import Console

from tests.tuning.played import Play
from tune_kd import live, names
from tune_kd.live import View


class Shown:
    """What a notebook would show."""

    def __init__(self) -> None:
        self.pages: list[str] = []

    def update(self, page: str) -> None:
        self.pages.append(page)


@pytest.fixture
def notebook(monkeypatch: pytest.MonkeyPatch) -> Shown:
    shown = Shown()
    display: Any = ModuleType("IPython.display")
    display.HTML, display.display = str, lambda page, display_id: shown
    monkeypatch.setitem(sys.modules, "IPython", ModuleType("IPython"))
    monkeypatch.setitem(sys.modules, "IPython.display", display)
    monkeypatch.setattr(live, "DRAW_SECONDS", -1.0)
    return shown


def watch(folder: Path, console: Console, quiet: bool = False) -> View:
    """One trial begins and reports."""
    play = Play(folder)
    view = View(play.plan, play.ledger, console, quiet)
    with view:
        leg = play.conductor.next()
        assert not isinstance(leg, str)
        view.started(leg.entry)
        view.reported(leg.entry, {names.EPOCH: 1, names.VAL_ACCURACY: 0.625})
    return view


def test_in_a_notebook_it_is_drawn_below_the_cell(tmp_path: Path, notebook: Shown) -> None:
    watch(tmp_path, Console(force_jupyter=True, file=StringIO()))
    assert len(notebook.pages) == 2
    assert "62.50%" in notebook.pages[-1]
    assert notebook.pages[-1].startswith("<pre")


def test_quietly_nothing_is_drawn(tmp_path: Path, notebook: Shown) -> None:
    view = watch(tmp_path, Console(force_jupyter=True, file=StringIO()), quiet=True)
    assert notebook.pages == []
    assert view.summary.startswith("1 of ")


def test_elsewhere_a_line_is_said_now_and_then(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "LINE_SECONDS", -1.0)
    said = StringIO()
    watch(tmp_path, Console(file=said, width=200))
    assert said.getvalue().count("trials begun") == 1

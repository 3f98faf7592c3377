"""report.html while a search is under way: trials so far, their curves and the best of each arm. No verdict."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from tune_kd.summary import words
from tune_kd.summary.page import svg
from tune_kd.summary.page.markup import Markup, el
from tune_kd.summary.page.page import grid, page, section
from tune_kd.summary.tables import arm_name, table

RENEWED_SECONDS: Final = 30
MOST_CURVES: Final = 40
"""Curves of an arm that are drawn; the best ones."""
LEFT, TOP, BOTTOM = 44, 12, 206


@dataclass
class Grown:
    """An arm so far, in numbers that are there already."""

    cell: str
    name: str
    asked: int
    trials: int
    finals: int
    all_finals: int
    curves: Sequence[Sequence[float]] = ()
    settings: str = ""
    """Those of its best trial."""
    best: float | None = field(init=False)

    def __post_init__(self) -> None:
        self.best = max((max(curve) for curve in self.curves if curve), default=None)


def growing(name: str, question: str, line: str, arms: Sequence[Grown], running: bool) -> str:
    """The whole page."""
    return page(
        "growing.html",
        title=f"{name}: under way" if running else f"{name}: stopped",
        name=name,
        question=question or name,
        line=line,
        running=running,
        seconds=RENEWED_SECONDS,
        at=time.strftime("%H:%M:%S"),
        parts=[section("arms", "So far", "", _table(arms)), section("curves", "Learning curves", "", _curves(arms))],
    )


def _table(arms: Sequence[Grown]) -> Markup:
    columns = ["cell", "arm", "trials", "best validation, %", "finals", "settings of the best"]
    rows = [
        [
            arm.cell or "all",
            arm_name(arm.name),
            f"{arm.asked} of {arm.trials}",
            words.percent(arm.best),
            f"{arm.finals} of {arm.all_finals}",
            arm.settings,
        ]
        for arm in arms
    ]
    return table("Trials begun, the best validation accuracy of each arm, and finals", columns, rows, class_="stack")


def _curves(arms: Sequence[Grown]) -> Markup:
    cells: dict[str, list[Grown]] = {}
    for arm in arms:
        cells.setdefault(arm.cell, []).append(arm)
    drawn = [_panel(f"growing{place}", cell, group) for place, (cell, group) in enumerate(cells.items())]
    shown = [panel for panel in drawn if panel]
    legend = svg.legend(("line-scratch", "without teacher"), ("line-distilled", "distilled"))
    return el("div", legend, grid("two", shown)) if shown else Markup()


def _panel(name: str, cell: str, group: Sequence[Grown]) -> Markup:
    chosen = [(arm, curve) for arm in group for curve in sorted(filter(None, arm.curves), key=max)[-MOST_CURVES:]]
    if not chosen:
        return Markup()
    values = [value for _, curve in chosen for value in curve]
    last = max(len(curve) for _, curve in chosen)
    across = svg.Scale(min(1, last - 1), max(last, 2), LEFT, svg.HALF - 12)
    up = svg.scale([min(values), max(values)], BOTTOM, TOP, pad=0.03, log=False)
    lines = [
        svg.polyline([(across(epoch), up(value)) for epoch, value in enumerate(curve, 1)], f"curve c-{arm.name}{best}")
        for arm, curve in chosen
        for best in (" best" if max(curve) == arm.best else "",)
    ]
    axes = [
        svg.bottom_axis(across, BOTTOM, TOP, "epoch"),
        svg.left_axis(up, LEFT, svg.HALF - 12, "validation accuracy, %", factor=100),
    ]
    said = "; ".join(f"{arm.name}: best {words.percent(arm.best)} %" for arm in group)
    title = f"Validation accuracy by epoch: {cell or 'all'}"
    return svg.figure(svg.chart(name, title, said, svg.HALF, 248, *axes, *lines), cell or "all", "")

"""Learning curves of the search, with the places where trials were stopped."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import pandas as pd

from tune_kd.names import COMPLETE, FAIL
from tune_kd.space.schema import Budget
from tune_kd.summary import cells, words
from tune_kd.summary.page import svg
from tune_kd.summary.page.markup import Markup, el
from tune_kd.summary.statistics import finite
from tune_kd.summary.trials import Arm, Row, arms_of, curve_of, is_chosen, records, tip
from tune_kd.tuning.rules import rule_named

MOST_CURVES: Final = 1500
"""Curves over all panels; more would only make the page heavy."""
MOST_EPOCHS: Final = 60
"""Places of one curve that are drawn."""
LEFT, TOP, BOTTOM = 44, 30, 206
LEGEND: Final = (
    ("line-scratch", "without teacher"),
    ("line-distilled", "distilled"),
    ("stopped", "stopped"),
    ("finished", "trained to the end"),
)


def curves(study: Mapping[str, Any], verdict: Mapping[str, Any], trials: pd.DataFrame) -> list[Markup]:
    """A panel a cell: every trial's validation accuracy by epoch."""
    groups: dict[tuple[str, ...], list[Arm]] = {}
    for one in arms_of(verdict, trials):
        groups.setdefault(cells.key_of(one[0]["cell"]), []).append(one)
    limit = max(6, MOST_CURVES // max(2 * len(groups), 1))
    stops = marks(study)
    width = svg.panel_width(len(groups))
    drawn = [
        _panel(f"curves{place}", group, (verdict["searched"], stops, words.metric(verdict)), limit, width)
        for place, group in enumerate(groups.values())
    ]
    return [panel for panel in drawn if panel]


def marks(study: Mapping[str, Any]) -> tuple[int, ...]:
    """The epochs at which trials are compared."""
    budget = Budget.model_validate(study.get("budget") or {})
    return rule_named(budget.early_stopping).marks(budget)


def _panel(
    name: str, group: Sequence[Arm], searched: tuple[Sequence[str], Sequence[int], str], limit: int, width: int
) -> Markup:
    cell, (keys, stops, metric), right = group[0][0], searched, width - 12
    rows = [(arm, row) for _, arm, tried in group for row in _most_telling(tried, limit) if curve_of(row)]
    if not rows:
        return Markup()
    rows.sort(key=lambda one: is_chosen(cell, *one))
    values = [value for _, row in rows for _, value in curve_of(row)]
    last = max(curve_of(row)[-1][0] for _, row in rows)
    # The first epochs of a few would squeeze all the others: the lowest places are cut off at the frame.
    y_scale = svg.scale([float(np.quantile(values, 0.02)), max(values)], BOTTOM, TOP, pad=0.03, log=False)
    x_scale = svg.Scale(min(1, last - 1), max(last, 2), LEFT, right)
    drawn = [
        svg.bottom_axis(x_scale, BOTTOM, TOP, "epoch"),
        svg.left_axis(y_scale, LEFT, right, f"validation {metric}, %", factor=100),
        *(svg.line(x_scale(stop), TOP, x_scale(stop), BOTTOM, "rung") for stop in stops if stop < last),
        *(_curve(arm, row, is_chosen(cell, arm, row), (x_scale, y_scale), keys) for arm, row in rows),
    ]
    said = [f"{arm}: {len(tried)} trials, best {words.percent(_best(tried))} %" for _, arm, tried in group]
    title = f"Validation {metric} by epoch: {cells.label(cell['cell'])}"
    missing = sum(len(tried) for *_, tried in group) - len(rows)
    note = el("figcaption", f"{missing} trials are not drawn.") if missing else ""
    chart = svg.chart(name, title, "; ".join(said), width, 248, *drawn)
    return el("figure", el("h3", cells.label(cell["cell"]), class_="panel"), chart, note)


def _most_telling(tried: pd.DataFrame, limit: int) -> list[Row]:
    """All trials; of too many the better half of the limit and an even choice of the others."""
    rows = records(tried.sort_values("value", ascending=False))
    if len(rows) <= limit:
        return rows
    best, others = rows[: limit // 2], rows[limit // 2 :]
    even = np.linspace(0, len(others) - 1, limit - len(best)).astype(int)
    return best + [others[place] for place in dict.fromkeys(even.tolist())]


def _best(tried: pd.DataFrame) -> float | None:
    return max((value for value in map(finite, tried["value"]) if value is not None), default=None)


def _curve(arm: str, row: Row, chosen: bool, scales: tuple[svg.Scale, svg.Scale], keys: Sequence[str]) -> Markup:
    x_scale, y_scale = scales
    curve = curve_of(row)
    every = -(-len(curve) // MOST_EPOCHS)
    kept = [place for at, place in enumerate(curve) if at % every == 0 or at == len(curve) - 1]
    places = [(x_scale(epoch), min(y_scale(value), y_scale.start)) for epoch, value in kept]
    x, y = places[-1]
    end = svg.cross(x, y, f"cross c-{arm}", 2.6)
    if row.get("state") == COMPLETE:
        end = el("circle", cx=x, cy=y, r=4.5 if chosen else 3.0, class_=f"end c-{arm}")
    look = (" best" if chosen else "") + (" failed" if row.get("state") == FAIL else "")
    return svg.point(tip(row, arm, keys), svg.polyline(places, f"curve c-{arm}{look}"), end)

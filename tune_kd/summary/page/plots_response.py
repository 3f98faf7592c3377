"""How settings and accuracy go together: a response panel and the importances of each arm."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import pandas as pd

from tune_kd.names import COMPLETE, CONFIG_PREFIX
from tune_kd.summary import cells, words
from tune_kd.summary.page import svg
from tune_kd.summary.page.markup import Markup, el, join
from tune_kd.summary.statistics import finite
from tune_kd.summary.trials import Arm, Row, arms_of, is_chosen, numbers, records, scored, tip

MOST_POINTS: Final = 6000
"""Points over all panels; more would only make the page heavy."""
FIRST: Final = ("kd.alpha", "kd.temperature")
LEFT, TOP, BOTTOM = 44, 34, 210


@dataclass(frozen=True)
class Ranges:
    """What the panels share: the searched keys and, so that panels can be compared, each key's whole range."""

    keys: Sequence[str]
    values: Mapping[str, Sequence[float]]
    log: frozenset[str]

    def scale(self, key: str, start: float, end: float) -> svg.Scale:
        """An axis over everything that was tried of a setting."""
        values = self.values[key]
        return svg.scale(values, start, end, pad=0.05, log=True if key in self.log and min(values) > 0 else None)


def ranges(study: Mapping[str, Any], verdict: Mapping[str, Any], trials: pd.DataFrame) -> Ranges:
    """Ranges over all arms; a setting that was searched on a logarithmic scale is drawn on one."""
    search = study.get("search")
    log = (
        frozenset(str(key) for key, spec in search.items() if "log" in str(spec))
        if isinstance(search, Mapping)
        else frozenset()
    )
    keys = verdict["searched"]
    return Ranges(keys, {key: numbers(scored(trials), key) for key in keys} if len(trials) else {}, log)


def axes_of(tried: pd.DataFrame, keys: Sequence[str]) -> tuple[str, ...]:
    """One or two searched numbers that varied, alpha and T before all others."""
    wanted = [key for key in FIRST if key in keys] + [key for key in keys if key not in FIRST]
    return tuple([key for key in wanted if len(set(numbers(tried, key))) > 1][:2])


def responses(study: Mapping[str, Any], verdict: Mapping[str, Any], trials: pd.DataFrame) -> dict[str, list[Markup]]:
    """Panels by arm: its trials over alpha and T, or over whatever else was searched, coloured by accuracy."""
    shared = ranges(study, verdict, trials)
    found = [(cell, arm, scored(tried)) for cell, arm, tried in arms_of(verdict, trials)]
    limit = max(20, MOST_POINTS // max(len(found), 1))
    width = svg.panel_width(len({cells.key_of(cell["cell"]) for cell, *_ in found}))
    panels: dict[str, list[Markup]] = {}
    for place, (cell, arm, tried) in enumerate(found):
        axes = axes_of(tried, shared.keys)
        if len(tried) >= 2 and axes:
            one = (cell, arm, tried.sort_values("value").tail(limit))
            panels.setdefault(arm, []).append(_response(f"response{place}", one, axes, shared, width))
    return panels


def _response(name: str, one: Arm, axes: tuple[str, ...], shared: Ranges, width: int) -> Markup:
    (cell, arm, tried), right = one, width - 12
    values = [float(value) for value in tried["value"]]
    x_scale = shared.scale(axes[0], LEFT, right)
    two = len(axes) > 1
    y_scale = shared.scale(axes[1], BOTTOM, TOP) if two else svg.scale(values, BOTTOM, TOP, log=False)
    left = cells.name(axes[1]) if two else "on validation images, %"
    drawn = [
        svg.bottom_axis(x_scale, BOTTOM, TOP, cells.name(axes[0])),
        svg.left_axis(y_scale, LEFT, right, left, factor=1 if two else 100),
        _ramp(min(values), max(values), right) if two else "",
    ]
    for row in records(tried):
        x, y = finite(row[CONFIG_PREFIX + axes[0]]), finite(row[CONFIG_PREFIX + axes[1]] if two else row["value"])
        if x is not None and y is not None:
            drawn.append(_dot(row, one, (x_scale(x), y_scale(y)), _step(float(row["value"]), values), shared.keys))
    title = f"{cells.label(cell['cell'])}, {arm}: trials by {' and '.join(map(cells.name, axes))}"
    said = f"{len(tried)} trials from {words.percent(min(values))} to {words.percent(max(values))} %"
    chart = svg.chart(name, title, said, width, 252, *drawn)
    return el(
        "figure", el("h3", cells.label(cell["cell"]), el("span", arm, class_=f"arm t-{arm}"), class_="panel"), chart
    )


def _step(value: float, values: Sequence[float]) -> int:
    """One of nine colours, from the worst of these values to the best."""
    low, high = min(values), max(values)
    return round(8 * (value - low) / (high - low)) if high > low else 8


def _dot(row: Row, one: Arm, place: tuple[float, float], step: int, keys: Sequence[str]) -> Markup:
    cell, arm, _ = one
    x, y = place
    done = row.get("state") == COMPLETE
    shapes = [el("circle", cx=x, cy=y, r=6.0 if done else 4.2, class_=f"trial s{step}{'' if done else ' part'}")]
    if is_chosen(cell, arm, row):
        shapes.append(el("circle", cx=x, cy=y, r=9.5, class_="ring"))
    return svg.point(tip(row, arm, keys), *shapes)


def _ramp(low: float, high: float, right: float) -> Markup:
    """The colours' scale, above the plot."""
    end = right - 56
    boxes = [svg.rect(end - 9 * (9 - step), 13, 9, 9, f"s{step}", rx=0) for step in range(9)]
    least = svg.text(end - 86, 22, words.percent(low), anchor="end", class_="tick")
    return join([*boxes, least, svg.text(end + 5, 22, f"{words.percent(high)} %", class_="tick")])


def importance_panels(found: Sequence[Mapping[str, Any]]) -> list[Markup]:
    """A panel an arm: each setting's share of what made a difference, by both evaluators."""
    width = svg.panel_width(len(found))
    return [_importance(f"importance{place}", one, width) for place, one in enumerate(found)]


def _importance(name: str, one: Mapping[str, Any], width: int) -> Markup:
    ways: Mapping[str, Mapping[str, float]] = one["values"]
    keys = sorted(next(iter(ways.values())), key=lambda key: -sum(shares[key] for shares in ways.values()))
    scale = svg.Scale(0, 1, 10, width - 46)
    body, y = [], 2.0
    for key in keys:
        body.append(svg.text(10, y + 12, cells.name(key)))
        y += 18
        for kind, (way, shares) in zip(("full", "pale"), ways.items(), strict=True):
            bar = svg.rect(10, y, max(scale(shares[key]) - 10, 1), 9, f"part-{kind} c-{one['arm']}")
            number = svg.text(max(scale(shares[key]), 11) + 6, y + 8.5, f"{100 * shares[key]:.0f} %", class_="tick")
            body += [svg.point(f"{cells.name(key)}\n{way}: {shares[key]:.0%}", bar), number]
            y += 14
        y += 6
    said = [
        f"{way}: {', '.join(f'{cells.name(key)} {shares[key]:.0%}' for key in keys)}" for way, shares in ways.items()
    ]
    title = f"Importances: {cells.label(one['cell'])}, {one['arm']}"
    drawing = svg.chart(name, title, "; ".join(said), width, y, *body)
    heading = el("h3", cells.label(one["cell"]), el("span", one["arm"], class_=f"arm t-{one['arm']}"), class_="panel")
    return el(
        "figure", heading, drawing, el("figcaption", f"{one['trials']} trials, compared at epoch {one['epochs']}.")
    )

"""The answer as pictures: gains with their intervals, and gains by two conditions as a heat map."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from tune_kd.summary import cells, words
from tune_kd.summary.page import svg
from tune_kd.summary.page.markup import Markup, el, join
from tune_kd.summary.statistics import HELPS, HURTS, NO_DIFFERENCE

ROW: Final = 58
MOST_ROWS: Final = 12
SIGNS: Final = {HELPS: "▲", HURTS: "▼", NO_DIFFERENCE: ""}
KINDS: Final = {HELPS: "helps", HURTS: "hurts", NO_DIFFERENCE: "none"}
HEAT_CAPTION: Final = (
    "Points. Blue: the distilled student is better; orange: the one without teacher. ▲ helps, ▼ hurts; pale, "
    "without a sign: no difference shown."
)
FIRST: Final = ("data.source", "data.size")
"""Conditions that the heat map prefers as its sides."""


def tip(cell: Mapping[str, Any]) -> str:
    """What hovering over a cell's gain says."""
    gain = cell["gain"]
    between = f"gain {words.interval(gain)} points" if gain["mean"] is not None else gain["reason"]
    p = f", p {words.p_value(gain['p'])}" if gain["p"] is not None else ""
    return f"{cells.label(cell['cell'])}\n{cell['word']}\n{between}{p}"


def forests(verdict: Mapping[str, Any]) -> list[Markup]:
    """Each cell's gain, its interval and the pairs behind it, all on one scale; many cells take several figures."""
    shown = [cell for cell in verdict["cells"] if cell["gain"]["mean"] is not None]
    gains = [cell["gain"] for cell in shown]
    values = [value for gain in gains for value in (gain["low"], gain["high"], *gain["pairs"]) if value is not None]
    scale = svg.scale([0.0, *values], 10, svg.HALF - 10, log=False)
    return [_forest(shown[first : first + MOST_ROWS], scale, first) for first in range(0, len(shown), MOST_ROWS)]


def _forest(shown: Sequence[Mapping[str, Any]], scale: svg.Scale, first: int) -> Markup:
    bottom = 6 + ROW * len(shown)
    rows = [_forest_row(cell, scale, 6 + ROW * place) for place, cell in enumerate(shown)]
    axis = svg.bottom_axis(scale, bottom, 6, "distilled − scratch, points", factor=100)
    description = "; ".join(f"{cells.label(cell['cell'])}: {words.interval(cell['gain'])}" for cell in shown)
    title = "Gain of each cell with its 95 % interval, in points"
    drawing = svg.chart(f"forest{first}", title, description, svg.HALF, bottom + 42, axis, *rows)
    caption = "Right of zero the distilled student is better. Small dots are single pairs of seeds."
    return svg.figure(drawing, "Gain and its 95 % interval" + (", continued" if first else ""), caption)


def _forest_row(cell: Mapping[str, Any], scale: svg.Scale, top: float) -> Markup:
    gain, kind = cell["gain"], KINDS[cell["word"]]
    y = top + 31
    room = scale.end - scale.start - 8 * len(words.interval(gain)) - 8
    parts = [svg.text(scale.start, top + 15, _fitting(cells.label(cell["cell"]), room), class_="label halo")]
    parts += [svg.text(scale.end, top + 15, words.interval(gain), anchor="end", class_="value halo")]
    marks = [el("circle", cx=scale(pair), cy=y + 12, r=2.2, class_="pair") for pair in gain["pairs"]]
    if gain["low"] is not None:
        low, high = scale(gain["low"]), scale(gain["high"])
        marks += [svg.line(low, y, high, y, f"interval k-{kind}")]
        marks += [svg.line(end, y - 5, end, y + 5, f"interval thin k-{kind}") for end in (low, high)]
    marks += [el("circle", cx=scale(gain["mean"]), cy=y, r=5.5, class_=f"mean k-{kind}")]
    zero = svg.line(scale(0), top + 21, scale(0), top + ROW - 7, "zero")
    ground = svg.rect(scale.start, top + 20, scale.end - scale.start, 28, "ground")
    return join([*parts, svg.point(tip(cell), ground, zero, *marks)])


def _fitting(label: str, room: float) -> str:
    """A cell's name in so much room: without its nouns where it is long, and cut where that is not enough."""
    most = int(room / 7)
    if len(label) > most:
        label = label.replace(" images", "").replace(" augmentation", "")
    return label if len(label) <= most else f"{label[: most - 1]}…"


def heat_maps(verdict: Mapping[str, Any]) -> list[Markup]:
    """Gain by two conditions; with more conditions one map for each combination of the others."""
    found = verdict["cells"]
    factors = [key for key in found[0]["cell"] if len({cells.text(cell["cell"][key]) for cell in found}) > 1]
    if len(factors) < 2 or all(cell["gain"]["mean"] is None for cell in found):
        return []
    down, across = sorted(factors, key=lambda key: FIRST.index(key) if key in FIRST else len(FIRST))[:2]
    others = [key for key in factors if key not in (down, across)]
    limit = max(abs(cell["gain"]["mean"] or 0.0) for cell in found) or 1.0
    groups: dict[tuple[str, ...], list[Mapping[str, Any]]] = {}
    for cell in found:
        groups.setdefault(tuple(cells.level(key, cell["cell"][key]) for key in others), []).append(cell)
    return [
        _heat_map(f"heat{place}", title, group, down, across, limit)
        for place, (title, group) in enumerate(groups.items())
    ]


def _heat_map(
    name: str, others: Sequence[str], group: Sequence[Mapping[str, Any]], down: str, across: str, limit: float
) -> Markup:
    rows = list(dict.fromkeys(cells.text(cell["cell"][down]) for cell in group))
    columns = list(dict.fromkeys(cells.text(cell["cell"][across]) for cell in group))
    left = min(150, 22 + 7 * max(map(len, [*rows, cells.name(down)])))
    width, height = (svg.HALF - left) / len(columns), 76 if len(columns) <= 4 else 46
    body = [svg.text(left + width * (x + 0.5), 36, column, anchor="middle") for x, column in enumerate(columns)]
    body += [svg.text(left - 10, 46 + height * (y + 0.5) + 4, row, anchor="end") for y, row in enumerate(rows)]
    body += [svg.text(left + width * len(columns) / 2, 14, cells.name(across), anchor="middle", class_="title")]
    body += [svg.text(left - 10, 36, cells.name(down), anchor="end", class_="title")]
    for cell in group:
        x, y = columns.index(cells.text(cell["cell"][across])), rows.index(cells.text(cell["cell"][down]))
        body.append(_tile(cell, left + width * x, 46 + height * y, width, height, limit))
    said = "; ".join(f"{cells.label(cell['cell'])}: {words.points(cell['gain']['mean'])}" for cell in group)
    title = f"Gain in points by {cells.name(down)} and {cells.name(across)}"
    drawing = svg.chart(name, title, said, svg.HALF, 50 + height * len(rows), *body)
    heading = f"Gain by {cells.name(down)} and {cells.name(across)}" + (f": {', '.join(others)}" if others else "")
    return svg.figure(drawing, heading, HEAT_CAPTION)


def shade(gain: float | None, limit: float, word: str | None = None) -> str:
    """One of nine steps from orange over neutral to blue. A cell with a word is never neutral, one without is pale."""
    if gain is None:
        return "d0"
    step = min(4, round(4 * abs(gain) / limit))
    if word is not None:
        step = min(step, 1) if word == NO_DIFFERENCE else max(step, 2)
    return f"{'d' if gain > 0 or step == 0 else 'm'}{step}"


def _tile(cell: Mapping[str, Any], x: float, y: float, width: float, height: float, limit: float) -> Markup:
    gain = cell["gain"]
    middle, centre = x + width / 2, y + height / 2
    colour = shade(gain["mean"], limit, cell["word"])
    roomy = width >= 84 and gain["low"] is not None
    inside = [svg.rect(x + 1.5, y + 1.5, width - 3, height - 3, f"tile {colour}", rx=4)]
    shown = f"{words.points(gain['mean'])} {SIGNS[cell['word']]}".strip()
    inside += [svg.text(middle, centre + (-2 if roomy else 5), shown, anchor="middle", class_=f"big on-{colour}")]
    if roomy:
        between = f"{words.points(gain['low'])} to {words.points(gain['high'])}"
        inside += [svg.text(middle, centre + 18, between, anchor="middle", class_=f"small on on-{colour}")]
    return svg.point(tip(cell), *inside)

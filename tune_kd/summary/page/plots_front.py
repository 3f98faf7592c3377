"""The front of each cell: accuracy against the second objective, both arms at every model that was retrained."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from tune_kd.names import COST, DISTILLED, SCRATCH
from tune_kd.summary import cells, front, words
from tune_kd.summary.page import svg
from tune_kd.summary.page.markup import Markup, join
from tune_kd.summary.page.plots_gain import SIGNS

LEFT, RIGHT, TOP, BOTTOM = 46, svg.HALF - 18, 30, 250
APART: Final = 5
"""The arms of one model cost the same; they stand this far left and right of it."""
CAPTION: Final = (
    "Test accuracy, mean and standard deviation over the repeats. Each line joins the models that are on the front of "
    "its arm. ▲ distillation helps this model, ▼ it hurts."
)


def fronts(verdict: Mapping[str, Any]) -> list[Markup]:
    """A chart a cell, where the search had two objectives."""
    unit = front.cost_of(verdict)
    if unit is None:
        return []
    drawn = [(cell, [point for point in cell.get("front") or [] if point[COST]]) for cell in verdict["cells"]]
    metric = words.metric(verdict)
    return [_front(f"pareto{place}", *one, (*unit, metric)) for place, one in enumerate(drawn) if one[1]]


def _front(
    name: str, cell: Mapping[str, Any], points: Sequence[Mapping[str, Any]], unit: tuple[str, str, str]
) -> Markup:
    tested = [(point, arm, point[arm]) for point in points for arm in cells.ARMS if point[arm]]
    ends = [one["mean"] + sign * (one["sd"] or 0.0) for *_, one in tested for sign in (-1, 1)]
    x_scale = svg.scale([point[COST] for point in points], LEFT + 24, RIGHT - 24, pad=0.02)
    y_scale = svg.scale(ends, BOTTOM, TOP + 16, log=False)
    drawn = [
        svg.bottom_axis(x_scale, BOTTOM, TOP, f"{unit[0]}, {unit[1]}"),
        svg.left_axis(y_scale, LEFT, RIGHT, f"test {unit[2]}, %", factor=100),
        *(_line(points, arm, x_scale, y_scale) for arm in cells.ARMS),
        *(_mark(point, arm, one, (x_scale, y_scale), unit[:2]) for point, arm, one in tested),
        *(_label(point, x_scale, y_scale) for point in points),
    ]
    said = [f"{point['model']}: {arm} {words.spread(one)}" for point, arm, one in tested]
    title = f"Accuracy against {unit[0]}: {cells.label(cell['cell'])}"
    drawing = svg.chart(name, title, "; ".join(said), svg.HALF, BOTTOM + 44, *drawn)
    entries = svg.legend((SCRATCH, "without teacher"), (DISTILLED, "distilled"))
    return svg.figure(join([entries, drawing]), cells.label(cell["cell"]), CAPTION)


def _place(point: Mapping[str, Any], arm: str, x_scale: svg.Scale) -> float:
    return x_scale(point[COST]) + (APART if arm == DISTILLED else -APART)


def _line(points: Sequence[Mapping[str, Any]], arm: str, x_scale: svg.Scale, y_scale: svg.Scale) -> Markup:
    best = [point for point in points if arm in point["on_front"]]
    places = [(_place(point, arm, x_scale), y_scale(point[arm]["mean"])) for point in best]
    return svg.polyline(places, f"pareto c-{arm}") if len(places) > 1 else Markup()


def _mark(
    point: Mapping[str, Any],
    arm: str,
    one: Mapping[str, Any],
    scales: tuple[svg.Scale, svg.Scale],
    unit: tuple[str, str],
) -> Markup:
    x, y = _place(point, arm, scales[0]), scales[1](one["mean"])
    shapes = [svg.mark(arm, x, y, 5.5)]
    if one["sd"]:
        low, high = scales[1](one["mean"] - one["sd"]), scales[1](one["mean"] + one["sd"])
        shapes.insert(0, svg.line(x, low, x, high, f"spread c-{arm}"))
    gain = f"gain {words.interval(point['gain'])} points: {point['word']}" if point["gain"]["mean"] is not None else ""
    said = f"{point['model']}, {arm}\n{words.spread(one)} %, {unit[0]} {words.price(point)} {unit[1]}\n{gain}"
    return svg.point(said.strip(), *shapes)


def _label(point: Mapping[str, Any], x_scale: svg.Scale, y_scale: svg.Scale) -> Markup:
    """The model's name above its highest whisker, with the sign of its word."""
    tops = [one["mean"] + (one["sd"] or 0.0) for one in (point[arm] for arm in cells.ARMS) if one]
    x, y = x_scale(point[COST]), y_scale(max(tops)) - 9
    said = f"{point['model']} {SIGNS.get(point['word'], '')}".strip()
    anchor = "start" if x < LEFT + 70 else "end" if x > RIGHT - 70 else "middle"
    shift = {"start": -14.0, "end": 14.0, "middle": 0.0}[anchor]
    return svg.text(x + shift, y, said, anchor=anchor, class_="small halo")

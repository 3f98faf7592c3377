"""Size and latency against accuracy, with the Pareto front."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from tune_kd import names
from tune_kd.names import DISTILLED, SCRATCH
from tune_kd.summary import cells, words
from tune_kd.summary.front import pareto
from tune_kd.summary.page import svg
from tune_kd.summary.page.markup import Markup, el, join

TEACHER: Final = "teacher"
LEFT, RIGHT, TOP, BOTTOM = 46, svg.HALF - 18, 30, 270
MOST_LABELS: Final = 4
CAPTION: Final = (
    "Left and up is better. The line is the Pareto front over all students: none is both cheaper and more accurate. "
    "Students of one architecture share its median latency."
)


@dataclass(frozen=True)
class Cost:
    """What a model costs: the column, its axis and what the chart is called."""

    key: str
    axis: str
    unit: str
    heading: str


COSTS: Final = (
    Cost(names.SIZE_MB, "size", "MB", "Size against accuracy"),
    Cost(names.LATENCY_1_MS, "latency of one image", "ms", "Latency against accuracy"),
)


@dataclass(frozen=True)
class Model:
    """One student, or the teacher, as the cost charts and tables show it."""

    where: str
    arm: str
    accuracy: float
    measured: Mapping[str, Any]

    @property
    def name(self) -> str:
        """Which model this is."""
        return self.where if self.arm == TEACHER else f"{self.where}, {self.arm}"


def models(verdict: Mapping[str, Any]) -> list[Model]:
    """Every model that was tested, the teacher last."""
    found = [
        Model(cells.label(cell["cell"]), arm, one["mean"], one)
        for cell in verdict["cells"]
        for arm in cells.ARMS
        for one in [cell[arm]]
        if one
    ]
    teacher = verdict["teacher"]
    accuracy = words.teacher_accuracy(verdict)
    return [*found, Model(TEACHER, TEACHER, accuracy, teacher)] if accuracy is not None else found


def on_front(found: Sequence[Model], key: str) -> list[Model]:
    """The students that no other student beats in accuracy and cost, cheapest first."""
    known = [model for model in found if model.arm != TEACHER and model.measured.get(key)]
    return [known[place] for place in pareto([(model.measured[key], model.accuracy) for model in known])]


def fronts(verdict: Mapping[str, Any]) -> list[Markup]:
    """One chart a cost, for the costs that were measured."""
    found = models(verdict)
    return [_front(found, cost, words.metric(verdict)) for cost in COSTS if on_front(found, cost.key)]


def _front(found: Sequence[Model], cost: Cost, metric: str) -> Markup:
    known, best = [model for model in found if model.measured.get(cost.key)], on_front(found, cost.key)
    x_scale = svg.scale([model.measured[cost.key] for model in known], LEFT, RIGHT, pad=0.08)
    y_scale = svg.scale([model.accuracy for model in known], BOTTOM, TOP, log=False)
    drawn = [
        svg.bottom_axis(x_scale, BOTTOM, TOP, f"{cost.axis}, {cost.unit}"),
        svg.left_axis(y_scale, LEFT, RIGHT, f"test {metric}, %", factor=100),
        svg.polyline(
            _stairs([(x_scale(m.measured[cost.key]), y_scale(m.accuracy)) for m in best], BOTTOM, RIGHT), "front"
        ),
        *(_point(model, cost, x_scale, y_scale, model in best) for model in known),
        *(_label(model, cost, x_scale, y_scale) for model in best[-MOST_LABELS:]),
    ]
    said = "On the front: " + "; ".join(f"{model.name}, {words.percent(model.accuracy)} %" for model in best)
    drawing = svg.chart(cost.key, cost.heading, said, svg.HALF, 314, *drawn)
    entries = ((SCRATCH, "without teacher"), (DISTILLED, "distilled"), (TEACHER, "teacher"), ("winner", "on the front"))
    return svg.figure(join([svg.legend(*entries), drawing]), cost.heading, CAPTION)


def _stairs(places: Sequence[tuple[float, float]], bottom: float, right: float) -> list[tuple[float, float]]:
    """What the front reaches at each cost: level until the next better student."""
    steps = [(places[0][0], bottom)]
    for (x, y), (after, _) in zip(places, [*places[1:], (right, 0.0)], strict=True):
        steps += [(x, y), (after, y)]
    return steps


def _point(model: Model, cost: Cost, x_scale: svg.Scale, y_scale: svg.Scale, front: bool) -> Markup:
    x, y = x_scale(model.measured[cost.key]), y_scale(model.accuracy)
    price = f"{cost.axis} {svg.number(model.measured[cost.key])} {cost.unit}"
    ring = [el("circle", cx=x, cy=y, r=9.5, class_="ring")] if front else []
    return svg.point(f"{model.name}\n{words.percent(model.accuracy)} %, {price}", svg.mark(model.arm, x, y, 5.5), *ring)


def _label(model: Model, cost: Cost, x_scale: svg.Scale, y_scale: svg.Scale) -> Markup:
    x, y = x_scale(model.measured[cost.key]), y_scale(model.accuracy)
    leftward = x > (LEFT + RIGHT) / 2
    return svg.text(
        x - 14 if leftward else x + 14, y - 8, model.name, anchor="end" if leftward else "start", class_="small halo"
    )

"""Accuracy as pictures: teacher, scratch and distilled as bars; validation against test."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from tune_kd.names import DISTILLED, SCRATCH
from tune_kd.summary import cells, words
from tune_kd.summary.page import svg
from tune_kd.summary.page.markup import Markup, join

BAR: Final = 19
SHORT: Final = 0.14
"""A bar shorter than this has its number beside it."""
OPTIMISM: Final = (
    "Hollow: the validation accuracy by which the settings were chosen. Filled: the mean of their repeats on test "
    "images. At the right validation minus test, in points: what a search that reports its best trial would flatter by."
)


def bars(verdict: Mapping[str, Any]) -> Markup | None:
    """Test accuracy from zero: the teacher once, then both arms of each cell."""
    shown = [cell for cell in verdict["cells"] if cell[SCRATCH] or cell[DISTILLED]]
    if not shown:
        return None
    scale = svg.Scale(0, 1, 10, svg.HALF - 12)
    teacher = words.teacher_accuracy(verdict)
    y, body = 8.0, []
    if teacher is not None:
        tip = f"teacher\n{words.percent(teacher)} % on the test images"
        body += [svg.text(10, y + 11, "teacher"), svg.point(tip, _bar("teacher", teacher, scale, y + 17))]
        y += 50
    for cell in shown:
        body.append(svg.text(10, y + 11, cells.label(cell["cell"])))
        y += 17
        for arm in (arm for arm in cells.ARMS if cell[arm]):
            body.append(_arm(cell, arm, scale, y))
            y += BAR + 4
        y += 12
    reference = svg.line(scale(teacher), 50, scale(teacher), y, "reference") if teacher is not None else ""
    axis = svg.bottom_axis(scale, y, 6, f"test {words.metric(verdict)}, %", factor=100)
    title = f"Test {words.metric(verdict)} of teacher, scratch and distilled students"
    drawing = svg.chart("bars", title, _said(shown, teacher), svg.HALF, y + 42, axis, reference, *body)
    caption = "Mean over the repeats with its standard deviation. The dashed line is the teacher."
    entries = svg.legend(("b-scratch", "without teacher"), ("b-distilled", "distilled"), ("b-teacher", "teacher"))
    return svg.figure(join([entries, drawing]), "Teacher, scratch, distilled", caption)


def _said(shown: Sequence[Mapping[str, Any]], teacher: float | None) -> str:
    arms = [
        f"{cells.label(cell['cell'])}: scratch {words.spread(cell[SCRATCH])}, distilled {words.spread(cell[DISTILLED])}"
        for cell in shown
    ]
    return "; ".join([f"teacher {words.percent(teacher)}", *arms])


def _bar(arm: str, value: float, scale: svg.Scale, y: float) -> Markup:
    """A bar with its number inside, or beside it where it is too short."""
    end, inside = scale(value), value >= SHORT
    number = svg.text(
        scale.start + 9 if inside else end + 16,
        y + 14,
        words.percent(value),
        class_=f"value {'inside' if inside else ''}",
    )
    return join([svg.rect(scale.start, y, end - scale.start, BAR, f"bar c-{arm}", rx=3), number])


def _arm(cell: Mapping[str, Any], arm: str, scale: svg.Scale, y: float) -> Markup:
    found = cell[arm]
    mean, sd, middle = found["mean"], found["sd"], y + BAR / 2
    parts = [_bar(arm, mean, scale, y)]
    if sd:
        low, high = scale(max(mean - sd, 0)), scale(min(mean + sd, 1))
        parts += [svg.line(low, middle, high, middle, kind) for kind in ("whisker under", "whisker")]
    return svg.point(f"{cells.label(cell['cell'])}\n{arm}: {words.spread(found)} %, {found['n']} repeats", *parts)


def optimism(verdict: Mapping[str, Any]) -> Markup | None:
    """The validation accuracy that won the search, and what the same settings reach on test images."""
    pairs = [(cell, arm, cell[arm]) for cell in verdict["cells"] for arm in cells.ARMS if cell[arm]]
    shown = [(cell, arm, found) for cell, arm, found in pairs if found["optimism"] is not None]
    if not shown:
        return None
    values = [value for _, _, found in shown for value in (found["validation"], found["mean"])]
    scale = svg.scale(values, 10, svg.HALF - 56, log=False)
    y, body, last = 8.0, [], None
    for cell, arm, found in shown:
        if cell is not last:
            y += 0 if last is None else 12
            body.append(svg.text(10, y + 11, cells.label(cell["cell"])))
            y, last = y + 19, cell
        body.append(_dumbbell(cell, arm, found, scale, y + 10))
        y += 23
    axis = svg.bottom_axis(scale, y + 2, 6, f"{words.metric(verdict)}, %", factor=100)
    said = [f"{cells.label(cell['cell'])}, {arm}: {words.points(found['optimism'])}" for cell, arm, found in shown]
    title = (
        f"{words.metric(verdict).capitalize()} of the chosen trial on validation images, of its repeats on test images"
    )
    drawing = svg.chart("optimism", title, "; ".join(said), svg.HALF, y + 44, axis, *body)
    entries = svg.legend(("hollow", "validation, chosen"), (SCRATCH, "test, scratch"), (DISTILLED, "test, distilled"))
    return svg.figure(join([entries, drawing]), "Optimism of choosing on validation", OPTIMISM)


def _dumbbell(cell: Mapping[str, Any], arm: str, found: Mapping[str, Any], scale: svg.Scale, y: float) -> Markup:
    validation, test = scale(found["validation"]), scale(found["mean"])
    shapes = [svg.rect(scale.start, y - 10, scale.end - scale.start, 20, "ground")]
    shapes += [svg.line(validation, y, test, y, f"link c-{arm}")]
    shapes += [svg.mark(arm, validation, y, 5, "hollow"), svg.mark(arm, test, y, 5)]
    said = f"validation {words.percent(found['validation'])} %, test {words.percent(found['mean'])} %"
    value = svg.text(svg.HALF - 6, y + 4.5, words.points(found["optimism"]), anchor="end", class_="value")
    return join([svg.point(f"{cells.label(cell['cell'])}, {arm}\n{said}", *shapes), value])

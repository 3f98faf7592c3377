"""The verdict in words and in rows of plain text."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from tune_kd.names import COST, DISTILLED, SCRATCH, TEST_ACCURACY
from tune_kd.summary import cells, front
from tune_kd.summary.page import svg
from tune_kd.summary.statistics import HELPS, HURTS, NO_DIFFERENCE, fallen_from, finite

MINUS: Final = "\N{MINUS SIGN}"
DASH: Final = "–"


def percent(value: float | None) -> str:
    """An accuracy in percent, without the sign."""
    return DASH if value is None else f"{100 * value:.1f}"


def points(value: float | None) -> str:
    """A difference of accuracies in points, always with its sign."""
    if value is None:
        return DASH
    shown = f"{100 * value:+.1f}"
    return "0.0" if float(shown) == 0 else shown.replace("-", MINUS)


def p_value(value: float | None) -> str:
    """A p value as people write it."""
    return DASH if value is None else "< 0.001" if value < 0.001 else f"{value:.3f}"


def teacher_accuracy(verdict: Mapping[str, Any]) -> float | None:
    """The teacher's accuracy on the test images, where it is known."""
    return finite(verdict["teacher"].get(TEST_ACCURACY))


def spread(arm: Mapping[str, Any] | None) -> str:
    """Mean ± SD in percent."""
    if arm is None or arm["mean"] is None:
        return DASH
    return percent(arm["mean"]) + (f" ± {percent(arm['sd'])}" if arm["sd"] is not None else "")


def interval(gain: Mapping[str, Any]) -> str:
    """Gain [low, high] in points."""
    if gain["low"] is None:
        return points(gain["mean"])
    return f"{points(gain['mean'])} [{points(gain['low'])}, {points(gain['high'])}]"


def answer(cell: Mapping[str, Any]) -> str:
    """What was measured in one cell, as a clause that follows its word."""
    gain, scratch, distilled = cell["gain"], cell[SCRATCH], cell[DISTILLED]
    reason = str(gain["reason"])
    if gain["low"] is None:
        known = [f"{arm} reached {percent(cell[arm]['mean'])} %" for arm in (DISTILLED, SCRATCH) if cell[arm]]
        return f"{reason} ({'; '.join(known)})." if known else f"{reason}."
    reached = f"{percent(distilled['mean'])} % distilled against {percent(scratch['mean'])} % from scratch"
    between = f"95 % interval {points(gain['low'])} to {points(gain['high'])}, {_p_clause(gain['p'])}"
    note = f"; {reason}" if reason else ""
    return f"{reached}, a gain of {points(gain['mean'])} points ({between}{note}){_but(cell)}.{_fallen(cell)}"


def _but(cell: Mapping[str, Any]) -> str:
    """Why an interval beside zero did not make a word."""
    low, high = cell["gain"]["low"], cell["gain"]["high"]
    if cell["word"] != NO_DIFFERENCE or low <= 0 <= high:
        return ""
    return "; the interval excludes zero, but p, corrected for asking of several cells, is not below 0.05"


def _fallen(cell: Mapping[str, Any]) -> str:
    """A final that came to nothing pulls the mean far down and the spread up: the reader should know that it is one."""
    said = ""
    for arm in (DISTILLED, SCRATCH):
        rest, fallen = fallen_from(cell[arm]["values"])
        if fallen:
            came = f"{len(fallen)} of {len(rest) + len(fallen)} {arm} finals came to {percent(max(fallen))} % or less"
            said += f" {came}, the others to {percent(min(rest))} % or more: this configuration is not stable."
    return said


def _p_clause(p: float | None) -> str:
    shown = p_value(p)
    return f"p {shown}" if shown.startswith("<") else f"p = {shown}"


def sentences(verdict: Mapping[str, Any]) -> list[str]:
    """The answer, one sentence a cell."""
    said = {HELPS: "distillation helps", HURTS: "distillation hurts"}
    return [
        f"{cells.label(cell['cell'])}: {said.get(cell['word'], cell['word'])}: {answer(cell)}"
        for cell in front.by_point(verdict)["cells"]
    ]


def headline(verdict: Mapping[str, Any]) -> str:
    """The whole answer in one sentence."""
    shown = front.by_point(verdict)["cells"]
    found = [cell["word"] for cell in shown]
    at, where = ("at", "points of the front") if front.cost_of(verdict) else ("in", "cells")
    if not any(cell[arm] for cell in verdict["cells"] for arm in cells.ARMS):
        return "There is no answer yet: no configuration has been retrained and tested."
    if not verdict["control"]:
        return "There is no answer to whether distillation helps: the study ran without a scratch arm as control."
    if len(found) == 1:
        return {HELPS: "Yes, distillation helps.", HURTS: "No, distillation hurts."}.get(
            found[0], "No difference was shown."
        )
    helps, hurts, neither = (found.count(one) for one in (HELPS, HURTS, NO_DIFFERENCE))
    if neither == len(found):
        return f"No difference was shown {at} any of {len(found)} {where}."
    parts = [f"helps {at} {helps}" if helps else "", f"hurts {at} {hurts}" if hurts else ""]
    said = " and ".join(part for part in parts if part)
    rest = f"; no difference was shown {at} {neither}" if neither else ""
    return f"Distillation {said} of {len(found)} {where}{rest}."


def question(verdict: Mapping[str, Any], study: Mapping[str, Any]) -> str:
    """The study's own question, or the one that every study asks."""
    if verdict.get("question"):
        return str(verdict["question"])
    keys = list(cells.levels(study))
    by = f", by {' and '.join(cells.name(key) for key in keys)}" if keys else ""
    return f"Does distillation help{by}?"


def terminal_table(verdict: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Column names and rows of text that fit 80 characters; the sentences say the rest."""
    shown = front.by_point(verdict)["cells"]
    keys = list(dict.fromkeys(key for cell in shown for key in cell["cell"]))
    unit = front.cost_of(verdict)
    names = [*(cells.name(key) for key in keys), *([unit[1]] if unit else [])]
    columns = [*names, "scratch %", "distilled %", "gain, points", "word"]
    return columns, [[*_levels(cell, keys), *([price(cell)] if unit else []), *_row(cell)] for cell in shown]


def price(cell: Mapping[str, Any]) -> str:
    """What the student of a front's point costs, in the second objective's unit."""
    cost = finite(cell.get(COST))
    return DASH if cost is None else svg.number(float(f"{cost:.3g}"))


def _levels(cell: Mapping[str, Any], keys: Sequence[str]) -> list[str]:
    return [cells.text(cell["cell"].get(key)) for key in keys]


def _row(cell: Mapping[str, Any]) -> list[str]:
    gain = cell["gain"]
    # In a narrow terminal the interval goes to the next line as a whole.
    between = interval(gain).replace(", ", ",\N{NO-BREAK SPACE}")
    return [spread(cell[SCRATCH]), spread(cell[DISTILLED]), between, str(cell["word"])]

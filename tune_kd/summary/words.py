"""The verdict in words and in rows of plain text."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from tune_kd.data.classes import by_chance
from tune_kd.names import ACCURACY, COST, DISTILLED, SCRATCH, TEST_ACCURACY, tested
from tune_kd.summary import cells, failures, front
from tune_kd.summary.page import svg
from tune_kd.summary.statistics import HELPS, HURTS, LEVEL, NO_DIFFERENCE, SAME, fallen_from, finite

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
    """What the teacher reached on the test images, where it is known: in what the study compares by."""
    return finite(verdict["teacher"].get(tested(metric_of(verdict))))


def metric_of(verdict: Mapping[str, Any]) -> str:
    return str(verdict.get("metric") or ACCURACY)


def control(verdict: Mapping[str, Any]) -> str:
    """What the arm without a teacher is called: one that begins with pretrained weights is not trained from scratch."""
    return "without teacher" if verdict.get("pretrained") else SCRATCH


def metric(verdict: Mapping[str, Any]) -> str:
    """What arms are compared by, in words."""
    return metric_of(verdict).replace("_", " ").replace("f1", "F1")


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
        said = f"{reason} ({'; '.join(known)})." if known else f"{reason}."
        return " ".join(filter(None, (said, cell["but"])))
    reached = f"{percent(distilled['mean'])} % distilled against {percent(scratch['mean'])} % without teacher"
    between = f"95 % interval {points(gain['low'])} to {points(gain['high'])}, {_p_clause(gain['p'])}"
    note = f"; {reason}" if reason else ""
    said = f"{reached}, a gain of {points(gain['mean'])} points ({between}{note}){_wider(gain)}."
    return " ".join(filter(None, (said, beside(cell), cell["but"])))


def beside(cell: Mapping[str, Any]) -> str:
    """Plain accuracy, where arms are compared by something else: nothing where that is what stands there already."""
    pair = [cell[arm] for arm in (DISTILLED, SCRATCH)]
    known = [(one["mean"], one.get(TEST_ACCURACY)) for one in pair if one]
    if any(accuracy is None for _, accuracy in known) or all(abs(mean - accuracy) < SAME for mean, accuracy in known):
        return ""
    return (
        f"Accuracy: {percent(pair[0][TEST_ACCURACY])} % distilled, {percent(pair[1][TEST_ACCURACY])} % without teacher."
    )


def _wider(gain: Mapping[str, Any]) -> str:
    """The interval that also covers other test images."""
    if not gain["seeds_and_images"]:
        return ""
    low, high = gain["seeds_and_images"]
    return f", {points(low)} to {points(high)} over seeds and test images"


def but(cell: Mapping[str, Any]) -> str:
    """What takes from the word, or from the lack of one; empty where nothing does."""
    said = [_without_word(cell), *(_failed(cell, arm) for arm in (DISTILLED, SCRATCH))]
    said += [
        _on_other_images(cell),
        _with_failed(cell["gain"]),
        *(_fallen(cell[arm], arm) for arm in (DISTILLED, SCRATCH)),
    ]
    return " ".join(filter(None, said))


def _without_word(cell: Mapping[str, Any]) -> str:
    """Why an interval beside zero did not make a word."""
    gain = cell["gain"]
    if cell["word"] != NO_DIFFERENCE or gain["low"] is None or gain["low"] <= 0 <= gain["high"]:
        return ""
    if gain["p"] is None or gain["p"] >= LEVEL:
        return "The interval excludes zero, but p, corrected for asking of several cells and looks, is not below 0.05."
    return "The interval excludes zero, but not where all finals count: no word is given."


def _on_other_images(cell: Mapping[str, Any]) -> str:
    """A word is said of these test images; where it is not sure of others, that must stand beside it."""
    known = cell["gain"]["seeds_and_images"]
    if cell["word"] not in (HELPS, HURTS) or not known or not known[0] <= 0 <= known[1]:
        return ""
    return "But that holds for these test images: with others of the same kind, the interval includes zero."


def _failed(cell: Mapping[str, Any], arm: str) -> str:
    failed = cell["failed"][arm]
    if not failed["failed"] or failed["failed"] == failed["of"]:
        return ""
    return f"But {failed['failed']} of {failed['of']} {arm} finals failed ({failures.reasons(failed)})."


def _with_failed(gain: Mapping[str, Any]) -> str:
    counted = gain["with_failed"]
    return f"With failed finals counted as guessing, the gain is {interval(counted)}." if counted else ""


def _fallen(arm: Mapping[str, Any] | None, name: str) -> str:
    """A final that came to nothing pulls the mean far down and the spread up: the reader should know that it is one."""
    rest, fallen = fallen_from(arm["values"]) if arm else ([], [])
    if not fallen:
        return ""
    came = f"But {len(fallen)} of {len(rest) + len(fallen)} {name} finals came to {percent(max(fallen))} % or less"
    return f"{came}, the others to {percent(min(rest))} % or more: this configuration is not stable."


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


def caution(verdict: Mapping[str, Any]) -> str:
    """What makes the whole answer one about something else than distillation: nothing was learned, or the teacher had
    nothing to teach. Nothing where it knows more than its students."""
    teacher, guessing = teacher_accuracy(verdict), _guessing(verdict)
    reached = [cell[arm]["mean"] for cell in verdict["cells"] for arm in (SCRATCH, DISTILLED) if cell.get(arm)]
    known = [mean for mean in reached if mean is not None]
    if guessing is not None and known and max(known) <= guessing:
        return (
            f"No student is right more often than guessing is (up to {percent(guessing)} % by chance): for all that "
            "these test images tell nothing was learned, and nothing is said of distillation. Train longer, on more "
            "images or at another learning rate."
        )
    if guessing is not None and teacher is not None and teacher <= guessing:
        return (
            f"The teacher has {percent(teacher)} %, which guessing can have as well (up to {percent(guessing)} % by "
            "chance): for all that these test images tell it had nothing to teach. Train it longer, or name another."
        )
    return _outdone(verdict, teacher)


def _guessing(verdict: Mapping[str, Any]) -> float | None:
    """What is hardly ever exceeded by naming one class for all test images; None where their numbers are not known."""
    counts = (verdict.get("facts") or {}).get("test_images_per_class")
    if not counts or not (images := sum(counts)):
        return None
    share = max(counts) / images if metric_of(verdict) == ACCURACY else 1 / len(counts)
    return by_chance(images, share)


def _outdone(verdict: Mapping[str, Any], teacher: float | None) -> str:
    """Where students did better without the teacher than it does itself."""
    means = [cell[SCRATCH]["mean"] for cell in verdict["cells"] if cell[SCRATCH] and cell[SCRATCH]["mean"] is not None]
    above = [mean for mean in means if teacher is not None and mean > teacher]
    if not above:
        return ""
    where = f" in {len(above)} of {len(means)} cells" if len(means) > 1 else ""
    return (
        f"The teacher has {percent(teacher)} %, and without it students reached up to {percent(max(above))} %, more "
        f"than it{where}: from a better teacher the answer may be another."
    )


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
        said = {HELPS: "Yes, distillation helps", HURTS: "No, distillation hurts"}.get(
            found[0], "No difference was shown"
        )
        return f"{said}{_not_always(shown[0])}."
    helps, hurts, neither = (found.count(one) for one in (HELPS, HURTS, NO_DIFFERENCE))
    if neither == len(found):
        return f"No difference was shown {at} any of {len(found)} {where}."
    parts = [f"helps {at} {helps}" if helps else "", f"hurts {at} {hurts}" if hurts else ""]
    said = " and ".join(part for part in parts if part)
    rest = f"; no difference was shown {at} {neither}" if neither else ""
    return f"Distillation {said} of {len(found)} {where}{rest}."


def _not_always(cell: Mapping[str, Any]) -> str:
    """A word in one sentence must not hide the trainings that came to nothing."""
    gone = {arm: cell["failed"][arm]["failed"] + len(failures.fallen(cell[arm])) for arm in (DISTILLED, SCRATCH)}
    told = [f"{count} of {cell['failed'][arm]['of']} {arm} finals" for arm, count in gone.items() if count]
    return f", but {' and '.join(told)} came to nothing" if told else ""


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
    columns = [*names, f"{control(verdict)} %", "distilled %", "gain, points", "word"]
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

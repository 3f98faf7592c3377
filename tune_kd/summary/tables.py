"""The report's tables, each with a caption, column headers and row headers."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import pandas as pd

from tune_kd import names
from tune_kd.names import COMPLETE, DISTILLED, FAIL, PRUNED, SCRATCH
from tune_kd.summary import arms, cells, front, published, words
from tune_kd.summary.page import svg
from tune_kd.summary.page.markup import Markup, el, join, safe
from tune_kd.summary.page.plots_cost import models, on_front
from tune_kd.summary.page.plots_gain import KINDS, SIGNS, shade
from tune_kd.summary.page.plots_time import duration
from tune_kd.summary.statistics import finite

NUMBER: Final = "number"
SHOWN_CLASSES: Final = 12
"""More classes than this are folded away."""


def table(caption: str, columns: Sequence[str], rows: Iterable[Sequence[object]], *, class_: str = "") -> Markup:
    """A table whose first column names the row. On a phone `stack` turns rows into cards, so roles are spelled out."""
    found = list(rows)
    numbers = [all(map(_is_number, column)) for column in zip(*found, strict=True)] or [False] * len(columns)
    heads = (
        el("th", column, scope="col", role="columnheader", class_=NUMBER if right else None)
        for column, right in zip(columns, numbers, strict=True)
    )
    head = el("tr", *heads, role="row")
    body = [_row(columns, row, numbers) for row in found]
    parts = [el("caption", caption), el("thead", head, role="rowgroup"), el("tbody", *body, role="rowgroup")]
    wrapped = el("table", *parts, role="table", class_=class_ or None)
    return el("div", wrapped, class_="scroll", tabindex=0, role="region", aria_label=caption)


def _row(columns: Sequence[str], row: Sequence[object], numbers: Sequence[bool]) -> Markup:
    first = el("th", row[0], scope="row", role="rowheader")
    rest = (
        el("td", value, role="cell", data_label=column, class_=NUMBER if right else None)
        for column, value, right in list(zip(columns, row, numbers, strict=True))[1:]
    )
    return el("tr", first, *rest, role="row")


def _is_number(value: object) -> bool:
    """Whether a value is a number as people read it, so that its column stands flush right."""
    return re.fullmatch(r"[–+−<]?\s?[\d.,]*( [±%×].*)?( \[.*\])?", re.sub(r"<[^>]+>", "", str(value))) is not None


def chip(word: str) -> Markup:
    """The verdict's word with a sign, so that colour is not its only bearer."""
    sign = el("span", SIGNS.get(word) or "○", aria_hidden="true")
    return el("span", sign, f" {word}", class_=f"chip k-{KINDS.get(word, 'none')}")


def arm_name(arm: str) -> Markup:
    """An arm in its colour."""
    return el("span", arm, class_=f"arm t-{arm}")


def verdict_table(verdict: Mapping[str, Any]) -> Markup:
    """The answer in numbers, a row a cell."""
    unit = front.cost_of(verdict)
    cost = [f"{unit[0]}, {unit[1]}"] if unit else []
    measured = [words.control(verdict), "distilled", "gain [95 % interval]", "p", "verdict"]
    columns = ["cell and student" if unit else "cell", *cost, *measured, "chosen settings"]
    rows = [
        [
            cells.label(cell["cell"]),
            *([words.price(cell)] if unit else []),
            words.spread(cell[SCRATCH]),
            words.spread(cell[DISTILLED]),
            el("strong", words.interval(cell["gain"])),
            words.p_value(cell["gain"]["p"]),
            chip(cell["word"]),
            _chosen(cell, verdict["searched"]),
        ]
        for cell in verdict["cells"]
    ]
    teacher = words.percent(words.teacher_accuracy(verdict))
    caption = (
        f"Test {words.metric(verdict)} in %, mean ± standard deviation over the repeats (teacher: {teacher}); gain in "
        "points; p corrected for cells (Holm) and looks"
    )
    return table(caption, columns, rows, class_="stack verdict")


def _chosen(cell: Mapping[str, Any], keys: Sequence[str]) -> Markup:
    others = [key for key in keys if key not in cell["cell"]]
    found = [(arm, cells.settings(cell[arm]["config"], others)) for arm in cells.ARMS if cell[arm]]
    pieces = [(arm, [el("span", piece, class_="whole") for piece in said.split(", ")]) for arm, said in found]
    return join([el("div", arm_name(arm), " ", join(whole, ", ") if whole else words.DASH) for arm, whole in pieces])


def controls_table(verdict: Mapping[str, Any]) -> Markup | None:
    """What a gain is made of: the distilled arm against each control beside scratch."""
    rows = [
        [
            cells.label(cell["cell"]),
            arm.replace("_", " "),
            words.spread(one),
            f"{one['n']} of {one['failed']['of']}",
            words.interval(one["beyond"]),
            words.p_value(one["beyond"]["p"]),
        ]
        for cell in verdict["cells"]
        for arm, one in (cell.get("controls") or {}).items()
    ]
    if not rows:
        return None
    caption = (
        "Other controls, in %: what the distilled arm has beyond them, in points. p is not corrected, and no word "
        "rests on it; smoothed: softer labels without a teacher; random teacher: the teacher's answers to other images"
    )
    return table(caption, ["cell", "control", "reached", "finals", "distilled beyond it [95 %]", "p"], rows)


def published_table(verdict: Mapping[str, Any]) -> Markup | None:
    """Ours beside what the study's source reports."""
    found = published.published_table(verdict)
    caption = "Test accuracy as published and as measured here, in %; theirs are as they chose them"
    return table(caption, *found, class_="stack") if found else None


def quality_table(verdict: Mapping[str, Any]) -> Markup | None:
    """What accuracy alone does not say: agreement, calibration, precision, recall."""
    wanted = {
        names.TEACHER_AGREEMENT: ("agrees with teacher, %", words.percent),
        names.TEST_NLL: ("NLL", _decimal),
        names.TEST_ECE: ("ECE", _decimal),
        names.TEST_PRECISION: ("macro precision, %", words.percent),
        names.TEST_RECALL: ("macro recall, %", words.percent),
    }
    found = [(cell, arm, cell[arm]) for cell in verdict["cells"] for arm in cells.ARMS if cell[arm]]
    measured = {key: shown for key, shown in wanted.items() if any(one[key] is not None for *_, one in found)}
    if not measured:
        return None
    rows = [
        [
            cells.label(cell["cell"]),
            arm_name(arm),
            words.spread(one),
            *(show(one[key]) for key, (_, show) in measured.items()),
        ]
        for cell, arm, one in found
    ]
    columns = ["cell", "arm", f"test {words.metric(verdict)}, %", *(said for said, _ in measured.values())]
    return table(
        "Quality on the test images, mean over the repeats; lower NLL and ECE are better calibrated", columns, rows
    )


def _decimal(value: float | None) -> str:
    return words.DASH if value is None else f"{value:.3f}"


def cost_table(verdict: Mapping[str, Any]) -> Markup | None:
    """Size, work and speed of every model; a star marks the Pareto front."""
    batch = verdict["facts"].get("batch_size")
    wanted = {
        names.PARAMETERS: "parameters", names.SIZE_MB: "MB", names.MACS: "MACs",
        names.LATENCY_1_MS: "ms, 1 image", names.LATENCY_1_P95_MS: "p95",
        names.LATENCY_N_MS: f"ms, batch of {batch}" if batch else "ms, batch", names.LATENCY_N_P95_MS: "p95 ",
    }  # fmt: skip
    found = models(verdict)
    keys = [key for key in wanted if any(model.measured.get(key) is not None for model in found)]
    if not keys:
        return None
    stars = {id(model): side for side in (names.SIZE_MB, names.LATENCY_1_MS) for model in on_front(found, side)}
    rows = []
    for model in found:
        measured, star = model.measured, "★" if id(model) in stars else ""
        numbers = (_amount(measured.get(key)) for key in keys)
        ratio = measured.get(arms.EFFICIENCY) or arms.efficiency(model.accuracy, measured.get(names.LATENCY_1_MS))
        kind = arm_name(model.arm)
        rows.append([model.where, kind, words.percent(model.accuracy), *numbers, _amount(ratio), star])
    columns = [
        "model",
        "arm",
        f"test {words.metric(verdict)}, %",
        *(wanted[key] for key in keys),
        "points per ms",
        "front",
    ]
    return table("What the models cost: median latencies, one thread, warmed up; ★ is on a Pareto front", columns, rows)


def _amount(value: Any) -> str:
    known = finite(value)
    if known is None:
        return words.DASH
    return f"{known:,.0f}" if known >= 1000 else f"{known:.3g}"


def effort_table(verdict: Mapping[str, Any], trials: pd.DataFrame) -> Markup | None:
    """What each arm's search did: trials by how they ended, epochs, time."""
    rows = []
    for cell in verdict["cells"]:
        for arm in cells.ARMS:
            tried = cells.rows(trials, cell["cell"], arm)
            if len(tried):
                states = list(tried["state"])
                counts = [states.count(state) for state in (COMPLETE, PRUNED, FAIL)]
                rows.append([cells.label(cell["cell"]), arm_name(arm), len(states), *counts, *_spent(tried)])
    columns = ["cell", "arm", "trials", "to the end", "stopped early", "failed", "epochs", "training time"]
    return table("What the search did, by arm", columns, rows) if rows else None


def _spent(tried: pd.DataFrame) -> list[str]:
    epochs = [value for value in map(finite, tried.get("epochs", [])) if value is not None]
    seconds = [value for value in map(finite, tried.get("seconds", [])) if value is not None]
    return [f"{sum(epochs):,.0f}", duration(sum(seconds) if seconds else None)]


def class_table(verdict: Mapping[str, Any]) -> Markup | None:
    """Gain of every class in every cell, coloured like the heat map; the longer of the two runs down the page."""
    found = [cell for cell in verdict["cells"] if all(cell[arm] and cell[arm][names.PER_CLASS] for arm in cells.ARMS)]
    counts = {len(cell[arm][names.PER_CLASS]) for cell in found for arm in cells.ARMS}
    if len(counts) != 1:
        return None
    called = verdict["facts"].get("classes")
    count = counts.pop()
    classes = called if isinstance(called, list) and len(called) == count else list(range(count))
    gains = [_class_gains(cell) for cell in found]
    limit = max((abs(value) for column in gains for value in column if value is not None), default=0.0) or 1.0
    where, across = [cells.label(cell["cell"]) for cell in found], len(found) > count
    first, *columns = ["cell", *map(str, classes)] if across else ["class", *where]
    lines = zip(where, gains, strict=True) if across else zip(classes, zip(*gains, strict=True), strict=True)
    rows = [[name, *(_shaded(gain, limit) for gain in line)] for name, line in lines]
    caption = "Gain of each class in points, distilled − scratch, mean over the repeats"
    drawn = table(caption, [first, *columns], rows, class_="shaded")
    return drawn if count <= SHOWN_CLASSES else el("details", el("summary", f"All {count} classes"), drawn)


def _class_gains(cell: Mapping[str, Any]) -> list[float | None]:
    pairs = zip(cell[DISTILLED][names.PER_CLASS], cell[SCRATCH][names.PER_CLASS], strict=True)
    return [one - other if one is not None and other is not None else None for one, other in pairs]


def _shaded(gain: float | None, limit: float) -> Markup:
    return el("span", words.points(gain), class_=f"tile {shade(gain, limit)}")


def facts_table(verdict: Mapping[str, Any]) -> Markup:
    """What was run, a fact a row; facts that hold a mapping take a line an entry."""
    left_out = ("classes", "phases", "notes", "command", "energy", "int8", names.HOURS)
    teacher = {key: value for key, value in verdict["teacher"].items() if isinstance(value, str | int | float)}
    facts = {
        key: value for key, value in verdict["facts"].items() if key not in left_out and value not in (None, {}, [])
    }
    rows = [[_said(key), _fact(key, value)] for key, value in ({"teacher": teacher} | facts).items() if value]
    return table("Facts of the search", ["fact", "value"], rows, class_="facts")


def _said(key: str) -> str:
    return key.replace("_", " ")


def _fact(key: str, value: Any) -> Markup:
    if isinstance(value, Mapping):
        pairs = ([el("dt", _said(str(name))), el("dd", _fact(str(name), one))] for name, one in value.items())
        return el("dl", *(part for pair in pairs for part in pair))
    known = finite(value)
    if known is not None and key.endswith("seconds"):
        return safe(duration(known))
    if known is not None and key in ("started", "ended"):
        return safe(f"{pd.Timestamp(known, unit='s'):%Y-%m-%d %H:%M:%S} UTC")
    if known is not None:
        return safe(svg.number(known) if isinstance(value, float) else f"{value:,}" if value >= 10000 else value)
    return safe(cells.text(value))

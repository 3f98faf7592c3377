"""report.html: the question and its answer first, then what it rests on."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

import pandas as pd

from tune_kd import energy, names
from tune_kd.names import STUDY_FILE, TEST_ACCURACY
from tune_kd.space.yaml12 import write
from tune_kd.summary import cells, front, opinions, published, tables, words
from tune_kd.summary.page import (
    plots_accuracy,
    plots_cost,
    plots_curves,
    plots_front,
    plots_gain,
    plots_response,
    plots_time,
    svg,
)
from tune_kd.summary.page.examples import examples, intro
from tune_kd.summary.page.markup import Markup, el, join
from tune_kd.summary.page.page import grid, page, section
from tune_kd.summary.results import Results
from tune_kd.summary.statistics import NO_DIFFERENCE, finite
from tune_kd.summary.trials import once

HOW: Final = "How sure, and how intervals and words come about"
SECTIONS: Final = {
    "verdict": "The verdict",
    "front": "The front",
    "published": "Beside the published figures",
    "accuracy": "Accuracy",
    "settings": "Which settings",
    "curves": "Learning curves",
    "cost": "Size and speed",
    "classes": "By class",
    "time": "Where the time went",
    "images": "What the networks saw",
    "run": "What was run",
}
FRONT: Final = (
    "The study has two objectives, so each cell has a front instead of one winner: the models of which none is both "
    "cheaper and more accurate. Every model on the front of one arm was retrained in both, so that the two compare."
)
RESPONSE: Final = (
    "Each dot is a trial, shaded by its best validation accuracy. Small dots were stopped early, so they had less time "
    "to learn. The ring is the trial whose settings went to the finals."
)
IMPORTANCE: Final = (
    "Shares of what made a difference among trials of equal budget. PED-ANOVA asks which settings set the best quarter "
    "apart, fANOVA which explain the variance."
)
CURVES: Final = (
    "Validation accuracy of every trial by epoch. Thick lines are the trials whose settings went to the finals; at the "
    "dotted lines trials wait and are compared."
)
MOST_ANSWERS: Final = 12


def report(results: Results, verdict: Mapping[str, Any]) -> str:
    """The whole page."""
    each = front.by_point(verdict)
    parts = {
        "verdict": _verdict(each),
        "front": section("front", SECTIONS["front"], FRONT, grid("two", plots_front.fronts(verdict))),
        "published": _published(each),
        "accuracy": _accuracy(each),
        "settings": _settings(each, results),
        "curves": _curves(verdict, results),
        "cost": _cost(each),
        "classes": section(
            "classes", SECTIONS["classes"], "Which classes gain and which lose.", tables.class_table(each)
        ),
        "time": _time(verdict, results.trials, results.finals),
        "images": section("images", SECTIONS["images"], intro(results.examples), examples(results.examples)),
        "run": _run(verdict, results.study),
    }
    started = finite(verdict["facts"].get("started"))
    headline = words.headline(verdict)
    return page(
        "report.html",
        title=f"{verdict['study']}: {headline}",
        study=verdict["study"],
        when=f", {pd.Timestamp(started, unit='s'):%-d %B %Y}" if started else "",
        question=words.question(verdict, results.study),
        headline=headline,
        caution=words.caution(verdict),
        answers=join(_answers(each["cells"])),
        tiles=_tiles(each, results.finals),
        headings=SECTIONS,
        parts=parts,
    )


def _unbroken(said: str) -> str:
    """Keeps a number and its sign on one line."""
    return re.sub(r"(?<=[\dp=<]) (?=[%=<\d])", "\N{NO-BREAK SPACE}", said)


def _answers(found: Sequence[Mapping[str, Any]]) -> list[Markup]:
    """A sentence a cell. Of very many, those with a word come first and the rest is folded away."""
    ordered = sorted(found, key=lambda cell: len(found) > MOST_ANSWERS and cell["word"] == NO_DIFFERENCE)
    listed = [
        el(
            "li",
            tables.chip(cell["word"]),
            el("div", el("strong", cells.label(cell["cell"])), ": ", _unbroken(words.answer(cell))),
        )
        for cell in ordered
    ]
    first, rest = listed[:MOST_ANSWERS], listed[MOST_ANSWERS:]
    shown = [el("ul", *first, class_="answers")]
    if rest:
        more = f"{len(rest)} more cell{'s' * (len(rest) > 1)}"
        shown.append(el("details", el("summary", more), el("ul", *rest, class_="answers")))
    return shown


def _tiles(verdict: Mapping[str, Any], finals: pd.DataFrame) -> list[dict[str, str]]:
    """The few figures that say how large the study was."""
    teacher, counts = verdict["teacher"], verdict["counts"]
    accuracy, seconds = words.teacher_accuracy(verdict), finite(verdict["facts"].get("seconds"))
    tested = once(finals[finals[TEST_ACCURACY].notna()]) if TEST_ACCURACY in finals else finals
    failed = f", {counts['fail']} failed" if counts["fail"] else ""
    ended = f"{counts['complete']} to the end, {counts['pruned']} stopped early{failed}"
    tiles = [("Trials", f"{counts['trials']:,}", ended), ("Finals", f"{len(tested):,}", "retrained, tested once")]
    if accuracy is not None:
        name = str(teacher.get("model") or "")
        tiles.insert(0, ("Teacher on test images", f"{words.percent(accuracy)} %", name))
    if seconds is not None:
        tiles.append(("Time", plots_time.duration(seconds), "on the clock"))
    return [dict(zip(("name", "value", "note"), tile, strict=True)) for tile in tiles]


def _verdict(verdict: Mapping[str, Any]) -> Markup:
    charts = [*plots_gain.forests(verdict), *plots_gain.heat_maps(verdict)]
    control = (
        ""
        if verdict["control"]
        else "The study ran without a scratch arm: there is no control, and no gain can be stated."
    )
    return section(
        "verdict",
        SECTIONS["verdict"],
        control,
        tables.verdict_table(verdict),
        tables.controls_table(verdict) or "",
        grid("two", charts),
        _method(verdict),
    )


def _method(verdict: Mapping[str, Any]) -> Markup:
    said = el("p", verdict["method"]["text"])
    return el(
        "details",
        el("summary", "How sure, and how intervals and words come about"),
        opinions.table(verdict) or "",
        said,
    )


def _published(verdict: Mapping[str, Any]) -> Markup:
    notes = [el("li", note) for note in published.published_notes(verdict)]
    drawn = tables.published_table(verdict)
    return section("published", SECTIONS["published"], "", drawn, el("ul", *notes) if notes else "")


def _accuracy(verdict: Mapping[str, Any]) -> Markup:
    charts = [chart for chart in (plots_accuracy.bars(verdict), plots_accuracy.optimism(verdict)) if chart]
    return section("accuracy", SECTIONS["accuracy"], "", grid("two", charts), tables.quality_table(verdict))


def _settings(verdict: Mapping[str, Any], results: Results) -> Markup:
    panels = plots_response.responses(results.study, verdict, results.trials)
    parts: list[object] = [el("p", RESPONSE)] if panels else []
    for arm in reversed(cells.ARMS):
        parts.append(grid("many", panels.get(arm, [])))
    found = verdict.get("importances") or []
    if found:
        entries = svg.legend(("b-full", "PED-ANOVA, full colour"), ("b-pale", "fANOVA, pale"))
        parts += [el("h3", "Importance of each setting", class_="apart"), el("p", IMPORTANCE), entries]
        parts.append(grid("many", plots_response.importance_panels(found)))
    return section("settings", SECTIONS["settings"], "", *parts)


def _curves(verdict: Mapping[str, Any], results: Results) -> Markup:
    panels = plots_curves.curves(results.study, verdict, results.trials)
    shown = [svg.legend(*plots_curves.LEGEND), grid("many", panels)] if panels else []
    return section("curves", SECTIONS["curves"], CURVES, *shown)


def _cost(verdict: Mapping[str, Any]) -> Markup:
    told = _int8(verdict["facts"].get("int8") or {})
    return section("cost", SECTIONS["cost"], told, grid("two", plots_cost.fronts(verdict)), tables.cost_table(verdict))


def _int8(known: Mapping[str, Any]) -> str:
    """Told beside the winner, where it was quantized."""
    if not known:
        return ""
    sizes = (f"{known[key] / 1000:,.0f} KB" for key in ("bytes", "bytes_fp32"))
    said = "In int8 the winner has {} % on the same test images ({} % in 32 bits), {} ({}) as ONNX"
    scores = (words.percent(known[key]) for key in (names.TEST_ACCURACY, "test_accuracy_fp32"))
    times = (f"{known[key]:.2g} ms" for key in ("milliseconds", "milliseconds_fp32"))
    return said.format(*scores, *sizes) + ", and takes {} an image ({}) on one thread.".format(*times)


def _time(verdict: Mapping[str, Any], trials: pd.DataFrame, finals: pd.DataFrame) -> Markup:
    phases = plots_time.with_finals(verdict["facts"].get("phases"), trials, finals)
    charts = [plots_time.phases(phases), plots_time.effort(verdict, trials)]
    drawn = grid("two", [chart for chart in charts if chart])
    facts = verdict["facts"]
    hours = facts.get(names.HOURS) or {}
    electricity = energy.words(hours, facts.get("energy") or {})
    told = " ".join(filter(None, (_saved(verdict, trials), _computed(trials, finals, hours), electricity)))
    return section("time", SECTIONS["time"], told, drawn, tables.effort_table(verdict, trials))


def _computed(trials: pd.DataFrame, finals: pd.DataFrame, hours: Mapping[str, float]) -> str:
    """What was paid for: the time that trainings took, added up, and what each had of processors and GPUs."""
    spent = plots_time.trained(trials) + plots_time.trained(once(finals))
    if not spent:
        return ""
    taken = f"{spent / 3600:.2f} hours" if spent >= 3600 else plots_time.duration(spent)
    of = "".join(f", {value:.3g} {kind.upper()}-hours" for kind, value in hours.items() if value)
    return f"All trainings of students together took {taken}{of}; the teacher is apart."


def _saved(verdict: Mapping[str, Any], trials: pd.DataFrame) -> str:
    """What early stopping spared, where it can be told."""
    if "epochs" not in trials or trials.empty or not verdict["counts"]["complete"]:
        return ""
    trained, full = float(trials["epochs"].sum()), float(trials["epochs"].max()) * len(trials)
    share = f"{trained:,.0f} of {full:,.0f} epochs, {trained / full:.0%}"
    return f"Early stopping: trials trained {share} of what all of them together would have taken."


def _run(verdict: Mapping[str, Any], study: Mapping[str, Any]) -> Markup:
    notes = verdict["facts"].get("notes")
    listed = el("ul", *(el("li", note) for note in notes)) if isinstance(notes, list) and notes else ""
    command = verdict["facts"].get("command") or f"python -m tune_kd.search {STUDY_FILE}"
    repeat = join([el("h3", "How to repeat it", class_="apart"), el("pre", command, tabindex=0)])
    looked = _mlflow(verdict["facts"].get("mlflow"))
    resolved = write(cells.plain(study))
    whole = el("details", el("summary", "The study as it was resolved"), el("pre", resolved, tabindex=0))
    return section("run", SECTIONS["run"], "", listed, tables.facts_table(verdict), looked, repeat, whole)


def _mlflow(told: object) -> Markup:
    """Where the runs are: a command for a store without a server, and the address of the table."""
    if not isinstance(told, Mapping):
        return Markup()
    command, page = str(told.get("command") or ""), str(told.get("page") or "")
    safe_page = page if page.startswith(("http://", "https://")) else ""
    return join(
        [
            el("h3", "The runs in MLflow", class_="apart"),
            el("pre", command, tabindex=0) if command else "",
            el("p", "Trials, accuracies and curves: ", el("a", page, href=safe_page)) if safe_page else "",
        ]
    )

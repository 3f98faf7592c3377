"""Ours beside what the study's source published."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from tune_kd.names import ACCURACY, DISTILLED, SCRATCH
from tune_kd.summary import cells, front, words
from tune_kd.summary.statistics import finite

COLUMNS: Final = ("cell", "model", "published, %", "ours, %", f"ours {words.MINUS} published, points")


def published_table(verdict: Mapping[str, Any]) -> tuple[list[str], list[list[str]]] | None:
    """Column names and rows of text, or nothing where the study names no published figures."""
    if words.metric_of(verdict) != ACCURACY:  # sources report accuracies
        return None
    rows = [row for one in verdict.get("published") or [] if _has_figures(one) for row in _beside(one, verdict)]
    return (list(COLUMNS), rows) if rows else None


def published_notes(verdict: Mapping[str, Any]) -> list[str]:
    """Where the figures come from, and what to know of them; a note once, however many rows it stands in."""
    said = [": ".join(filter(None, (one["source"], one["note"]))) for one in verdict.get("published") or []]
    return list(dict.fromkeys(said))


def read(study: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The study's published rows, whatever a hand may have done to the file."""
    rows = study.get("published")
    found = [row for row in rows if isinstance(row, Mapping)] if isinstance(rows, list | tuple) else []
    return [_row(row) for row in found]


def _has_figures(one: Mapping[str, Any]) -> bool:
    """Some sources report in words alone."""
    return any(one[arm] is not None for arm in ("teacher", *cells.ARMS))


def _row(row: Mapping[str, Any]) -> dict[str, Any]:
    cell = row.get("cell")
    accuracies = ("teacher", SCRATCH, f"{SCRATCH}_sd", DISTILLED, f"{DISTILLED}_sd")
    return {
        "source": str(row.get("source") or "published"),
        "note": str(row.get("note") or ""),
        "cell": cells.plain(cell) if isinstance(cell, Mapping) else {},
        **{key: finite(row.get(key)) for key in accuracies},
    }


def _beside(one: Mapping[str, Any], verdict: Mapping[str, Any]) -> Iterator[list[str]]:
    ours = [cell for cell in front.by_point(verdict)["cells"] if _matches(one["cell"], cell)]
    if one["teacher"] is not None:
        yield _line("teacher", "teacher", one["teacher"], None, {"mean": words.teacher_accuracy(verdict)})
    for cell in ours or [{"cell": one["cell"], SCRATCH: None, DISTILLED: None, "gain": {"mean": None}}]:
        where = cells.label(cell["cell"])
        for arm in cells.ARMS:
            if one[arm] is not None:
                yield _line(where, arm, one[arm], one[f"{arm}_sd"], cell[arm])
        if one[SCRATCH] is not None and one[DISTILLED] is not None:
            yield _gain(where, one[DISTILLED] - one[SCRATCH], cell["gain"]["mean"])


def _matches(wanted: Mapping[str, Any], cell: Mapping[str, Any]) -> bool:
    """A key that is no condition here is looked up in the chosen settings; one that nobody knows excludes nothing."""
    chosen = (cell[SCRATCH] or {}).get("config", {}) | (cell[DISTILLED] or {}).get("config", {})
    known = chosen | cell["cell"]
    return all(cells.text(known.get(key, value)) == cells.text(value) for key, value in wanted.items())


def _line(where: str, model: str, figure: float, sd: float | None, own: Mapping[str, Any] | None) -> list[str]:
    mean = finite((own or {}).get("mean"))
    shown = [_percent(figure, sd), _percent(mean, finite((own or {}).get("sd")))]
    return [where, model, *shown, _points(None if mean is None else mean - figure)]


def _gain(where: str, figure: float, own: float | None) -> list[str]:
    return [where, "gain, points", _points(figure), _points(own), _points(None if own is None else own - figure)]


def _percent(value: float | None, sd: float | None) -> str:
    """Two decimals, as the sources have them."""
    if value is None:
        return words.DASH
    return f"{100 * value:.2f}" + (f" ± {100 * sd:.2f}" if sd is not None else "")


def _points(value: float | None) -> str:
    return words.DASH if value is None else f"{100 * value:+.2f}".replace("-", words.MINUS)

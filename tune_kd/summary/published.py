"""Ours beside what the study's source published."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from tune_kd.names import ACCURACY, DISTILLED, SCRATCH
from tune_kd.summary import cells, front, words
from tune_kd.summary.statistics import finite

COLUMNS: Final = ("source", "cell", "model", "published, %", "ours, %", f"ours {words.MINUS} published, points")


CHOSEN: Final = (
    "Ours are of the settings that the search found best, theirs of those that the source fixed: tuned, not repeated "
    "(where a study has the mode `replicate`, that repeats the source's run)"
)


def published_table(verdict: Mapping[str, Any]) -> tuple[list[str], list[list[str]]] | None:
    """Column names and rows of text, or nothing where nothing published is of this study.

    A row's source is the number of its note.
    """
    if words.metric_of(verdict) != ACCURACY:  # sources report accuracies
        return None
    said = _said(verdict)
    rows = [
        [str(said.index(_source(one)) + 1), *row]
        for one in verdict.get("published") or []
        for row in _beside(one, verdict)
    ]
    return (list(COLUMNS), rows) if rows else None


def published_notes(verdict: Mapping[str, Any]) -> list[str]:
    """Where the figures come from, by number, and what to know of them."""
    said = [f"{number}: {source}" for number, source in enumerate(_said(verdict), 1)]
    chosen = verdict.get("searched") and published_table(verdict)
    return [*said, *([CHOSEN] if chosen else [])]


def _said(verdict: Mapping[str, Any]) -> list[str]:
    """Each source once, however many rows it has."""
    return list(dict.fromkeys(map(_source, verdict.get("published") or [])))


def _source(one: Mapping[str, Any]) -> str:
    return ": ".join(filter(None, (one["source"], one["note"])))


def read(study: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The study's published rows, whatever a hand may have done to the file."""
    rows = study.get("published")
    found = [row for row in rows if isinstance(row, Mapping)] if isinstance(rows, list | tuple) else []
    return [_row(row, study) for row in found]


def _row(row: Mapping[str, Any], study: Mapping[str, Any]) -> dict[str, Any]:
    cell = cells.plain(row["cell"]) if isinstance(row.get("cell"), Mapping) else {}
    accuracies = ("teacher", SCRATCH, f"{SCRATCH}_sd", DISTILLED, f"{DISTILLED}_sd")
    return {
        "source": str(row.get("source") or "published"),
        "note": str(row.get("note") or ""),
        "cell": cell,
        "elsewhere": any(_fixed(study, key) not in (None, cells.text(value)) for key, value in cell.items()),
        **{key: finite(row.get(key)) for key in accuracies},
    }


def _fixed(study: Mapping[str, Any], key: str) -> str | None:
    """What a key has that is neither a condition nor searched; nothing where nobody knows it."""
    if key in cells.levels(study) or key in (study.get("search") or {}):
        return None
    found: Any = study
    for name in key.split("."):
        found = found.get(name) if isinstance(found, Mapping) else None
    return None if found is None else cells.text(found)


def _beside(one: Mapping[str, Any], verdict: Mapping[str, Any]) -> Iterator[list[str]]:
    """The teacher's row, and those of each cell of ours that is theirs; a setting that we do not have has none."""
    if one["teacher"] is not None:
        yield _line("teacher", "teacher", one["teacher"], None, {"mean": words.teacher_accuracy(verdict)})
    for cell in [] if one["elsewhere"] else front.by_point(verdict)["cells"]:
        own = cell["cell"]
        if any(cells.text(own[key]) != cells.text(value) for key, value in one["cell"].items() if key in own):
            continue
        chosen = {key: value for key, value in one["cell"].items() if key not in own and key in verdict["searched"]}
        where = cells.label(own) + (f" (theirs: {cells.label(chosen)})" if chosen else "")
        for arm in cells.ARMS:
            if one[arm] is not None:
                yield _line(where, arm, one[arm], one[f"{arm}_sd"], cell[arm])
        if one[SCRATCH] is not None and one[DISTILLED] is not None:
            yield _gain(where, one[DISTILLED] - one[SCRATCH], cell["gain"]["mean"])


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

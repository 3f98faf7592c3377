"""Finals in, verdict out: per cell both arms, the gain with its interval, and a word."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from tune_kd import names
from tune_kd.names import COMPLETE, CONFIG_PREFIX, COST, DISTILLED, FAIL, PRUNED, SCRATCH, TEST_ACCURACY, VAL_ACCURACY
from tune_kd.summary import arms, cells, front, published, statistics
from tune_kd.summary.statistics import Gain

Verdict = dict[str, Any]

NO_CONTROL = "the study has no scratch arm, so there is no control to compare with"


def judge(
    study: Mapping[str, Any],
    trials: pd.DataFrame,
    finals: pd.DataFrame,
    teacher: Mapping[str, Any],
    facts: Mapping[str, Any],
) -> Verdict:
    """The answer, from stored results only. Every number is finite or null, whatever the search left undone."""
    control = bool(study["control"]) if "control" in study else _has_control(trials, finals)
    finals = arms.share_latencies(finals)
    step = statistics.resolution(_accuracies(finals))
    objectives = [str(one) for one in study.get("objectives") or ["accuracy"]]
    judge_cell = _compare if len(objectives) < 2 else _front
    found = [judge_cell(cell, trials, finals, step, control) for cell in cells.cells(study, trials, finals)]
    _settle([point for cell in found for point in cell.get("front") or [cell]])
    for cell in found:
        if cell.get("front"):
            cell |= _foremost(cell["front"])
    return {
        "study": str(study.get("study") or "study"),
        "question": cells.plain(study.get("question")),
        "teacher": cells.plain(teacher),
        "control": control,
        "objectives": objectives,
        "cells": found,
        "counts": _counts(trials),
        "searched": cells.searched(study, trials),
        "method": {"confidence": 1 - statistics.LEVEL, "correction": "Holm", "text": statistics.METHOD},
        "published": published.read(study),
        "facts": cells.plain(facts),
    }


def _has_control(trials: pd.DataFrame, finals: pd.DataFrame) -> bool:
    seen = {arm for frame in (trials, finals) if "arm" in frame for arm in frame["arm"]}
    return SCRATCH in seen or DISTILLED not in seen


def _accuracies(finals: pd.DataFrame) -> list[float]:
    found = map(statistics.finite, finals[TEST_ACCURACY]) if TEST_ACCURACY in finals else iter(())
    return [value for value in found if value is not None]


def _compare(
    cell: cells.Cell, trials: pd.DataFrame, finals: pd.DataFrame, step: float, control: bool
) -> dict[str, Any]:
    """One cell without its corrected p and word, which need the other cells."""
    best: dict[str, dict[str, Any] | None] = {}
    for arm in cells.ARMS:
        tried = cells.rows(trials, cell, arm)
        groups = arms.candidates(cells.rows(finals, cell, arm), arm)
        best[arm] = arms.summarise(*groups[0], tried) if groups else None
    gain = _gain(best[SCRATCH], best[DISTILLED], step, control)
    return {"cell": cells.plain(cell), **best, "gain": _numbers(gain), "word": ""}


def _front(cell: cells.Cell, trials: pd.DataFrame, finals: pd.DataFrame, step: float, control: bool) -> dict[str, Any]:
    """One cell of a search with two objectives: both arms at every model of their fronts, cheapest first."""
    tested = cells.rows(finals, cell, DISTILLED)
    if tested.empty:
        tested = cells.rows(finals, cell, SCRATCH)
    column = CONFIG_PREFIX + names.STUDENT_MODEL
    # A scratch arm that serves several cells has models that only another cell's distilled arm asked for.
    models = dict.fromkeys(tested[column]) if column in tested else {}
    points = []
    for model in models:
        at = cell | {names.STUDENT_MODEL: model}
        cost = statistics.finite(tested[tested[column] == model].iloc[0].get(COST))
        point = _compare(at, trials, finals, step, control) | {"model": str(model), COST: cost}
        points.append({key: point[key] for key in ("model", COST, *cells.ARMS, "gain", "word")})
    points.sort(key=lambda point: (point[COST] is None, point[COST], point["model"]))
    front.mark(points, cells.ARMS)
    return _compare(cell, trials, finals, step, control) | {"front": points}


def _settle(found: Sequence[dict[str, Any]]) -> None:
    """Corrects p over all comparisons of the study, and gives each its word."""
    for one, corrected in zip(found, statistics.holm([one["gain"]["p_uncorrected"] for one in found]), strict=True):
        one["gain"]["p"] = corrected
        one["word"] = statistics.word(one["gain"]["low"], one["gain"]["high"], corrected)


def _foremost(points: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What stands for the whole cell: both arms at the model that is most accurate on validation images."""

    def accuracy(point: Mapping[str, Any]) -> float:
        return max(point[arm][VAL_ACCURACY] or 0.0 for arm in cells.ARMS if point[arm])

    best = max(points, key=accuracy)
    return {key: best[key] for key in (*cells.ARMS, "gain", "word")}


def _gain(scratch: Mapping[str, Any] | None, distilled: Mapping[str, Any] | None, step: float, control: bool) -> Gain:
    if scratch is None and distilled is None:
        return Gain((), reason="no finals yet")
    if distilled is None:
        return Gain((), reason="no finals of the distilled arm yet")
    if scratch is None:
        return Gain((), reason="no finals of the scratch arm yet" if control else NO_CONTROL)
    return statistics.gain(_scores(distilled), _scores(scratch), step)


def _scores(arm: Mapping[str, Any]) -> dict[int, float]:
    return dict(zip(arm["seeds"], arm["values"], strict=True))


def _numbers(gain: Gain) -> dict[str, Any]:
    numbers = {"mean": gain.mean, "low": gain.low, "high": gain.high, "p": None, "p_uncorrected": gain.p}
    return numbers | {"pairs": list(gain.pairs), "reason": gain.reason}


def _counts(trials: pd.DataFrame) -> dict[str, int]:
    """How many trials there were and how they ended."""
    states: Sequence[str] = list(trials["state"]) if "state" in trials else []
    return {"trials": len(trials), **{state.lower(): states.count(state) for state in (COMPLETE, PRUNED, FAIL)}}

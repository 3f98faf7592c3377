"""Finals in, verdict out: per cell both arms, the gain with its interval, and a word."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from tune_kd.names import COMPLETE, DISTILLED, FAIL, PRUNED, SCRATCH, TEST_ACCURACY
from tune_kd.summary import arms, cells, published, statistics
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
    found = [_compare(cell, trials, finals, step, control) for cell in cells.cells(study, trials, finals)]
    for cell, corrected in zip(found, statistics.holm([cell["gain"]["p_uncorrected"] for cell in found]), strict=True):
        gain = cell["gain"]
        gain["p"] = corrected
        cell["word"] = statistics.word(gain["low"], gain["high"], corrected)
    return {
        "study": str(study.get("study") or "study"),
        "question": cells.plain(study.get("question")),
        "teacher": cells.plain(teacher),
        "control": control,
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
    fronts: dict[str, list[dict[str, Any]]] = {}
    for arm in cells.ARMS:
        tried = cells.rows(trials, cell, arm)
        groups = arms.candidates(cells.rows(finals, cell, arm), arm)
        summaries = [arms.summarise(config, group, tried) for config, group in groups]
        best[arm] = summaries[0] if summaries else None
        fronts[arm] = summaries[1:]
    gain = _gain(best[SCRATCH], best[DISTILLED], step, control)
    found: dict[str, Any] = {"cell": cells.plain(cell), **best, "gain": _numbers(gain), "word": ""}
    others = {arm: rest for arm, rest in fronts.items() if rest}
    return found | ({"others": others} if others else {})


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

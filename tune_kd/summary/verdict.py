"""Finals in, verdict out: per cell both arms, the gain with its interval, and a word."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import pandas as pd

from tune_kd import names
from tune_kd.names import (
    ACCURACY,
    COMPLETE,
    CONTROLS,
    COST,
    DISTILLED,
    FAIL,
    LOOKS,
    PRUNED,
    SCRATCH,
)
from tune_kd.summary import arms, cells, crossed, failures, front, method, published, statistics, words
from tune_kd.summary.statistics import Gain

Verdict = dict[str, Any]

ANSWER = (*cells.ARMS, "gain", "failed", "lost", "controls", "word", "but")
"""What a cell, or a point of its front, is told by."""

NO_CONTROL = "the study has no scratch arm, so there is no control to compare with"


@dataclass(frozen=True)
class Measure:
    """What all cells are measured by: the score's smallest step, whether there is a control, what guessing has."""

    step: float
    control: bool
    chance: float
    metric: str = ACCURACY


def judge(
    study: Mapping[str, Any],
    trials: pd.DataFrame,
    finals: pd.DataFrame,
    teacher: Mapping[str, Any],
    facts: Mapping[str, Any],
) -> Verdict:
    """The answer, from stored results only. Every number is finite or null, whatever the search left undone."""
    control = bool(study["control"]) if "control" in study else _has_control(trials, finals)
    metric = metric_of(study)
    finals = arms.scored_by(arms.share_latencies(finals), metric)
    step = statistics.resolution(_scores_of(finals))
    objectives = [str(one) for one in study.get("objectives") or ["accuracy"]]
    judge_cell = _compare if len(objectives) < 2 else _front
    measure = Measure(step, control, failures.chance_level(finals, facts), metric)
    found = [judge_cell(cell, trials, finals, measure) for cell in cells.cells(study, trials, finals)]
    looks = max(1, int(statistics.finite(facts.get(LOOKS)) or 1))
    settle([point for cell in found for point in cell.get("front") or [cell]], looks)
    for cell in found:
        if cell.get("front"):
            cell |= _foremost(cell["front"])
    searched = cells.searched(study, trials)
    return {
        "study": str(study.get("study") or "study"),
        "question": cells.plain(study.get("question")),
        "teacher": cells.plain(teacher),
        "control": control,
        "pretrained": method.pretrained(study),
        "objectives": objectives,
        "metric": metric,
        "cells": found,
        "counts": _counts(trials),
        "searched": searched,
        "method": {"confidence": 1 - statistics.LEVEL, "correction": "Holm", "looks": looks}
        | {"text": method.text(study, searched, looks, found, metric, facts)},
        "published": published.read(study),
        "facts": cells.plain(facts),
    }


def metric_of(study: Mapping[str, Any]) -> str:
    """What arms are compared by; studies of an earlier version know no other than accuracy."""
    aim = study.get("objective")
    return str(aim.get("metric") or ACCURACY) if isinstance(aim, Mapping) else ACCURACY


def _has_control(trials: pd.DataFrame, finals: pd.DataFrame) -> bool:
    seen = {arm for frame in (trials, finals) if "arm" in frame for arm in frame["arm"]}
    return SCRATCH in seen or DISTILLED not in seen


def _scores_of(finals: pd.DataFrame) -> list[float]:
    found = map(statistics.finite, finals[names.SCORE]) if names.SCORE in finals else iter(())
    return [value for value in found if value is not None]


def _compare(cell: cells.Cell, trials: pd.DataFrame, finals: pd.DataFrame, measure: Measure) -> dict[str, Any]:
    """One cell without its corrected p and word, which need the other cells."""
    best: dict[str, dict[str, Any] | None] = {}
    failed, right = {}, {}
    for arm in cells.ARMS:
        groups = arms.candidates(cells.rows(finals, cell, arm), arm)
        config, own = groups[0] if groups else ({}, finals.iloc[:0])
        good = arms.tested(own)
        best[arm] = None if good.empty else arms.summarise(config, good, cells.rows(trials, cell, arm))
        failed[arm], right[arm] = failures.count(own), crossed.correct(good)
    gain = compared(best, failed, measure)
    if measure.metric == ACCURACY:  # of the others an image is no part that could be drawn again by itself
        gain["seeds_and_images"] = crossed.interval(right[DISTILLED], right[SCRATCH], statistics.LEVEL)
    lost = {arm: failures.lost(best[arm], failed[arm]) for arm in cells.ARMS}
    controls = _controls(cell, finals, best[DISTILLED], measure)
    told = {"gain": cells.plain(gain), "failed": failed, "lost": lost, "controls": controls, "word": "", "but": ""}
    return {"cell": cells.plain(cell), **best, **told}


def _controls(
    cell: cells.Cell, finals: pd.DataFrame, distilled: Mapping[str, Any] | None, measure: Measure
) -> dict[str, Any]:
    """The other controls, and what the distilled arm has beyond each. These tell what a gain is made of: no words."""
    found: dict[str, Any] = {}
    for arm in CONTROLS:
        groups = arms.candidates(cells.rows(finals, cell, arm), arm) if arm != SCRATCH else []
        if not groups or (good := arms.tested(groups[0][1])).empty:
            continue
        scores = arms.by_seed(good)
        mean, sd = statistics.mean_sd(list(scores.values()))
        beyond = failures.numbers(statistics.gain(_scores(distilled), scores, measure.step))
        counted = failures.count(groups[0][1])
        found[arm] = {"mean": mean, "sd": sd, "n": len(scores), "failed": counted, "config": groups[0][0]}
        found[arm]["beyond"] = cells.plain(beyond)
    return found


def compared(
    best: Mapping[str, Mapping[str, Any] | None], failed: Mapping[str, Any], measure: Measure
) -> dict[str, Any]:
    """The gain, and second looks at it: the middle pairs alone, and failed finals at what guessing reaches."""
    gain = _gain(best, failed, measure)
    second, counted = statistics.trimmed(gain.pairs), None
    if any(one["failed"] for one in failed.values()) and gain.pairs:
        scores = {arm: failures.as_chance(_scores(best[arm]), failed[arm], measure.chance) for arm in cells.ARMS}
        counted = statistics.gain(scores[DISTILLED], scores[SCRATCH], measure.step)
    looks = {"trimmed": asdict(second) if second else None, "with_failed": failures.numbers(counted)}
    return _numbers(gain) | looks | {"seeds_and_images": None}


def _front(cell: cells.Cell, trials: pd.DataFrame, finals: pd.DataFrame, measure: Measure) -> dict[str, Any]:
    """One cell of a search with two objectives: both arms at every model of their fronts, cheapest first."""
    tested = cells.rows(finals, cell, DISTILLED)
    if tested.empty:
        tested = cells.rows(finals, cell, SCRATCH)
    # A scratch arm that serves several cells has models that only another cell's distilled arm asked for.
    points = []
    for student, (settings, row) in front.students(tested).items():
        at, cost = cell | settings, statistics.finite(row.get(COST))
        point = _compare(at, trials, finals, measure) | {"model": student, "student": settings, COST: cost}
        points.append({key: point[key] for key in ("model", "student", COST, *ANSWER)})
    points.sort(key=lambda point: (point[COST] is None, point[COST], point["model"]))
    front.mark(points, cells.ARMS)
    return _compare(cell, trials, finals, measure) | {"front": points}


def settle(found: Sequence[dict[str, Any]], looks: int) -> None:
    """Corrects p over all comparisons of the study and all looks at it, and gives each comparison its word."""
    share = statistics.share_of(looks)
    judged = [None if (p := failures.judged_p(one)) is None else min(1.0, p / share) for one in found]
    for one, corrected in zip(found, statistics.holm(judged), strict=True):
        one["gain"]["p"] = corrected
        one["word"] = failures.word(one, corrected)
        one["but"] = words.but(one)


def _foremost(points: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What stands for the whole cell: both arms at the model that is most accurate on validation images."""

    def accuracy(point: Mapping[str, Any]) -> float:
        return max(point[arm][names.CHOSEN_BY] or 0.0 for arm in cells.ARMS if point[arm])

    best = max(points, key=accuracy)
    return {key: best[key] for key in ANSWER}


def _gain(best: Mapping[str, Mapping[str, Any] | None], failed: Mapping[str, Any], measure: Measure) -> Gain:
    for arm in (DISTILLED, SCRATCH):
        if best[arm] is None and (reason := failures.all_failed(failed[arm], arm)):
            return Gain((), reason=reason)
    if best[SCRATCH] is None and best[DISTILLED] is None:
        return Gain((), reason="no finals yet")
    if best[DISTILLED] is None:
        return Gain((), reason="no finals of the distilled arm yet")
    if best[SCRATCH] is None:
        return Gain((), reason="no finals of the scratch arm yet" if measure.control else NO_CONTROL)
    return statistics.gain(_scores(best[DISTILLED]), _scores(best[SCRATCH]), measure.step)


def _scores(arm: Mapping[str, Any] | None) -> dict[int, float]:
    return dict(zip(arm["seeds"], arm["values"], strict=True)) if arm else {}


def _numbers(gain: Gain) -> dict[str, Any]:
    numbers = {"mean": gain.mean, "low": gain.low, "high": gain.high, "p": None, "p_uncorrected": gain.p}
    return numbers | {"pairs": list(gain.pairs), "reason": gain.reason, "correlation": gain.correlation}


def _counts(trials: pd.DataFrame) -> dict[str, int]:
    """How many trials there were and how they ended."""
    states: Sequence[str] = list(trials["state"]) if "state" in trials else []
    return {"trials": len(trials), **{state.lower(): states.count(state) for state in (COMPLETE, PRUNED, FAIL)}}

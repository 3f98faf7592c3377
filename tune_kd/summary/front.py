"""Fronts: which models are worth having, and the verdict of a search that asked for several instead of one winner."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from tune_kd import names
from tune_kd.space.designs import called
from tune_kd.summary.cells import plain
from tune_kd.tuning.fronts import front


def pareto(points: Sequence[tuple[float, float]]) -> list[int]:
    """Places of the (cost, accuracy) points that no other beats in both, cheapest first."""
    return front(dict(enumerate(points)))


def by_point(verdict: Mapping[str, Any]) -> Mapping[str, Any]:
    """The verdict with a cell for each point of a front, as if the student's model were one more condition.

    Whoever draws or lists answers then needs to know nothing of fronts. A verdict without any stays as it is.
    """
    return {**verdict, "cells": [one for cell in verdict["cells"] for one in _points(cell)]}


def _points(cell: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    points = cell.get("front")
    return (
        [
            point | {"cell": cell["cell"] | (point.get("student") or {names.STUDENT_MODEL: point["model"]})}
            for point in points
        ]
        if points
        else [cell]
    )


def students(finals: pd.DataFrame) -> Mapping[str, tuple[dict[str, Any], Mapping[Any, Any]]]:
    """The students that were retrained: by name the settings that make one, and a row of it."""
    keys = [key for key in (names.STUDENT_MODEL, names.STUDENT_SIDE) if names.CONFIG_PREFIX + key in finals]
    found: dict[str, tuple[dict[str, Any], Mapping[Any, Any]]] = {}
    for row in finals.to_dict("records") if names.STUDENT_MODEL in keys else ():
        settings = {key: plain(row[names.CONFIG_PREFIX + key]) for key in keys}
        found.setdefault(called(settings), (settings, row))
    return found


def cost_of(verdict: Mapping[str, Any]) -> tuple[str, str] | None:
    """What the second objective is called and its unit, where there is one."""
    objectives = verdict.get("objectives") or []
    units = {"size": ("size", "MB"), "latency": ("latency of one image", "ms"), "macs": ("work of one image", "MACs")}
    return units.get(objectives[1]) if len(objectives) > 1 else None


def mark(points: Sequence[dict[str, Any]], arms: Sequence[str]) -> None:
    """Notes at each point for which arms no cheaper model is as accurate on the test images."""
    for point in points:
        point["on_front"] = []
    for arm in arms:
        known = [point for point in points if point[arm] and point[names.COST] is not None]
        for place in pareto([(point[names.COST], point[arm]["mean"]) for point in known]):
            known[place]["on_front"].append(arm)

"""`first: {from: runs/OLD}`: what an earlier search found best is tried first. The study then has the settings.

Few, since whatever is tried first is tried instead of something new; and no two that differ only in how they distil, so
that the control is given as many as the distilled arm.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from tune_kd import names
from tune_kd.space.problems import fail
from tune_kd.space.study import Study, searched_keys

MOST: Final = 3
KEY: Final = "from"


def filled(raw: dict[str, Any]) -> dict[str, Any]:
    """The raw study with settings in the place of where they come from."""
    first = raw.get("first")
    if not isinstance(first, Mapping) or KEY not in first:
        return raw
    if len(first) > 1 or not isinstance(first[KEY], str):
        fail("first", "names a results folder as {from: runs/NAME}, and nothing else.", first)
    study = Study.model_validate(raw | {"first": []}, strict=True)
    return raw | {"first": _best(study, Path(first[KEY]).expanduser() / names.TRIALS_FILE)}


def _best(study: Study, table: Path) -> list[dict[str, Any]]:
    """The best of each arm of each cell, the most accurate first."""
    if not table.is_file():
        fail(f"first.{KEY}", f"has no {names.TRIALS_FILE}. Name the results folder of a search that has ended.", table)
    import pandas as pd  # takes a second, which only who asks for this should wait

    trials = pd.read_parquet(table)
    trials = trials[trials["state"] == names.COMPLETE].sort_values("value", ascending=False, kind="stable")
    cells = [str(column) for column in trials if str(column).startswith(names.CELL_PREFIX)]
    found: dict[str, dict[str, Any]] = {}
    for _, row in trials.drop_duplicates(["arm", *cells]).iterrows():
        point = _point(study, row)
        shared = str({key: value for key, value in point.items() if not key.startswith("kd.")})
        if point:
            found.setdefault(shared, point)
    return list(found.values())[:MOST]


def _point(study: Study, row: Any) -> dict[str, Any]:
    """What of a trial's settings this study searches too; a table may hold words where a domain has numbers."""
    point = {}
    for key in searched_keys(study, names.DISTILLED):
        value = row.get(names.CONFIG_PREFIX + key)
        value = value.item() if hasattr(value, "item") else value
        allowed = getattr(study.search[key], "values", ())
        value = next((one for one in allowed if str(one) == str(value)), value)
        if value is not None and value == value and study.search[key].contains(value):
            point[key] = value
    return point

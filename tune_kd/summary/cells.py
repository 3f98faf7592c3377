"""Conditions, cells and configurations as they stand in the tables, and how they are called in plain words."""

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import numpy as np
import pandas as pd

from tune_kd import names
from tune_kd.names import CELL_PREFIX, CONFIG_PREFIX, DISTILLED, SCRATCH
from tune_kd.space import methods

Cell = dict[str, Any]

ARMS: Final = (SCRATCH, DISTILLED)
DISTILLATION: Final = names.TAUGHT_KEYS
"""Settings that mean nothing without a teacher."""

NAMES: Final = {
    "data.source": "source",
    "data.size": "images",
    "data.weight": "share of the first source",
    names.STUDENT_MODEL: "student",
    "kd.alpha": "α",  # noqa: RUF001
    "kd.temperature": "T",
    "kd.method": "method",
    "train.lr": "learning rate",
    "augment.kind": "augmentation",
    "teacher.epochs": "teacher's epochs",
}


def plain(value: Any) -> Any:
    """A table's value as JSON knows it; NaN and missing become None."""
    if isinstance(value, np.ndarray | list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or value is pd.NA or value is pd.NaT:
        return None
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if isinstance(value, str | bool | int | float) else str(value)


def text(value: Any) -> str:
    """A level or setting in as few characters as say it; 100 and 100.0 are one level."""
    value = plain(value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{int(value)}" if value.is_integer() and abs(value) < 1e15 else f"{value:.3g}"
    if isinstance(value, list):
        return ", ".join(text(item) for item in value)
    return "–" if value is None else str(value)


def name(key: str) -> str:
    """A key in plain words."""
    return NAMES.get(key, key.rpartition(".")[2].replace("_", " "))


def level(key: str, value: Any) -> str:
    """One level of a condition, readable on its own."""
    shown = text(value)
    if key in ("data.source", names.STUDENT_MODEL):
        return shown
    if key == "data.size":
        return f"{shown} images"
    if key == names.STUDENT_SIDE:
        return f"at {shown} px" if value is not None else "at the images' size"
    if key == "teacher.epochs":
        return f"teacher of {shown} epoch{'s' * (shown != '1')}"
    if key == "augment.kind":
        return "no augmentation" if shown == "none" else f"{shown} augmentation"
    return f"{name(key)} {shown}"


def label(cell: Mapping[str, Any]) -> str:
    """A cell in plain words."""
    return ", ".join(level(key, value) for key, value in cell.items()) or "the whole study"


def settings(config: Mapping[str, Any], keys: Sequence[str]) -> str:
    """The settings of `keys` that a configuration has, on one line; not those of a method that it does not use."""
    used = config.get("kd.method")
    own = [key for key in keys if config.get(key) is not None and (used is None or methods.counts(key, used))]
    return ", ".join(f"{_short(key)} {_rounded(config[key])}" for key in own)


def _short(key: str) -> str:
    return "lr" if key == "train.lr" else name(key)


def _rounded(value: Any) -> str:
    small = isinstance(value, float) and 0 < abs(value) < 1
    return f"{value:.2g}".replace("e-0", "e-") if small else text(value)


def key_of(cell: Mapping[str, Any]) -> tuple[str, ...]:
    """What tells cells apart, whatever type a level was stored as."""
    return tuple(text(value) for value in cell.values())


def levels(study: Mapping[str, Any]) -> dict[str, list[Any]]:
    """The study's conditions and their levels in the order in which they were written."""
    conditions = study.get("conditions")
    if not isinstance(conditions, Mapping):
        return {}
    return {str(key): list(value) if isinstance(value, list | tuple) else [] for key, value in conditions.items()}


def searched(study: Mapping[str, Any], trials: pd.DataFrame) -> list[str]:
    """The keys that the search chose: the study's own list, else every setting that varied."""
    search = study.get("search")
    if isinstance(search, Mapping) and search:
        return [str(key) for key in search]
    columns = [column for column in trials.columns if column.startswith(CONFIG_PREFIX)]
    varied = [column for column in columns if trials[column].map(text).nunique() > 1]
    return [column.removeprefix(CONFIG_PREFIX) for column in varied if _key(column) not in levels(study)]


def cells(study: Mapping[str, Any], *frames: pd.DataFrame) -> list[Cell]:
    """Every cell that was planned or measured, in the study's order."""
    planned = levels(study)
    columns = dict.fromkeys(column for frame in frames for column in frame.columns if column.startswith(CELL_PREFIX))
    factors = [*planned, *(_key(column) for column in columns if _key(column) not in planned)]
    found = itertools.product(*planned.values()) if planned and all(planned.values()) else iter(())
    unique = {key_of(cell): cell for cell in (dict(zip(planned, values, strict=True)) for values in found)}
    for frame in frames:
        for cell in _observed(frame, factors):
            unique.setdefault(key_of(cell), cell)
    return [cell for cell in unique.values() if len(cell) == len(factors)] or [{}]


def _key(column: str) -> str:
    return column.partition(".")[2]


def _observed(frame: pd.DataFrame, factors: Iterable[str]) -> list[Cell]:
    columns = [CELL_PREFIX + factor for factor in factors]
    if frame.empty or not columns or not set(columns) <= set(frame.columns):
        return []
    rows = frame[columns].dropna().drop_duplicates().itertuples(index=False, name=None)
    return [dict(zip(factors, map(plain, row), strict=True)) for row in rows]


def rows(frame: pd.DataFrame, cell: Mapping[str, Any], arm: str) -> pd.DataFrame:
    """The rows of one arm of one cell."""
    if frame.empty or "arm" not in frame:
        return frame.iloc[:0]
    found = frame[frame["arm"] == arm]
    for key, value in cell.items():
        # The model of a front's point is no condition but a setting.
        column = next((prefix + key for prefix in (CELL_PREFIX, CONFIG_PREFIX) if prefix + key in found), None)
        if column:
            found = found[_is_level(found[column], text(value))]
    return found


def _is_level(column: pd.Series, level: str) -> Any:
    """Which rows have a level, or none: cells that differ only in how they distil share one scratch arm.

    Each of a column's few values is compared once, not each of its many rows.
    """
    codes, values = pd.factorize(column, use_na_sentinel=False)
    return np.array([plain(value) is None or text(value) == level for value in values], dtype=bool)[codes]


def config_of(row: Mapping[Any, Any], arm: str) -> dict[str, Any]:
    """A row's settings, without those that its arm does not use."""
    found = {str(key).removeprefix(CONFIG_PREFIX): plain(value) for key, value in row.items() if _is_config(key)}
    unused = DISTILLATION if arm == SCRATCH else ()
    return {key: value for key, value in found.items() if value is not None and not key.startswith(unused)}


def _is_config(key: object) -> bool:
    return str(key).startswith(CONFIG_PREFIX)

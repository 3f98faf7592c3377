"""What several charts ask of the trials' table."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from tune_kd.names import COMPLETE, CONFIG_PREFIX, FAIL, PRUNED
from tune_kd.summary import cells, words
from tune_kd.summary.statistics import finite

Arm = tuple[Mapping[str, Any], str, pd.DataFrame]
"""A cell of the verdict, an arm of it, and that arm's trials."""
Row = Mapping[Any, Any]

ENDS = {COMPLETE: "trained to the end,", PRUNED: "stopped after", FAIL: "failed after"}


def arms_of(verdict: Mapping[str, Any], trials: pd.DataFrame) -> list[Arm]:
    """Every arm that has trials."""
    found = [(cell, arm, cells.rows(trials, cell["cell"], arm)) for cell in verdict["cells"] for arm in cells.ARMS]
    return [one for one in found if len(one[2])]


def records(frame: pd.DataFrame) -> list[Row]:
    """The rows of a table as mappings."""
    return [dict(row) for row in frame.to_dict("records")]


def once(finals: pd.DataFrame) -> pd.DataFrame:
    """Each final as it was trained: the control of several cells stands in the table once for each of them."""
    key = [column for column in ("arm", "seed", "started", "mlflow_run_id") if column in finals]
    return finals.drop_duplicates(key) if "started" in key else finals


def scored(frame: pd.DataFrame) -> pd.DataFrame:
    """The trials that have a validation accuracy."""
    return frame[frame["value"].map(finite).notna()]


def numbers(frame: pd.DataFrame, key: str) -> list[float]:
    """The values that a numeric setting took."""
    column = frame.get(CONFIG_PREFIX + key)
    found = [finite(value) for value in column] if column is not None else []
    return [value for value in found if value is not None]


def curve_of(row: Row) -> list[tuple[int, float]]:
    """(epoch, validation accuracy) of a trial."""
    values = row.get("curve")
    listed = list(values) if isinstance(values, list | tuple | np.ndarray) else []
    found = [(epoch, finite(value)) for epoch, value in enumerate(listed, start=1)]
    return [(epoch, value) for epoch, value in found if value is not None]


def is_chosen(cell: Mapping[str, Any], arm: str, row: Row) -> bool:
    """Whether this trial's settings went to the finals."""
    chosen = [point[arm]["trial"] for point in cell.get("front") or [cell] if point[arm]]
    return cells.plain(row.get("number")) in [number for number in chosen if number is not None]


def tip(row: Row, arm: str, keys: Sequence[str]) -> str:
    """What hovering over a trial says."""
    value, why = finite(row.get("value")), cells.plain(row.get("stop_reason"))
    epochs = cells.text(row.get("epochs"))
    end = f"{ENDS.get(str(row.get('state')), '')} {epochs} epoch{'s' * (epochs != '1')}{f': {why}' if why else ''}"
    accuracy = f"validation {words.percent(value)} %" if value is not None else "no validation accuracy"
    settings = cells.settings(cells.config_of(row, arm), keys)
    return f"trial {cells.text(row.get('number'))}, {arm}\n{accuracy}\n{end.strip()}\n{settings}"

"""The ledger as the tables that everything after the search is computed from."""

import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from optuna.trial import FrozenTrial

from tune_kd import names
from tune_kd.plan import Arm, Plan
from tune_kd.space.designs import called
from tune_kd.storage.files import replace
from tune_kd.tuning.entry import RESULT, SECONDS, Entry, best_weights, kept_value
from tune_kd.tuning.ledger import Ledger

RUN_ID = "mlflow_run_id"

COMMON = ("epochs", "seconds", "seed", RUN_ID, "curve", "started", "ended")
"""What a table has even where it has no row."""


def trials_table(plan: Plan, ledger: Ledger, size: Callable[[Entry], int]) -> pd.DataFrame:
    """A row a trial; `size` counts the parameters of what one trains."""
    runs = ledger.run_ids()
    rows = [
        {"number": entry.serial, "arm": arm.name, "state": trial.state.name, **_common(entry, trial, runs)}
        | {names.STOP_REASON: trial.user_attrs.get(names.STOP_REASON, "")}
        | {"value": kept_value(plan.study, trial) if trial.intermediate_values else math.nan}
        | _confirmed(plan, ledger, arm, entry)
        | {names.PARAMETERS: size(entry)}
        | _cost(ledger, entry)
        | _settings(arm.cell, entry)
        for arm in plan.arms
        for entry, trial in ledger.entries(arm)
    ]
    columns = ["number", "arm", "state", names.STOP_REASON, "value", names.PARAMETERS, *COMMON]
    return _frame(sorted(rows, key=lambda row: row["number"]), columns)


def finals_table(plan: Plan, ledger: Ledger, kept: str) -> pd.DataFrame:
    """A row a final, failed ones too; one that serves as control of several cells stands in each of them. Weights lie
    below `kept`."""
    runs, score = ledger.run_ids(), names.validated(plan.study.objective.metric)
    rows = [
        {"arm": entry.arm.name, "state": trial.state.name, **_common(entry, trial, runs)}
        | {names.STOP_REASON: trial.user_attrs.get(names.STOP_REASON, "")}
        | {score: kept_value(plan.study, trial) if trial.intermediate_values else math.nan}
        | {names.TEST_ACCURACY: math.nan, **trial.user_attrs.get(RESULT, {})}
        | {names.WEIGHTS: kept + best_weights(entry.saved) if RESULT in trial.user_attrs else ""}
        | _cost(ledger, entry)
        | _settings(cell, entry)
        for arm in plan.arms
        for entry, trial in ledger.finals(arm)
        if trial.state.is_finished()
        for cell in _cells_of(plan, entry)
    ]
    return _frame(rows, ["arm", "state", names.TEST_ACCURACY, score, names.WEIGHTS, *COMMON])


def write(table: pd.DataFrame, path: Path) -> None:
    """Whole or not at all."""
    replace(path, table.to_parquet(index=False))


def _cells_of(plan: Plan, entry: Entry) -> Iterator[Mapping[str, Any]]:
    return (cell for cell in plan.cells if plan.arm(cell, entry.arm.name) == entry.arm)


def _common(entry: Entry, trial: FrozenTrial, runs: Mapping[str, str]) -> dict[str, Any]:
    return {
        "epochs": len(trial.intermediate_values),
        "seconds": float(trial.user_attrs.get(SECONDS, 0.0)),
        "seed": entry.seed,
        RUN_ID: runs.get(entry.key, ""),
        "curve": [value for _, value in sorted(trial.intermediate_values.items())],
        "started": trial.datetime_start.timestamp() if trial.datetime_start else float("nan"),
        "ended": trial.datetime_complete.timestamp() if trial.datetime_complete else float("nan"),
    }


def _confirmed(plan: Plan, ledger: Ledger, arm: Arm, entry: Entry) -> dict[str, list[float]]:
    """What its setting reached on other seeds, where the study asks for that."""
    again = ledger.again(names.CONFIRMATION, arm) if plan.study.budget.confirmations else ()
    values = [
        kept_value(plan.study, trial)
        for one, trial in again
        if one.config == entry.config and trial.intermediate_values
    ]
    return {"confirmed": values} if plan.study.budget.confirmations else {}


def _cost(ledger: Ledger, entry: Entry) -> dict[str, float]:
    cost = ledger.cost(called(entry.config))
    return {} if cost is None else {names.COST: cost}


def _settings(cell: Mapping[str, Any], entry: Entry) -> dict[str, Any]:
    """How it distils says nothing of a student without a teacher."""
    untaught = entry.arm.name not in names.TAUGHT
    return {names.CELL_PREFIX + key: level for key, level in cell.items()} | {
        names.CONFIG_PREFIX + key: None if untaught and key.startswith(names.TAUGHT_KEYS) else value
        for key, value in entry.config.items()
    }


def _frame(rows: list[dict[str, Any]], columns: list[str]) -> pd.DataFrame:
    """A table whose columns each have one type: where a setting mixes numbers and words, it is words."""
    table = pd.DataFrame(rows) if rows else pd.DataFrame(columns=columns)
    for column in table.columns:
        if len({type(value) for value in table[column].dropna()} - {int, float}) and column.startswith(
            (names.CELL_PREFIX, names.CONFIG_PREFIX)
        ):
            # What a row lacks is NaN, the only value that is not itself.
            table[column] = table[column].map(
                lambda value: str(value) if value == value and value is not None else None
            )
    return table

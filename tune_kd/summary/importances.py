"""How much each setting mattered, by Optuna's PED-ANOVA and fANOVA, over trials of equal budget."""

import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pandas as pd

from tune_kd.names import COMPLETE, CONFIG_PREFIX
from tune_kd.summary import cells
from tune_kd.summary.statistics import finite

if TYPE_CHECKING:
    import optuna

ENOUGH: Final = 10
"""Trials below which an importance would be noise."""
LOG_RATIO: Final = 50
"""A positive range wider than this was searched on a logarithmic scale."""


def importances(study: Mapping[str, Any], trials: pd.DataFrame) -> list[dict[str, Any]]:
    """Per arm of each cell: {cell, arm, trials, epochs, values: {evaluator: {key: share}}}."""
    keys = cells.searched(study, trials)
    found = []
    for cell in cells.cells(study, trials):
        for arm in cells.ARMS:
            tried = cells.rows(trials, cell, arm)
            epochs, scores = equal_budget(tried)
            values = _evaluate(tried.loc[list(scores)], list(scores.values()), keys) if len(scores) >= ENOUGH else {}
            if values:
                counts = {"trials": len(scores), "epochs": epochs}
                found.append({"cell": cells.plain(cell), "arm": arm, **counts, "values": values})
    return found


def equal_budget(trials: pd.DataFrame) -> tuple[int, dict[Any, float]]:
    """The deepest epoch that enough trials reached, and each one's best validation accuracy up to it.

    Early stopping leaves few complete trials, and their final values cannot be compared with a stopped one's. Up to
    an epoch that all of them reached every trial had the same budget, so there nothing is unfair.
    """
    complete = trials[trials["state"] == COMPLETE] if "state" in trials else trials
    scores = {index: finite(value) for index, value in complete["value"].items()} if "value" in trials else {}
    known = {index: value for index, value in scores.items() if value is not None}
    if len(known) >= ENOUGH and "epochs" in complete and complete["epochs"].nunique() == 1:
        return int(complete["epochs"].iloc[0]), known
    curves = {index: _curve(value) for index, value in trials["curve"].items()} if "curve" in trials else {}
    lengths = sorted((len(curve) for curve in curves.values() if curve), reverse=True)
    if len(lengths) < ENOUGH:
        return 0, {}
    depth = lengths[max(ENOUGH, round(0.8 * len(lengths))) - 1]
    return depth, {index: max(curve[:depth]) for index, curve in curves.items() if len(curve) >= depth}


def _curve(value: Any) -> list[float]:
    found = [finite(item) for item in value] if isinstance(value, list | tuple | np.ndarray) else []
    return [item for item in found if item is not None]


def _evaluate(tried: pd.DataFrame, scores: Sequence[float], keys: Sequence[str]) -> dict[str, dict[str, float]]:
    """Both evaluators' shares, adding up to one; empty where there is nothing to share."""
    import optuna

    varied = [key for key in keys if _varied(tried, key)]
    if len(varied) < 2 or max(scores) - min(scores) <= 0:
        return {}
    study = _study(tried, scores, varied)
    evaluators = {
        "PED-ANOVA": optuna.importance.PedAnovaImportanceEvaluator(target_quantile=0.25),
        "fANOVA": optuna.importance.FanovaImportanceEvaluator(n_trees=32, seed=0),
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return {
            name: _shares(optuna.importance.get_param_importances(study, evaluator=evaluator), varied)
            for name, evaluator in evaluators.items()
        }


def _varied(tried: pd.DataFrame, key: str) -> bool:
    column = tried.get(CONFIG_PREFIX + key)
    return column is not None and bool(column.notna().all()) and column.map(cells.text).nunique() > 1


def _shares(values: Mapping[str, float], keys: Sequence[str]) -> dict[str, float]:
    found = {key: finite(values.get(key)) or 0.0 for key in keys}
    total = sum(found.values())
    return {key: value / total if total else 0.0 for key, value in found.items()}


def _study(tried: pd.DataFrame, scores: Sequence[float], keys: Sequence[str]) -> "optuna.Study":
    """An in-memory study of these trials, over the ranges that they covered."""
    import optuna

    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(direction="maximize")
    optuna.logging.set_verbosity(verbosity)
    columns = {key: [cells.plain(value) for value in tried[CONFIG_PREFIX + key]] for key in keys}
    distributions = {key: _distribution(values) for key, values in columns.items()}
    for place, score in enumerate(scores):
        params = {key: _fit(values[place], distributions[key]) for key, values in columns.items()}
        study.add_trial(optuna.create_trial(params=params, distributions=distributions, value=score))
    return study


def _distribution(values: Sequence[Any]) -> "optuna.distributions.BaseDistribution":
    from optuna.distributions import CategoricalDistribution, FloatDistribution

    if any(isinstance(value, bool) or not isinstance(value, int | float) for value in values):
        return CategoricalDistribution(sorted({cells.text(value) for value in values}))
    low, high = float(min(values)), float(max(values))
    return FloatDistribution(low, high, log=low > 0 and high / low > LOG_RATIO)


def _fit(value: Any, distribution: "optuna.distributions.BaseDistribution") -> Any:
    from optuna.distributions import CategoricalDistribution

    return cells.text(value) if isinstance(distribution, CategoricalDistribution) else float(value)

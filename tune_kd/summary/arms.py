"""One arm of one cell: what its finals measured, summed up."""

import json
from collections.abc import Mapping
from typing import Any, Final

import pandas as pd

from tune_kd import names
from tune_kd.summary import cells
from tune_kd.summary.statistics import finite, mean_sd
from tune_kd.summary.trials import Row, records, scored

MEANS: Final = (
    names.TEST_ACCURACY,
    names.TEST_BALANCED,
    names.TEST_F1,
    names.TEST_NLL,
    names.TEST_ECE,
    names.TEST_PRECISION,
    names.TEST_RECALL,
    names.TEACHER_AGREEMENT,
    names.SECONDS,
)
COSTS: Final = (
    names.PARAMETERS,
    names.SIZE_MB,
    names.MACS,
    names.LATENCY_1_MS,
    names.LATENCY_1_P95_MS,
    names.LATENCY_N_MS,
    names.LATENCY_N_P95_MS,
)
LATENCIES: Final = COSTS[3:]
EFFICIENCY: Final = "efficiency"


def share_latencies(finals: pd.DataFrame) -> pd.DataFrame:
    """One latency for one architecture: what differs between its copies is the machine's noise, not the model."""
    measured = [key for key in LATENCIES if key in finals]
    same = [
        key for key in (names.PARAMETERS, names.MACS, f"{names.CONFIG_PREFIX}{names.STUDENT_MODEL}") if key in finals
    ]
    if finals.empty or not measured or not same:
        return finals
    groups = finals.groupby(same, dropna=False)
    return finals.assign(**{key: groups[key].transform("median") for key in measured})


def scored_by(finals: pd.DataFrame, metric: str) -> pd.DataFrame:
    """With what is compared under names of its own, whatever the study chooses by."""
    columns = {names.SCORE: names.tested(metric), names.CHOSEN_BY: names.validated(metric)}
    return finals.assign(**{new: finals[old] for new, old in columns.items() if old in finals})


def candidates(finals: pd.DataFrame, arm: str) -> list[tuple[dict[str, Any], pd.DataFrame]]:
    """Finals by configuration, best validation first: a search with one objective has one, a front has several. Those
    that failed are among them."""
    if finals.empty or names.SCORE not in finals:
        return []
    groups: dict[str, list[Any]] = {}
    for index, row in zip(finals.index, records(finals), strict=True):
        groups.setdefault(json.dumps(cells.config_of(row, arm), sort_keys=True), []).append(index)
    found = [(json.loads(config), finals.loc[indices]) for config, indices in groups.items()]
    return sorted(found, key=lambda one: _average(one[1], names.CHOSEN_BY) or 0.0, reverse=True)


def tested(finals: pd.DataFrame) -> pd.DataFrame:
    """Those that came to something."""
    return finals if finals.empty else finals[finals[names.SCORE].map(finite).notna()]


def by_seed(finals: pd.DataFrame) -> dict[int, float]:
    """What a final reached on test images, by seed; of a seed that was run twice the later counts."""
    pairs = zip(finals["seed"], finals[names.SCORE], strict=True)
    return {int(seed): float(accuracy) for seed, accuracy in pairs}


def summarise(config: Mapping[str, Any], finals: pd.DataFrame, trials: pd.DataFrame) -> dict[str, Any]:
    """The arm's part of the verdict."""
    scores = by_seed(finals)
    mean, sd = mean_sd(list(scores.values()))
    chosen = selected(trials, config)
    validation = finite(chosen["value"]) if chosen is not None else _average(finals, names.CHOSEN_BY)
    optimism = validation - mean if validation is not None and mean is not None else None
    summary: dict[str, Any] = {"mean": mean, "sd": sd, "n": len(scores), "values": list(scores.values())}
    summary |= {"seeds": list(scores), "config": dict(config), "validation": validation, "optimism": optimism}
    summary["trial"] = cells.plain(chosen["number"]) if chosen is not None else None
    summary |= {key: _average(finals, key) for key in (names.CHOSEN_BY, *MEANS)}
    summary |= {key: _middle(finals, key) for key in COSTS}
    summary[EFFICIENCY] = efficiency(mean, summary[names.LATENCY_1_MS])
    summary[names.PER_CLASS] = _per_class(finals)
    return summary


def efficiency(accuracy: float | None, latency: float | None) -> float | None:
    """Points of accuracy for each millisecond that one image takes."""
    return 100 * accuracy / latency if accuracy is not None and latency else None


def selected(trials: pd.DataFrame, config: Mapping[str, Any]) -> Row | None:
    """The trial whose validation accuracy chose this configuration: the best that trained to the end with it."""
    if trials.empty:
        return None
    complete = [row for row in records(scored(trials)) if row["state"] == names.COMPLETE]
    same = [row for row in complete if _same(row, config)]
    return max(same or complete, key=lambda row: float(row["value"]), default=None)


def _same(row: Row, config: Mapping[str, Any]) -> bool:
    """Whether a trial had these settings, as far as both tables name them."""
    tried = cells.config_of(row, "")
    return all(tried[key] == config[key] for key in tried.keys() & config.keys())


def _numbers(finals: pd.DataFrame, key: str) -> list[float]:
    found = (finite(value) for value in finals[key]) if key in finals else iter(())
    return [value for value in found if value is not None]


def _average(finals: pd.DataFrame, key: str) -> float | None:
    return mean_sd(_numbers(finals, key))[0]


def _middle(finals: pd.DataFrame, key: str) -> float | None:
    """The median: a latency measured on a busy machine should not move the others."""
    numbers = _numbers(finals, key)
    return float(pd.Series(numbers).median()) if numbers else None


def _per_class(finals: pd.DataFrame) -> list[float | None]:
    """Mean accuracy of each class over the seeds."""
    if names.PER_CLASS not in finals:
        return []
    lists = [cells.plain(value) for value in finals[names.PER_CLASS]]
    rows = [row for row in lists if isinstance(row, list) and row]
    if not rows or len({len(row) for row in rows}) > 1:
        return []
    return [mean_sd([value for value in column if value is not None])[0] for column in zip(*rows, strict=True)]

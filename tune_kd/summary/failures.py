"""Finals that came to nothing: those that failed, and those that fell far below the others. Both count."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from tune_kd import names
from tune_kd.names import DISTILLED, SCRATCH
from tune_kd.summary import cells, statistics
from tune_kd.summary.statistics import HELPS, NO_DIFFERENCE, Gain

Failed = dict[str, Any]
"""How many finals of an arm failed, of how many, and why: {failed, of, why: {reason: times}, seeds}."""


def count(finals: pd.DataFrame) -> Failed:
    """Of the finals of one arm's configuration; one that reached nothing on test images has failed."""
    if finals.empty:
        return {"failed": 0, "of": 0, "why": {}, "seeds": []}
    gone = finals[finals[names.SCORE].map(statistics.finite).isna()]
    reasons = gone[names.STOP_REASON].map(cells.plain) if names.STOP_REASON in gone else [None] * len(gone)
    why = Counter(str(reason or "for a reason that is not known") for reason in reasons)
    return {"failed": len(gone), "of": len(finals), "why": dict(why), "seeds": [int(seed) for seed in gone["seed"]]}


def as_chance(scores: Mapping[int, float], failed: Failed, chance: float) -> dict[int, float]:
    """An arm's accuracies by seed with each failed final at what guessing would reach."""
    return {**scores, **dict.fromkeys(failed["seeds"], chance)}


def chance_level(finals: pd.DataFrame, facts: Mapping[str, Any]) -> float:
    """What guessing reaches; 0, the harshest, where nobody knows how many classes there are."""
    known = facts.get("classes")
    lists: Iterable[Any] = finals[names.PER_CLASS].map(cells.plain) if names.PER_CLASS in finals else []
    classes = len(known) if isinstance(known, list) else max((len(one) for one in lists if one), default=0)
    return 1 / classes if classes else 0.0


def judged_p(cell: Mapping[str, Any]) -> float | None:
    """The p that a word rests on: an arm that lost finals must win with these counted as chance as well."""
    gain = cell["gain"]
    p: float | None = gain["p_uncorrected"]
    if p is None or not cell["failed"][_favoured(gain)]["failed"]:
        return p
    other = (gain["with_failed"] or {}).get("p")
    return None if other is None else max(p, other)


def word(cell: Mapping[str, Any], corrected: float | None) -> str:
    """The word of interval and corrected p, unless it rests on the finals alone that came to something.

    The second opinion must point the same way. An arm that lost finals is favoured only where that holds with these as
    chance; one whose finals collapsed, only where the middle pairs alone say so as well.
    """
    gain = cell["gain"]
    said = statistics.word(gain["low"], gain["high"], corrected)
    if said == NO_DIFFERENCE:
        return said
    arm, sign = _favoured(gain), 1 if said == HELPS else -1
    second, counted = gain["trimmed"], gain["with_failed"]
    if second and sign * second["mean"] <= 0:
        return NO_DIFFERENCE
    if cell["failed"][arm]["failed"] and not _excludes_zero(counted, sign):
        return NO_DIFFERENCE
    if fallen(cell[arm]) and not _excludes_zero(second, sign):
        return NO_DIFFERENCE
    return said


def fallen(arm: Mapping[str, Any] | None) -> list[float]:
    return statistics.fallen_from(arm["values"])[1] if arm else []


def lost(arm: Mapping[str, Any] | None, failed: Failed) -> dict[str, float] | None:
    """Finals that failed or fell, and the share of all trainings that could: a few need not show what is rare."""
    if not failed["of"]:
        return None
    times = failed["failed"] + len(fallen(arm))
    return {"lost": times, "of": failed["of"], "at_most": statistics.at_most(times, failed["of"])}


def numbers(gain: Gain | None) -> dict[str, float | None] | None:
    """A second look at the gain, as it stands in the verdict."""
    return None if gain is None else {"mean": gain.mean, "low": gain.low, "high": gain.high, "p": gain.p}


def all_failed(failed: Failed, arm: str) -> str:
    """Why an arm has nothing to compare, where it was trained and nothing came of it."""
    if not failed["of"] or failed["failed"] < failed["of"]:
        return ""
    return f"all {failed['of']} finals of the {arm} arm failed ({reasons(failed)})"


def reasons(failed: Failed) -> str:
    found: Sequence[tuple[str, int]] = list(failed["why"].items())
    return "; ".join(f"{times} times: {why}" if times > 1 else why for why, times in found)


def _favoured(gain: Mapping[str, Any]) -> str:
    return DISTILLED if (gain["mean"] or 0.0) > 0 else SCRATCH


def _excludes_zero(opinion: Mapping[str, Any] | None, sign: int) -> bool:
    if opinion is None or opinion["low"] is None:
        return False
    return bool(opinion["low"] > 0 if sign > 0 else opinion["high"] < 0)

"""The paired comparison behind every word of the verdict.

Finals are paired by seed: both arms start from the same weights and see the images in the same order. How much of a
training's luck that takes out is measured: the pairs' correlation stands beside the gain. The interval is Student's t
on the differences. For five pairs that is the right tool: it is exact when differences are about normal, and it pays
for estimating their spread from so few (2.78 standard errors at five pairs, where a normal interval would take 1.96).
A bootstrap of five differences knows only five numbers, so it covers far less than it promises (84 % where it says
95 %); a sign test of five pairs cannot reach p < .05 at all.

Beside it stands a second opinion that one wild pair cannot sway: the mean without the lowest and highest fifth, with
Yuen's interval (Biometrika 61, 1974).
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from scipy import special

LEVEL: Final = 0.05
HELPS: Final = "helps"
HURTS: Final = "hurts"
NO_DIFFERENCE: Final = "no difference shown"

TRIM: Final = 0.2
FIRST_SHARE: Final = 0.8

SAME: Final = 1e-9
"""Accuracies closer than this differ by rounding only."""


@dataclass(frozen=True)
class Gain:
    """Mean paired difference distilled - scratch; what could not be computed is None and `reason` says why."""

    pairs: tuple[float, ...]
    mean: float | None = None
    low: float | None = None
    high: float | None = None
    p: float | None = None
    reason: str = ""
    correlation: float | None = None
    """Of the two arms over their seeds: what pairing is worth."""


@dataclass(frozen=True)
class Trimmed:
    """The mean of the middle pairs, with Yuen's interval."""

    mean: float
    low: float
    high: float
    p: float


def finite(value: object) -> float | None:
    """A number that can stand in JSON, or None."""
    if isinstance(value, bool) or not isinstance(value, (int, float, np.integer, np.floating)):
        return None
    return float(value) if math.isfinite(value) else None


def mean_sd(values: Sequence[float]) -> tuple[float | None, float | None]:
    """Mean and sample standard deviation; one value has no spread."""
    if not values:
        return None, None
    return float(np.mean(values)), float(np.std(values, ddof=1)) if len(values) > 1 else None


def fallen_from(values: Sequence[float]) -> tuple[list[float], list[float]]:
    """The accuracies that belong together, and those that lie far below them: by ten points and ten times the spread.

    The spread is the median distance from the median, which one collapse among five does not move.
    """
    if len(values) < 4:
        return list(values), []
    middle = float(np.median(values))
    spread = float(np.median(np.abs(np.asarray(values) - middle)))
    lowest = middle - max(0.1, 10 * spread)
    return [value for value in values if value >= lowest], [value for value in values if value < lowest]


def at_most(times: int, of: int) -> float:
    """How often something can happen that was seen so many times: exact binomial bound, 95 % (Clopper, Pearson)."""
    return 1.0 if times >= of else float(special.betaincinv(times + 1, of - times, 1 - LEVEL))


def resolution(values: Iterable[float]) -> float:
    """The smallest step between accuracies that were measured, 0 where all are the same."""
    steps = np.diff(np.sort(np.fromiter(values, dtype=float)))
    steps = steps[steps > SAME]
    return float(steps.min()) if steps.size else 0.0


def gain(distilled: Mapping[int, float], scratch: Mapping[int, float], step: float = 0.0) -> Gain:
    """Compare two arms by seed. `step` stands in for the spread where every pair differs by the same amount."""
    seeds = sorted(set(distilled) & set(scratch))
    pairs = tuple(distilled[seed] - scratch[seed] for seed in seeds)
    if not pairs:
        return Gain(pairs, reason="no seed has a final of both arms")
    mean = float(np.mean(pairs))
    if len(pairs) == 1:
        return Gain(pairs, mean, reason="one pair of seeds has no interval; at least two repeats are needed")
    spread = float(np.std(pairs, ddof=1))
    if spread > SAME:
        found = _student(pairs, mean, spread, "")
        return replace(found, correlation=_correlation([distilled[s] for s in seeds], [scratch[s] for s in seeds]))
    if abs(mean) <= SAME:
        return Gain(pairs, 0.0, 0.0, 0.0, 1.0, "both arms scored the same on every seed")
    if step <= SAME:
        return Gain(pairs, mean, reason="every pair differs by the same amount, so the spread cannot be estimated")
    reason = f"every pair differs by the same amount; the accuracy's smallest step, {100 * step:.2g} points, stands in"
    return _student(pairs, mean, step, f"{reason} for the spread")


def _student(pairs: tuple[float, ...], mean: float, spread: float, reason: str) -> Gain:
    freedom = len(pairs) - 1
    error = spread / math.sqrt(len(pairs))
    half = float(special.stdtrit(freedom, 1 - LEVEL / 2)) * error
    p = float(2 * special.stdtr(freedom, -abs(mean) / error))
    return Gain(pairs, mean, mean - half, mean + half, p, reason)


def _correlation(one: Sequence[float], other: Sequence[float]) -> float | None:
    if len(one) < 3 or min(np.std(one), np.std(other)) <= SAME:
        return None
    return float(np.corrcoef(one, other)[0, 1])


def trimmed(pairs: Sequence[float]) -> Trimmed | None:
    """The second opinion; below five pairs nothing can be trimmed."""
    count, cut = len(pairs), int(TRIM * len(pairs))
    if not cut:
        return None
    ordered = np.sort(np.asarray(pairs))
    mean = float(ordered[cut : count - cut].mean())
    winsorized = np.clip(ordered, ordered[cut], ordered[count - cut - 1])
    error = float(np.std(winsorized, ddof=1)) / ((1 - 2 * cut / count) * math.sqrt(count))
    if error <= SAME:
        return None
    freedom = count - 2 * cut - 1
    half = float(special.stdtrit(freedom, 1 - LEVEL / 2)) * error
    return Trimmed(mean, mean - half, mean + half, float(2 * special.stdtr(freedom, -abs(mean) / error)))


def share_of(look: int) -> float:
    """The share of LEVEL that the look numbered `look` may spend, from 1: four fifths of what those before it left.

    However often somebody looks, all shares together are less than one (alpha spending: Lan and DeMets, Biometrika 70,
    1983; the portions are fixed beforehand and simply added, as the number of looks is not known).
    """
    return FIRST_SHARE * (1 - FIRST_SHARE) ** (max(1, look) - 1)


def holm(values: Sequence[float | None]) -> list[float | None]:
    """Holm's step-down correction; what is None stays None and does not count."""
    order = sorted((p, place) for place, p in enumerate(values) if p is not None)
    corrected: list[float | None] = [None] * len(values)
    highest = 0.0
    for rank, (p, place) in enumerate(order):
        highest = max(highest, min(1.0, p * (len(order) - rank)))
        corrected[place] = highest
    return corrected


def word(low: float | None, high: float | None, p: float | None) -> str:
    """The word that interval and corrected p carry, and no stronger one."""
    if low is None or high is None or p is None or p >= LEVEL:
        return NO_DIFFERENCE
    return HELPS if low > 0 else HURTS if high < 0 else NO_DIFFERENCE

"""The paired comparison behind every word of the verdict.

Finals are paired by seed: both arms start from the same weights and see the images in the same order, so most of the
luck of a training cancels in the difference. The interval is Student's t on those differences. For five pairs that is
the right tool: it is exact when differences are about normal, and it pays for estimating their spread from so few
(2.78 standard errors at five pairs, where a normal interval would take 1.96). A bootstrap of five differences knows
only five numbers, so it covers far less than it promises (84 % where it says 95 %); a sign test of five pairs
cannot reach p < .05 at all.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy import special

LEVEL: Final = 0.05
HELPS: Final = "helps"
HURTS: Final = "hurts"
NO_DIFFERENCE: Final = "no difference shown"

METHOD: Final = (
    "Differences are paired by seed and averaged; the 95 % interval is Student's paired t. With few pairs it is the "
    "right one: it is exact when differences are about normal, and it allows for having estimated their spread from "
    "so few. A bootstrap of five differences covers only 84 % where it promises 95 %. p is the paired t test, "
    "corrected over all cells by Holm's method. A cell helps or hurts only where the interval excludes zero and the "
    "corrected p is below .05. The interval speaks about retraining with new seeds on these images and these test "
    "images, not about other data. Where images are augmented, all finals are shown the same views of an image, one an "
    "epoch, each final in an order of its own: what other views would change is not in the interval."
)

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
        return _student(pairs, mean, spread, "")
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

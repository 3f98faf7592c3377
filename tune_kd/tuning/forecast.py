"""What a training will reach, forecast from its settings and its curve so far, as earlier searches of relatives teach.

Everything is a rank within an arm: an easy cell and a difficult one teach each other, and a forecast says where among
its mates a training will end. It has to earn its vote: at an epoch it may rank only if, on arms that it has not learned
from, it ranks better than what trainings have shown by then. Then it counts as much as what they show at the latest
rung that it still beats.

It learns in a thread, before the first rung is reached, from what was there when the search began: what other arms do
meanwhile depends on who runs when, and the same seed with the same experience is to give the same search.
"""

from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Numbers = NDArray[np.float64]

TREES: Final = 100
LEAF: Final = 3
"""Ends of fewer trainings than these are no rule but chance."""
HOPE: Final = 0.5
"""Of the trees' standard deviation, on top of their mean: what they disagree about is worth another look."""
FEW: Final = 4
"""Ranks of fewer say nothing."""
NEARLY_ALL: Final = 0.8
END: Final = 3
"""What a training reaches is the mean of so many last epochs, which one lucky epoch cannot raise."""

Settings = Mapping[str, Any]


@dataclass(frozen=True)
class Past:
    """An arm of an earlier search: its trials' settings, and their accuracies epoch by epoch as far as they came."""

    cell: str
    arm: str
    epochs: int
    configs: tuple[Settings, ...]
    curves: tuple[tuple[float, ...], ...]

    def half(self, which: int) -> "Past":
        return replace(self, configs=self.configs[which::2], curves=self.curves[which::2])

    @property
    def ran_through(self) -> "Past | None":
        """What of it can teach: trainings that reached the end, of an arm in which nearly all did.

        Those that a rule let through are no fair sample: among them whatever else ranks looks better than what it
        ranked by, and a forecast that was taught so chose worse than none (docs/results/early-stopping.md).
        """
        whole = [number for number, curve in enumerate(self.curves) if len(curve) == self.epochs]
        if len(whole) < max(FEW, NEARLY_ALL * len(self.curves)):
            return None
        return replace(self, configs=tuple(self.configs[n] for n in whole), curves=tuple(self.curves[n] for n in whole))

    def seen(self, share: float) -> "Seen":
        """What was shown so early, and what it became."""
        epoch = max(1, round(share * self.epochs))
        bests = [(max(curve[: max(1, epoch - 1)]), max(curve[:epoch])) for curve in self.curves]
        return Seen(self.configs, np.array(bests), np.array([float(np.mean(curve[-END:])) for curve in self.curves]))


@dataclass(frozen=True)
class Seen:
    configs: tuple[Settings, ...]
    bests: "Numbers"
    """Of each its best until the epoch before, and until then."""
    ends: "Numbers"


class Forecast:
    """For one search, with these rungs: shares of a training's epochs."""

    def __init__(self, pasts: Sequence[Past], rungs: Sequence[float]) -> None:
        self._pasts, self._rungs = [whole for past in pasts if (whole := past.ran_through)], tuple(rungs)
        self._columns = _columns(self._pasts)
        pool = ThreadPoolExecutor(1)
        self._taught: Future[tuple[Any, list[Numbers]]] = pool.submit(self._learn)
        pool.shutdown(wait=False)

    def scores(self, arm: str, rung: int, configs: Sequence[Settings], bests: "Numbers") -> "Numbers":
        """Where those that are compared at a rung will end, the higher the better; `bests` as in `Seen`."""
        trees, _ = self._taught.result()
        return _guess(trees, self._features(arm, self._rungs[rung], configs, bests))

    def worth(self, rung: int, own: float | None = None) -> int | None:
        """The latest rung at which what trainings have shown ranks no better than a forecast at this one.

        `own` is by how much it has ranked this arm's own trainings better than what they had shown, one rung earlier.
        """
        _, better = self._taught.result()
        found = None
        for later in range(rung, len(self._rungs)):
            gains = list(better[rung][:, later])
            if _above_chance(gains) and _above_chance([*gains, *([] if own is None else [own])]):
                found = later
        return found

    # Learning.

    def _learn(self) -> "tuple[Any, list[Numbers]]":
        """The trees, and by rung: how much better a forecast ranks than what is shown there and later, arm by arm."""
        gains: list[list[Numbers]] = [[] for _ in self._rungs]
        for known, unknown in _folds(self._pasts):
            trees = self._fit(known)
            for past in unknown:
                seen = [past.seen(share) for share in self._rungs]
                shown = np.array([rank_skill(each.bests[:, 1], each.ends) for each in seen])
                for rung, (share, each) in enumerate(zip(self._rungs, seen, strict=True)):
                    guess = _guess(trees, self._features(past.arm, share, each.configs, each.bests))
                    gain = rank_skill(guess, each.ends) - shown
                    if np.isfinite(gain).all():
                        gains[rung].append(gain)
        return self._fit(self._pasts), [np.array(rows).reshape(-1, len(self._rungs)) for rows in gains]

    def _fit(self, pasts: Sequence[Past]) -> Any:
        from sklearn.ensemble import ExtraTreesRegressor

        if not pasts:
            return None
        told = [(past.arm, share, past.seen(share)) for past in pasts for share in self._rungs]
        rows = [self._features(arm, share, seen.configs, seen.bests) for arm, share, seen in told]
        trees = ExtraTreesRegressor(TREES, min_samples_leaf=LEAF, random_state=0)
        return trees.fit(np.vstack(rows), np.concatenate([share_of(seen.ends) for _, _, seen in told]))

    def _features(self, arm: str, share: float, configs: Sequence[Settings], bests: "Numbers") -> "Numbers":
        """Settings, place among its mates by value and by how fast it rises, how far it is, and the arm."""
        told = [[_number(config.get(key), value) for key, value in self._columns] for config in configs]
        places = share_of(bests[:, 1]), share_of(bests[:, 1] - bests[:, 0])
        same = np.full(len(configs), share), np.full(len(configs), float(arm == "distilled"))
        return np.column_stack([np.array(told, dtype=float).reshape(len(configs), -1), *places, *same])


def _above_chance(gains: Sequence[float]) -> bool:
    """Their mean is more than its standard error; of one alone nobody knows."""
    return len(gains) > 1 and bool(np.mean(gains) > np.std(gains, ddof=1) / np.sqrt(len(gains)))


def rank_skill(guess: "Numbers", end: "Numbers") -> float:
    """Spearman's correlation; of ranks that are all the same nothing can be said."""
    first, second = share_of(guess), share_of(end)
    if len(end) < FEW or not first.std() or not second.std():
        return float("nan")
    return float(np.corrcoef(first, second)[0, 1])


def share_of(values: "Numbers") -> "Numbers":
    """Each one's place among all, between 0 and 1; equal ones share theirs."""
    ordered = np.sort(values)
    low, high = np.searchsorted(ordered, values, "left"), np.searchsorted(ordered, values, "right")
    return np.asarray((low + high) / 2 / max(1, len(values)), dtype=float)


def _guess(trees: Any, rows: "Numbers") -> "Numbers":
    each = np.stack([tree.predict(rows.astype(np.float32), check_input=False) for tree in trees.estimators_])
    return np.asarray(each.mean(axis=0) + HOPE * each.std(axis=0), dtype=float)


def _folds(pasts: Sequence[Past]) -> list[tuple[list[Past], list[Past]]]:
    """Twice half of the cells: what one half teaches is tried on the other. Of one cell, half of its trials."""
    cells = sorted({past.cell for past in pasts})
    if len(cells) > 1:
        halves = [[past for past in pasts if (past.cell in cells[::2]) == first] for first in (True, False)]
    else:
        halves = [[past.half(which) for past in pasts] for which in (0, 1)]
    return [(halves[0], halves[1]), (halves[1], halves[0])] if all(halves) else []


def _columns(pasts: Sequence[Past]) -> list[tuple[str, str | None]]:
    """Keys that are numbers, and key and word where there are words; what never varies says nothing."""
    values: dict[str, set[Any]] = {}
    for past in pasts:
        for config in past.configs:
            for key, value in config.items():
                values.setdefault(key, set()).add(value)
    columns: list[tuple[str, str | None]] = []
    for key, known in sorted(values.items()):
        if len(known) < 2:
            continue
        if all(isinstance(value, int | float) and not isinstance(value, bool) for value in known):
            columns.append((key, None))
        else:
            columns += [(key, word) for word in sorted(map(str, known))]
    return columns


def _number(value: Any, word: str | None) -> float:
    if word is not None:
        return float(str(value) == word)
    return float(value) if isinstance(value, int | float) else -1.0

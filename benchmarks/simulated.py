"""Searches that are drawn: finals of arms that are alike, or of which one loses some, judged as a search's are.

Each simulated search is looked at four times, with as many pairs again each time, as `--resume` with more
`budget.repeats` allows. Looks of which no cell's p could be small enough are known to have no word, and are not judged:
that is what makes tens of thousands of searches affordable.
"""

import math
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import special

from tune_kd import names
from tune_kd.summary import judge, statistics
from tune_kd.summary.statistics import HELPS, NO_DIFFERENCE
from tune_kd.summary.verdict import Measure, compared, settle

CELLS: Final = (1, 4, 18)
PAIRS: Final = (3, 5, 10)
LOOKS: Final = 4
CLASSES: Final = 10
LEVEL: Final = 0.05
BLOCK: Final = 500
MOST_POWER: Final = 1000
"""Cells that are judged for the power of a case."""

Scores = npt.NDArray[np.float64]
Count = int | tuple[int, ...]
Draw = Callable[[np.random.Generator, Count], tuple[Scores, Scores]]
"""Accuracies of so many paired finals, distilled and scratch, without any gain; NaN for one that failed."""


def _noise(random: np.random.Generator, count: Count, spreads: tuple[float, float]) -> tuple[Scores, Scores]:
    luck = 0.7 + random.normal(0, 0.01, count)
    distilled, scratch = (luck + random.normal(0, spread, count) for spread in spreads)
    return distilled, scratch


def normal(random: np.random.Generator, count: Count) -> tuple[Scores, Scores]:
    return _noise(random, count, (0.008, 0.008))


def unequal(random: np.random.Generator, count: Count) -> tuple[Scores, Scores]:
    return _noise(random, count, (0.016, 0.004))


def t3(random: np.random.Generator, count: Count) -> tuple[Scores, Scores]:
    luck = 0.7 + random.normal(0, 0.01, count)
    return luck + 0.006 * random.standard_t(3, count), luck + 0.006 * random.standard_t(3, count)


def collapsing(random: np.random.Generator, count: Count) -> tuple[Scores, Scores]:
    """One final in twenty of either arm falls by fifty points."""
    distilled, scratch = normal(random, count)
    return tuple(np.where(random.random(count) < 0.05, arm - 0.5, arm) for arm in (distilled, scratch))  # type: ignore[return-value]


def diverging(random: np.random.Generator, count: Count) -> tuple[Scores, Scores]:
    """One final in five of either arm fails."""
    distilled, scratch = normal(random, count)
    return tuple(np.where(random.random(count) < 0.2, math.nan, arm) for arm in (distilled, scratch))  # type: ignore[return-value]


NULLS: Final[Mapping[str, Draw]] = {
    "normal": normal, "unequal spreads": unequal, "t with 3 degrees": t3,
    "collapsing (1 in 20, both arms)": collapsing, "diverging (1 in 5, both arms)": diverging,
}  # fmt: skip


@dataclass(frozen=True)
class Null:
    """Family-wise false words of one kind of finals: by the first look, the second, …; and the power at the first."""

    kind: str
    cells: int
    pairs: int
    searches: int
    false: tuple[float, ...]
    power: float
    """Of a gain of two standard deviations of a pair's difference, a cell."""


@dataclass(frozen=True)
class OneSided:
    """Only the distilled arm loses finals, and a typical training gains: what the word says, seen and unseen."""

    kind: str
    pairs: int
    searches: int
    before: float
    """`helps` by the paired t over what came to something, which was the rule once."""
    now: float
    seen: float
    """Searches in which a final came to nothing; in the others nobody can know."""
    silent: float
    """`helps` without a word of a final that came to nothing. Must be none."""


@dataclass(frozen=True)
class Uncorrected:
    """How often whoever looks after so many pairs, again and again, sees an interval without zero, with arms alike."""

    looks: tuple[int, ...]
    searches: int
    false: float


Result = Null | OneSided | Uncorrected


def verdict(drawn: Sequence[tuple[Scores, Scores]], looks: int = 1) -> list[dict[str, Any]]:
    """The cells with their words, as a search's would have them: `judge` without its tables."""
    known = np.concatenate([arm for pair in drawn for arm in pair])
    measure = Measure(statistics.resolution(known[~np.isnan(known)]), control=True, chance=1 / CLASSES)
    found = [_cell(pair, measure) for pair in drawn]
    settle(found, looks)
    return found


def _cell(pair: tuple[Scores, Scores], measure: Measure) -> dict[str, Any]:
    best: dict[str, Any] = {}
    failed = {}
    for arm, scores in zip((names.DISTILLED, names.SCRATCH), pair, strict=True):
        seeds, lost = np.flatnonzero(~np.isnan(scores)), np.flatnonzero(np.isnan(scores))
        best[arm] = {"seeds": seeds.tolist(), "values": scores[seeds].tolist()} if len(seeds) else None
        failed[arm] = {
            "failed": len(lost),
            "of": len(scores),
            "why": {"it diverged": len(lost)},
            "seeds": lost.tolist(),
        }
    return {**best, "failed": failed, "gain": compared(best, failed, measure)}


def same_as_a_search(drawn: Sequence[tuple[Scores, Scores]], looks: int) -> bool:
    """Whether `judge` says the same words from tables."""
    parts = [
        pd.DataFrame({"arm": arm, "seed": range(len(scores)), "cell.data.size": place, names.TEST_ACCURACY: scores})
        for place, pair in enumerate(drawn)
        for arm, scores in zip((names.DISTILLED, names.SCRATCH), pair, strict=True)
    ]
    facts = {"classes": list(range(CLASSES)), names.LOOKS: looks}
    judged = judge({}, pd.DataFrame(), pd.concat(parts, ignore_index=True), {}, facts)["cells"]
    pairs = zip(judged, verdict(drawn, looks), strict=True)
    return all((one["word"], one["gain"]["p"]) == (other["word"], other["gain"]["p"]) for one, other in pairs)


def null(kind: str, cells: int, pairs: int, searches: int, seed: int) -> Null:
    """Of so many searches; the power of the first few, as every one of those has to be judged."""
    random = np.random.default_rng([seed, cells, pairs])
    false, found, tried = np.zeros(LOOKS), 0, min(searches, MOST_POWER // cells)
    done = 0
    while done < searches:
        count = min(BLOCK, searches - done)
        distilled, scratch = NULLS[kind](random, (count, cells, LOOKS * pairs))
        for number in range(count):
            drawn = list(zip(distilled[number], scratch[number], strict=True))
            assert done + number or same_as_a_search(drawn, 1), "this is not what a search would be told"
            if done + number < tried:
                part = [(one[:pairs] + GAIN[kind], other[:pairs]) for one, other in drawn]
                found += sum(cell["word"] == HELPS for cell in verdict(part))
        false += _by_look(distilled - scratch, distilled, scratch, pairs).sum(0)
        done += count
    return Null(kind, cells, pairs, searches, tuple((false / searches).tolist()), found / tried / cells)


def _by_look(differences: Scores, distilled: Scores, scratch: Scores, pairs: int) -> npt.NDArray[np.bool_]:
    """Which searches had a word by the first look, the second, …: whoever has seen a word has stopped looking."""
    said = np.zeros((len(differences), LOOKS), dtype=bool)
    for look in range(LOOKS):
        upto = pairs * (look + 1)
        for number in np.flatnonzero(~said[:, max(0, look - 1)] & may_say(differences[..., :upto], look + 1)):
            part = list(zip(distilled[number, :, :upto], scratch[number, :, :upto], strict=True))
            said[number, look:] |= any(cell["word"] != NO_DIFFERENCE for cell in verdict(part, look + 1))
    return said


def may_say(differences: Scores, look: int) -> npt.NDArray[np.bool_]:
    """Whether a search's smallest p can pass Holm's first step: without that no cell has a word, whatever else."""
    known = (~np.isnan(differences)).sum(-1)
    enough = known > 1
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a cell without any pair has no mean
        error = np.nanstd(differences, -1, ddof=1) / np.sqrt(known)
        p = 2 * special.stdtr(known - 1, -np.abs(np.nanmean(differences, -1)) / error)
    smallest = np.where(enough, p, 1.0).min(-1)
    bound = LEVEL * statistics.share_of(look) / np.maximum(enough.sum(-1), 1)
    return np.asarray(smallest <= bound * (1 + 1e-9))


def uncorrected(looks: tuple[int, ...], searches: int, seed: int) -> Uncorrected:
    """A paired t test of normal finals at every look, at 5 % each."""
    distilled, scratch = normal(np.random.default_rng([seed, *looks]), (searches, looks[-1]))
    differences, seen = distilled - scratch, np.zeros(searches, dtype=bool)
    for pairs in looks:
        part = differences[:, :pairs]
        t = part.mean(1) / (part.std(1, ddof=1) / math.sqrt(pairs))
        seen |= 2 * special.stdtr(pairs - 1, -np.abs(t)) < LEVEL
    return Uncorrected(looks, searches, float(seen.mean()))


def likely(rate: float, searches: int) -> tuple[float, float]:
    """The 95 % interval of a simulated rate (Clopper and Pearson), which has a probability of being off as well."""
    times, tail = round(rate * searches), (1 - 0.95) / 2
    low = float(special.betaincinv(times, searches - times + 1, tail)) if times else 0.0
    return low, float(special.betaincinv(times + 1, searches - times, 1 - tail)) if times < searches else 1.0


GAIN: Final[Mapping[str, float]] = dict.fromkeys(NULLS, 2 * 0.008 * math.sqrt(2)) | {
    "unequal spreads": 2 * math.hypot(0.016, 0.004),
    "t with 3 degrees": 2 * 0.006 * math.sqrt(2 * 3),
}


def one_sided(kind: str, pairs: int, searches: int, seed: int) -> OneSided:
    random = np.random.default_rng([seed, pairs])
    before = now = seen = silent = 0
    for _ in range(searches):
        distilled, scratch = normal(random, pairs)
        share, typical = (0.05, 0.025) if kind == COLLAPSE else (0.2, 0.02)
        lost = random.random(pairs) < share
        distilled = np.where(lost, distilled - 0.5 if kind == COLLAPSE else math.nan, distilled) + typical
        (cell,) = verdict([(distilled, scratch)])
        known = {place: (one, other) for place, (one, other) in enumerate(zip(distilled, scratch, strict=True))}
        sides = [{place: float(pair[side]) for place, pair in known.items() if pair[0] == pair[0]} for side in (0, 1)]
        gain = statistics.gain(sides[0], sides[1])
        before += statistics.word(gain.low, gain.high, gain.p) == HELPS
        now += cell["word"] == HELPS
        seen += bool(lost.any())
        silent += cell["word"] == HELPS and bool(lost.any()) and not cell["but"]
    return OneSided(kind, pairs, searches, *(count / searches for count in (before, now, seen, silent)))


COLLAPSE: Final = "1 distilled final in 20 falls by 50 points, the others gain 2.5: no gain on the mean"
DIVERGE: Final = "1 distilled final in 5 fails, the others gain 2 points: −10 on the mean with failures as guessing"


PEEKS: Final = ((5,), (5, 10), tuple(range(3, 11)))


def run(searches: int, seed: int) -> Iterator[Result]:
    for kind in NULLS:
        for cells in CELLS:
            for pairs in PAIRS:
                yield null(kind, cells, pairs, searches, seed)
    for kind in (COLLAPSE, DIVERGE):
        for pairs in PAIRS:
            yield one_sided(kind, pairs, min(searches, MOST_POWER), seed)
    yield from (uncorrected(looks, searches, seed) for looks in PEEKS)

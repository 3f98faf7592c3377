"""How often the verdict says a word that is not true, and how often it finds what is there.

    python -m benchmarks.calibration --out calibration.json --table docs/results/calibration.md

Finals are drawn, and judged by the code that judges a search. Each simulated search is looked at four times, with as
many pairs again each time, as `--resume` with more `budget.repeats` allows.
"""

import argparse
import json
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from tune_kd import names
from tune_kd.summary import judge, statistics
from tune_kd.summary.statistics import HELPS, NO_DIFFERENCE
from tune_kd.summary.verdict import Measure, compared, settle

CELLS: Final = (1, 4, 18)
PAIRS: Final = (3, 5, 10)
LOOKS: Final = 4
CLASSES: Final = 10
LEVEL: Final = 0.05

Scores = npt.NDArray[np.float64]
Draw = Callable[[np.random.Generator, int], tuple[Scores, Scores]]
"""Accuracies of so many paired finals, distilled and scratch, without any gain; NaN for one that failed."""


def _noise(random: np.random.Generator, count: int, spreads: tuple[float, float]) -> tuple[Scores, Scores]:
    luck = 0.7 + random.normal(0, 0.01, count)
    distilled, scratch = (luck + random.normal(0, spread, count) for spread in spreads)
    return distilled, scratch


def normal(random: np.random.Generator, count: int) -> tuple[Scores, Scores]:
    return _noise(random, count, (0.008, 0.008))


def unequal(random: np.random.Generator, count: int) -> tuple[Scores, Scores]:
    return _noise(random, count, (0.016, 0.004))


def t3(random: np.random.Generator, count: int) -> tuple[Scores, Scores]:
    luck = 0.7 + random.normal(0, 0.01, count)
    return luck + 0.006 * random.standard_t(3, count), luck + 0.006 * random.standard_t(3, count)


def collapsing(random: np.random.Generator, count: int) -> tuple[Scores, Scores]:
    """One final in twenty of either arm falls by fifty points."""
    distilled, scratch = normal(random, count)
    return tuple(np.where(random.random(count) < 0.05, arm - 0.5, arm) for arm in (distilled, scratch))  # type: ignore[return-value]


def diverging(random: np.random.Generator, count: int) -> tuple[Scores, Scores]:
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
    random, draw = np.random.default_rng([seed, cells, pairs]), NULLS[kind]
    false = np.zeros(LOOKS)
    found = 0
    for number in range(searches):
        drawn = [draw(random, LOOKS * pairs) for _ in range(cells)]
        assert number or same_as_a_search(drawn, 1), "this is not what a search would be told"
        said = False
        for look in range(LOOKS):
            part = [(one[: pairs * (look + 1)], other[: pairs * (look + 1)]) for one, other in drawn]
            # Whoever has seen a word has stopped looking.
            said = said or any(cell["word"] != NO_DIFFERENCE for cell in verdict(part, look + 1))
            false[look] += said
        part = [(one[:pairs], other[:pairs]) for one, other in drawn]
        found += sum(cell["word"] == HELPS for cell in verdict([(one + GAIN[kind], other) for one, other in part]))
    return Null(kind, cells, pairs, searches, tuple((false / searches).tolist()), found / searches / cells)


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


def run(searches: int, seed: int) -> Iterator[Null | OneSided]:
    for kind in NULLS:
        for cells in CELLS:
            for pairs in PAIRS:
                yield null(kind, cells, pairs, max(1, searches if cells < 18 else searches // 2), seed)
    for kind in (COLLAPSE, DIVERGE):
        for pairs in PAIRS:
            yield one_sided(kind, pairs, searches, seed)


HEAD: Final = """\
# How often a word is wrong

<!-- Made by benchmarks/calibration.py; do not edit. -->
Finals are drawn, and judged by the code that judges a search. Both arms are alike, so every word is false. A search
counts once, however many of its cells have a word (family-wise), and as soon as one of its looks had one; each look
has as many pairs again. The bound is 5 %: a true rate of 5 % would be found within ±{sampling:.1f} points here. The
worst of all cases is **{worst:.1f} %**; all cases together have {overall:.1f} %. Power is the share of cells called
`helps` at the first look where the true gain is two standard deviations of a pair's difference."""

ONE_SIDED: Final = """
## Where only one arm loses finals

No test of a few finals can see a collapse that none of them showed, so `helps` is about trainings as these finals were.
What can be seen is told: `helps` without a word of a final that came to nothing must never be said."""


def table(results: Sequence[Null | OneSided], command: str, seconds: float) -> str:
    """docs/results/calibration.md."""
    nulls = [one for one in results if isinstance(one, Null)]
    worst = max(one.false[-1] for one in nulls)
    sampling = 100 * 1.96 * math.sqrt(LEVEL * (1 - LEVEL) / nulls[0].searches)
    overall = 100 * float(np.mean([one.false[-1] for one in nulls]))
    lines = [
        *HEAD.format(sampling=sampling, worst=100 * worst, overall=overall).splitlines(),
        "",
        f"Command: `{command}` ({seconds / 60:.0f} minutes on shared cores).",
        "",
        "| finals | cells | pairs | searches | false by look 1 | 2 | 3 | 4 | power |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for one in nulls:
        rates = " | ".join(f"{100 * rate:.1f} %" for rate in one.false)
        lines.append(f"| {one.kind} | {one.cells} | {one.pairs} | {one.searches} | {rates} | {100 * one.power:.0f} % |")
    lines += [
        *ONE_SIDED.splitlines(),
        "",
        "| | pairs | searches | `helps`, paired t alone | `helps` now | a loss to see | `helps`, silent of it |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for other in results:
        if isinstance(other, OneSided):
            rates = " | ".join(f"{100 * rate:.0f} %" for rate in (other.before, other.now, other.seen, other.silent))
            lines.append(f"| {other.kind} | {other.pairs} | {other.searches} | {rates} |")
    return "\n".join(lines) + "\n"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.calibration", description=__doc__)
    parser.add_argument("--searches", type=int, default=400, help="simulated searches a case")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="where the figures go, as JSON")
    parser.add_argument("--table", type=Path, help="where the table goes, as Markdown")
    given = parser.parse_args(arguments)
    started, results = time.perf_counter(), []
    for one in run(given.searches, given.seed):
        print(one, flush=True)
        results.append(one)
    if given.out:
        given.out.write_text(json.dumps([asdict(one) for one in results], indent=1) + "\n")
    command = f"python -m benchmarks.calibration --searches {given.searches} --seed {given.seed}"
    if given.table:
        given.table.write_text(table(results, command, time.perf_counter() - started))
    worst = max(one.false[-1] for one in results if isinstance(one, Null))
    print(f"worst: {worst:.3f}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

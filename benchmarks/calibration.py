"""How often the verdict says a word that is not true, and how often it finds what is there.

    python -m benchmarks.calibration --out calibration.json --table docs/results/calibration.md
    python -m benchmarks.calibration --case "t with 3 degrees" 1 10 --searches 40000 --seed 1

Finals are drawn, and judged by the code that judges a search (`benchmarks.simulated`).
"""

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Final

from benchmarks.simulated import MOST_POWER, Null, OneSided, Result, Uncorrected, likely, null, run

HEAD: Final = """\
# How often a word is wrong

<!-- Made by benchmarks/calibration.py; do not edit. -->
Finals are drawn, and judged by the code that judges a search. Both arms are alike, in what they lose as well, so every
word is false; what holds [where only one arm loses finals](#where-only-one-arm-loses-finals) is told below. A search
counts once, however many of its cells have a word (family-wise), and as soon as one of its looks had one; each look
has as many pairs again. For normal finals, whatever their spreads, 5 % is arithmetic: the looks' portions are added up
and cells corrected by Holm's method, so what is simulated there can only be checked for mistakes. The worst of all
cases has **{worst:.2f} %**, and the highest upper end of a 95 % interval (Clopper and Pearson; of {cases} intervals
some are off by luck) is {upper:.2f} %, for {case}. Power is the share of cells called `helps` at the first look where
the true gain is two standard deviations of a pair's difference (of {power} cells)."""

ONE_SIDED: Final = """
## Where only one arm loses finals

No test of a few finals can see a collapse that none of them showed, so `helps` is about trainings as these finals were;
the report says in how many trainings one could have been missed (with five finals, in up to 45 %).
What can be seen is told: `helps` without a word of a final that came to nothing must never be said. The other `helps`
are false of all trainings, far more often than 5 %: they are said in searches that showed no loss."""

UNCORRECTED: Final = """
## Looking again, without a correction

What the looks' portions are there for: the paired t test of normal finals, both arms alike, at 5 % at every look."""


def table(results: Sequence[Result], command: str, seconds: float) -> str:
    """docs/results/calibration.md."""
    nulls = [one for one in results if isinstance(one, Null)]
    worst = max(one.false[-1] for one in nulls)
    upper, at = max((likely(one.false[-1], one.searches)[1], place) for place, one in enumerate(nulls))
    case = f"{nulls[at].kind}, {nulls[at].cells} cells, {nulls[at].pairs} pairs"
    head = HEAD.format(worst=100 * worst, cases=len(nulls), upper=100 * upper, case=case, power=MOST_POWER)
    lines = [
        *head.splitlines(),
        "",
        f"Command: `{command}` ({seconds / 60:.0f} minutes on shared cores).",
        "",
        "| finals | cells | pairs | searches | false by look 1 | 2 | 3 | 4 | [95 %] | power |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for one in nulls:
        rates = " | ".join(f"{100 * rate:.1f} %" for rate in one.false)
        low, high = likely(one.false[-1], one.searches)
        sure = f"[{100 * low:.1f}, {100 * high:.1f}] | {100 * one.power:.0f} %"
        lines.append(f"| {one.kind} | {one.cells} | {one.pairs} | {one.searches} | {rates} | {sure} |")
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
    lines += [*UNCORRECTED.splitlines(), "", "| looks after so many pairs | searches | false |", "| --- | --- | --- |"]
    peeks = (one for one in results if isinstance(one, Uncorrected))
    lines += [f"| {', '.join(map(str, one.looks))} | {one.searches} | {100 * one.false:.1f} % |" for one in peeks]
    return "\n".join(lines) + "\n"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.calibration", description=__doc__)
    parser.add_argument("--searches", type=int, default=20_000, help="simulated searches a case")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="where the figures go, as JSON")
    parser.add_argument("--table", type=Path, help="where the table goes, as Markdown")
    parser.add_argument("--case", nargs=3, metavar=("FINALS", "CELLS", "PAIRS"), help="one case alone, printed")
    given = parser.parse_args(arguments)
    if given.case:
        kind, cells, pairs = given.case
        one = null(kind, int(cells), int(pairs), given.searches, given.seed)
        low, high = likely(one.false[-1], one.searches)
        print(f"{one}: {100 * one.false[-1]:.2f} % [{100 * low:.2f}, {100 * high:.2f}]")
        return 0
    started, results = time.perf_counter(), list[Result]()
    for found in run(given.searches, given.seed):
        print(found, flush=True)
        results.append(found)
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

"""Judges early-stopping rules and samplers on recorded curves: minutes, no training. What is judged is what ships.

python -m benchmarks.replay benchmarks/curves/*.jsonl --out runs/replay

Regret: what the best recorded setting reaches, less what the chosen one does. It is compared with the same sampler at
equal epochs without stopping, in the same order of settings (pairs), and with the best of those that were begun.
"""

import argparse
import json
import math
import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.peer_rules import known, rule_by_name
from benchmarks.recorded import Replayed, Table, read, replay
from tune_kd.space.rules import RULES
from tune_kd.tuning.rules import rule_named

SMALLEST = 1e-4
"""A hundredth of a point: smaller regrets are none, and a ratio of two of them says nothing."""

Row = dict[str, Any]


def main() -> int:
    given = _flags().parse_args()
    tables = read(given.tables)
    siblings = tuple(read(given.siblings))
    rows: list[Row] = []
    for table in tables:
        for kind in given.samplers:
            for workers in given.workers:
                for trials in given.trainings:
                    if trials > len(table.rows):
                        continue
                    case = table, kind, workers, trials, given.repeats, siblings, given.within
                    rows += [judged(rule, *case) for rule in given.rules]
        print(f"{table.name} · {table.arm}: {len(table.rows)} recordings", flush=True)
    told = summed_up(rows) | {"siblings": [table.name for table in siblings]}
    given.out.mkdir(parents=True, exist_ok=True)
    (given.out / "replay.json").write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    lines = as_text(told)
    (given.out / "replay.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    picture(told, given.out / "replay.svg")
    print("\n".join(lines))
    return 0


def _flags() -> argparse.ArgumentParser:
    flags = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0], allow_abbrev=False)
    flags.add_argument("tables", nargs="+", type=Path, metavar="TABLE.jsonl")
    flags.add_argument(
        "--siblings",
        nargs="+",
        type=Path,
        default=[],
        metavar="TABLE.jsonl",
        help="known before to our own rules: of those of the same student and data set the best settings are tried "
        "first, and the rule auto asks a forecast; a table is not its own sibling",
    )
    flags.add_argument("--rules", nargs="+", default=list(known()), choices=known())
    flags.add_argument("--samplers", nargs="+", default=["random", "tpe"], choices=("random", "tpe"))
    flags.add_argument("--workers", nargs="+", type=int, default=[1, 2, 8, 32])
    flags.add_argument("--trainings", nargs="+", type=int, default=[5, 6, 16, 40], help="how many are begun")
    flags.add_argument(
        "--within", type=float, default=math.inf, metavar="EPOCHS", help="the time is up after so many of each worker"
    )
    flags.add_argument("--repeats", type=int, default=24, help="shuffles of each case (24)")
    flags.add_argument("--out", type=Path, required=True, help="folder for replay.json, a table and a picture")
    return flags


@cache
def unstopped(table: Table, kind: str, workers: int, trials: int, seed: int) -> Replayed:
    return replay(table, rule_named("none"), kind, workers, trials, seed)


def without_stopping(table: Table, whole: Replayed, epochs: float) -> float:
    """The regret of a search that trains everything to the end, after so many epochs; between two whole trainings, its
    share of each."""

    def after(trainings: int) -> float:
        best = max(range(max(1, trainings)), key=lambda place: (whole.shown[place], -place))
        return table.best - table.rows[whole.begun[best]].end

    done = min(epochs / table.epochs, float(len(whole.begun)))
    share = done - math.floor(done)
    return (1 - share) * after(math.floor(done)) + share * after(min(math.ceil(done), len(whole.begun)))


def judged(
    rule: str,
    table: Table,
    kind: str,
    workers: int,
    trials: int,
    repeats: int,
    siblings: tuple[Table, ...],
    within: float = math.inf,
) -> Row:
    """One case, over its shuffles."""
    regrets, plain, begun, epochs, stopped = [], [], [], [], []
    for seed in range(repeats):
        known_before = siblings if rule in RULES else ()  # no peer asks earlier searches
        found = replay(table, rule_by_name(rule), kind, workers, trials, seed, known_before, within)
        regrets.append(table.best - table.rows[found.chosen].end)
        plain.append(without_stopping(table, unstopped(table, kind, workers, trials, seed), found.epochs))
        begun.append(table.best - max(table.rows[row].end for row in found.begun))
        epochs.append(found.epochs)
        if top := table.top & set(found.begun):
            stopped.append(len(top - found.ended) / len(top))
    low, high = interval(regrets, plain)
    return {
        "table": table.name,
        "arm": table.arm,
        "rule": rule,
        "sampler": kind,
        "workers": workers,
        "trainings": trials,
        "siblings": sum(one.name != table.name for one in siblings),
        "regret": float(np.mean(regrets)),
        "without_stopping": float(np.mean(plain)),
        "ratio": max(float(np.mean(regrets)), SMALLEST) / max(float(np.mean(plain)), SMALLEST),
        "best_begun": float(np.mean(begun)),
        "top_stopped": float(np.mean(stopped)) if stopped else None,
        "epochs": float(np.mean(epochs)),
        "interval": [low, high],
        "loses": loses(regrets, plain),
    }


def loses(regrets: Sequence[float], plain: Sequence[float]) -> bool:
    """By more than two standard errors of the paired differences."""
    differences = np.subtract(regrets, plain)
    return bool(differences.mean() > max(2 * differences.std(ddof=1) / math.sqrt(len(differences)), SMALLEST))


def interval(regrets: Sequence[float], plain: Sequence[float], draws: int = 400) -> tuple[float, float]:
    """95 % of the ratio of the means, by drawing the shuffles again."""
    chance = np.random.default_rng(0).integers(0, len(regrets), (draws, len(regrets)))
    above, below = np.asarray(regrets)[chance].mean(axis=1), np.asarray(plain)[chance].mean(axis=1)
    ratios = np.maximum(above, SMALLEST) / np.maximum(below, SMALLEST)
    return float(np.quantile(ratios, 0.025)), float(np.quantile(ratios, 0.975))


def summed_up(rows: list[Row]) -> dict[str, Any]:
    rules = list(dict.fromkeys(row["rule"] for row in rows))
    of = {rule: [row for row in rows if row["rule"] == rule] for rule in rules}
    bounds = {
        rule: geometric([max(row["best_begun"], SMALLEST) / max(row["without_stopping"], SMALLEST) for row in of[rule]])
        for rule in rules
    }
    return {
        "rows": rows,
        "geometric_mean": {rule: geometric([row["ratio"] for row in of[rule]]) for rule in rules},
        "worst": {rule: max(row["ratio"] for row in of[rule]) for rule in rules},
        "bound": bounds,
        "lost": {rule: sum(row["loses"] for row in of[rule]) for rule in rules},
    }


def geometric(values: Sequence[float]) -> float:
    return math.exp(float(np.mean(np.log(values))))


def as_text(told: dict[str, Any]) -> list[str]:
    cases = len(told["rows"]) // max(1, len(told["geometric_mean"]))
    lines = [
        f"{cases} cases a rule; regret against the same sampler at equal epochs without stopping (1 is as good).",
        "",
        "| rule | geometric mean | bound | worst | cases lost | top 5 % stopped | epochs a training |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for rule, mean in sorted(told["geometric_mean"].items(), key=lambda one: one[1]):
        own = [row for row in told["rows"] if row["rule"] == rule]
        stopped = [row["top_stopped"] for row in own if row["top_stopped"] is not None]
        each = np.mean([row["epochs"] / row["trainings"] for row in own])
        lines.append(
            f"| {rule} | {mean:.2f} | {told['bound'][rule]:.2f} | {told['worst'][rule]:.2f} | {told['lost'][rule]} | "
            f"{np.mean(stopped) if stopped else 0:.0%} | {each:.1f} |"
        )
    return lines


def picture(told: dict[str, Any], path: Path) -> None:
    """A rule a line: every case a dot, the geometric mean a bar."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "tune_kd"
    from matplotlib import pyplot

    order = sorted(told["geometric_mean"], key=lambda rule: -told["geometric_mean"][rule])
    figure, axes = pyplot.subplots(figsize=(8, 0.45 * len(order) + 1.2))
    for place, rule in enumerate(order):
        ratios = [row["ratio"] for row in told["rows"] if row["rule"] == rule]
        spread = np.random.default_rng(0).uniform(-0.25, 0.25, len(ratios))
        axes.plot(ratios, place + spread, ".", color="#5b8db8", markersize=3, alpha=0.6)
        axes.plot([told["geometric_mean"][rule]] * 2, [place - 0.38, place + 0.38], color="#b5361c", linewidth=2.5)
    axes.axvline(1, color="#444444", linewidth=1)
    axes.set_xscale("log")
    axes.set_yticks(range(len(order)), order)
    axes.set_xlabel("regret ÷ regret without stopping, at equal epochs (left is better)")
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)


if __name__ == "__main__":
    sys.exit(main())

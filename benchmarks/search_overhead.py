"""A whole search with our command against the plain Ray Tune way, with the teacher online and with its logits cached.

    python -m benchmarks.search_overhead --trials 200 --root DIR_OF_CIFAR

Both sides are processes of their own, timed from their start to their end. Each is run at two sizes: the difference
says what one more trial costs. The plain way is too slow for 200 trials, so its whole-process time at that size is its
smaller run plus its marginal cost for the rest, and is labelled so.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks import exercise
from benchmarks.driven import scratch
from benchmarks.exercise import Exercise, parity
from benchmarks.measuring import ROOT, Figure, Result, in_turn, median, parser, report, require_equal
from tune_kd import names

GOALS = {"tutorial": (50.0, 80.0), "cached": (None, 12.0)}
"""What each peer's whole process and marginal trial should take, in ours."""
SECONDS = 3600


def main() -> int:
    flags = parser(__doc__)
    exercise.add_flags(flags, teacher_epochs=3)
    flags.add_argument("--trials", type=int, nargs=2, default=(40, 200), help="our two sizes (40 200)")
    flags.add_argument("--tutorial-trials", type=int, nargs=2, default=(2, 6), help="peer_tutorial's two sizes (2 6)")
    flags.add_argument("--cached-trials", type=int, nargs=2, default=(4, 12), help="peer_cached's two sizes (4 12)")
    flags.add_argument("--peers", nargs="+", choices=tuple(GOALS), default=tuple(GOALS))
    given = flags.parse_args()
    return report("search_overhead", given, lambda: measure(given))


def measure(given: argparse.Namespace) -> Result:
    with scratch() as folder:
        made = exercise.make(given, folder)
        sizes = {"ours": given.trials}
        sides: dict[str, Callable[[], dict[str, Any]]] = {}
        for trials in given.trials:
            sides[f"ours {trials}"] = partial(ours, made, trials)
        for peer in given.peers:
            sizes[peer] = getattr(given, f"{peer}_trials")
            for trials in sizes[peer]:
                sides[f"{peer} {trials}"] = partial(theirs, made, trials, peer == "cached")
        runs = in_turn(sides, given.rounds)
        work = {peer: equal(made, runs, sizes, peer) for peer in given.peers}
    figures: dict[str, Figure] = {}
    own = Costs(runs, "ours", given.trials)
    figures["ours, whole process"] = Figure(median(own.whole), "s", note=f"{given.trials[1]} trials")
    figures["ours, marginal"] = Figure(median(own.marginal), "s a trial")
    for peer in given.peers:
        figures |= compared(peer, own, Costs(runs, peer, sizes[peer]), given.trials[1])
    settings = {"sizes": sizes, "images": given.images, "epochs": given.epochs, "cifar": bool(given.root)}
    seconds = {name: [run["seconds"] for run in told] for name, told in runs.items()}
    return Result(settings, figures, seconds, work)


class Costs:
    """Seconds of one side, a number a round: its larger run, and what one more trial costs."""

    def __init__(self, runs: Mapping[str, Sequence[dict[str, Any]]], side: str, sizes: Sequence[int]) -> None:
        small, large = ([run["seconds"] for run in runs[f"{side} {size}"]] for size in sizes)
        self.sizes, self.small, self.whole = sizes, small, large
        self.marginal = [(b - a) / (sizes[1] - sizes[0]) for a, b in zip(small, large, strict=True)]


def compared(peer: str, own: Costs, other: Costs, trials: int) -> dict[str, Figure]:
    whole_goal, marginal_goal = GOALS[peer]
    measured = max(other.sizes)
    # Extrapolated from the medians: one round's slope is the noisier the fewer trials it has.
    slope = median(other.marginal)
    whole = median(other.whole) + slope * (trials - measured)
    note = f"peer measured with {min(other.sizes)} and {measured} trials"
    return {
        f"peer_{peer}, marginal": Figure(slope, "s a trial", note=note),
        f"peer_{peer} ÷ ours, whole process": Figure(
            whole / median(own.whole), at_least=whole_goal, note=f"{trials} trials; {note}, the rest extrapolated"
        ),
        f"peer_{peer} ÷ ours, marginal": Figure(slope / median(own.marginal), at_least=marginal_goal, note=note),
    }


def ours(made: Exercise, trials: int) -> dict[str, Any]:
    """Our command, with an empty cache: the teacher's logits are part of the time."""
    with scratch() as folder:
        command = [sys.executable, "-m", "tune_kd.search", str(made.study), "--quiet", "--out", str(folder / "run")]
        command += ["--set", f"budget.trials={trials}", "--tracking-uri", f"sqlite:///{folder / 'mlflow.db'}"]
        seconds = timed(command, folder, TUNE_KD_CACHE=str(folder / "cache"))
        table = pd.read_parquet(folder / "run" / names.TRIALS_FILE).sort_values("number")
    searched = [name for name in table.columns if name.removeprefix(names.CONFIG_PREFIX) in exercise.SEARCH]
    settings = table[searched].rename(columns=lambda name: name.removeprefix(names.CONFIG_PREFIX))
    return {
        "seconds": seconds,
        "epochs": table["epochs"].tolist(),
        "accuracy": [float(curve[-1]) for curve in table["curve"]],
        "settings": settings.to_dict("records"),
    }


def theirs(made: Exercise, trials: int, cached: bool) -> dict[str, Any]:
    with scratch() as folder:
        out = folder / "told.json"
        command = [sys.executable, "-m", "benchmarks.peers.ray_tutorial", "--exercise", str(made.folder)]
        command += ["--work", str(folder), "--out", str(out), "--trials", str(trials), "--epochs", str(made.epochs)]
        seconds = timed(command + (["--cached"] if cached else []), folder)
        told = json.loads(out.read_text())["trials"]
    require_equal("images an epoch", wanted=[made.images] * trials, theirs=[run["images_an_epoch"] for run in told])
    return {"seconds": seconds} | {key: [run[key] for run in told] for key in ("epochs", "accuracy", "settings")}


def timed(command: Sequence[str], folder: Path, **environment: str) -> float:
    started = time.perf_counter()
    done = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout[-3000:]}")
    return time.perf_counter() - started


def equal(
    made: Exercise, runs: Mapping[str, Sequence[dict[str, Any]]], sizes: Mapping[str, Sequence[int]], peer: str
) -> dict[str, Any]:
    """Every trial trained all epochs, and at the same settings both sides' students are as good."""
    first = json.loads(made.first.read_text())
    accuracy: dict[str, list[float]] = {}
    for side in ("ours", peer):
        means = []
        for size in sizes[side]:
            for run in runs[f"{side} {size}"]:
                require_equal("epochs a trial", wanted=[made.epochs] * size, **{side: run["epochs"]})
                means.append(shared(run, first))
        number = max(map(len, means))
        accuracy[side] = [float(np.mean([mean[k] for mean in means if k < len(mean)])) for k in range(number)]
    return {
        "images an epoch": made.images,
        "epochs a trial": made.epochs,
        "batch": exercise.BATCH,
        "validation images": exercise.HELD_OUT,
        "accuracy": parity(accuracy["ours"], accuracy[peer]),
    }


def shared(run: Mapping[str, Any], first: Sequence[Mapping[str, float]]) -> list[float]:
    """Accuracies at the settings that both sides tried first, in their order."""
    found = []
    for point in first[: len(run["settings"])]:
        same = [k for k, own in enumerate(run["settings"]) if all(np.isclose(own[key], point[key]) for key in point)]
        require_equal("trials at a shared setting", wanted=1, found=len(same))
        found.append(run["accuracy"][same[0]])
    return found


if __name__ == "__main__":
    sys.exit(main())

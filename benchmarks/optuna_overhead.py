"""Our search against Optuna's own loop: trials that only take time, on two slots.

    python -m benchmarks.optuna_overhead --trials 200 --seconds 0.2

Both are timed from the start of their first trial to the end of their last, in one process that has Ray and its
workers ready; what starting them costs is told beside it. Optuna runs its trials in threads of that same process and
keeps them in its own storage.
"""

import argparse
import sys
import time
from collections.abc import Callable
from typing import Any

import optuna
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend

from benchmarks.driven import Clock, Idle, Search, connected, idle_study, scratch
from benchmarks.measuring import Figure, Result, in_turn, median, parser, ratio, report, require_equal

SLOTS = 2
RATIO, MARGINAL_MS = 1.05, 5.0


def main() -> int:
    flags = parser(__doc__)
    flags.add_argument("--trials", type=int, default=200)
    flags.add_argument("--seconds", type=float, default=0.2, help="what each trial takes (0.2)")
    flags.add_argument("--storage", choices=("journal", "sqlite", "memory"), default="journal", help="Optuna's")
    flags.add_argument("--address", help="a Ray that runs already, with two processors")
    given = flags.parse_args()
    return report("optuna_overhead", given, lambda: measure(given))


def measure(given: argparse.Namespace) -> Result:
    with connected(given.address) as cpu:
        sides: dict[str, Callable[[], dict[str, Any]]] = {
            "ours": lambda: ours(given, cpu),
            "optuna": lambda: optunas(given),
        }
        told = in_turn(sides, given.rounds)
    work = {name: [run.pop("trials") for run in runs] for name, runs in told.items()}
    trials = require_equal("trials", **work, wanted=[given.trials] * given.rounds)
    seconds = {name: [run["seconds"] for run in runs] for name, runs in told.items()}
    ideal = given.trials * given.seconds / SLOTS
    extra = {name: (median(values) - ideal) * 1000 / given.trials for name, values in seconds.items()}
    figures = {
        "ours ÷ optuna": Figure(ratio(seconds["ours"], seconds["optuna"]), at_most=RATIO),
        "ours above the ideal": Figure(extra["ours"], "ms a trial", at_most=MARGINAL_MS),
        "optuna above the ideal": Figure(extra["optuna"], "ms a trial"),
        "ours, starting its workers": Figure(median([run["start"] for run in told["ours"]]), "s"),
    }
    settings = {key: getattr(given, key) for key in ("trials", "seconds", "storage")} | {"ideal": ideal}
    return Result(settings, figures, told, {"trials": trials, "seconds a trial": given.seconds})


def ours(given: argparse.Namespace, cpu: float) -> dict[str, Any]:
    clock = Clock()
    with scratch() as folder:
        whole = Search.of(idle_study(given.trials, 1, cpu), folder).conduct(
            None, Idle(given.seconds), clock, teacher=None
        )
    ends = [at for key, at in clock.done.items() if key.startswith("trial")]
    # A trial began as long before its report as it takes: Tune hands it out earlier, while its worker still starts.
    began = clock.first_report - given.seconds
    return {"trials": len(ends), "seconds": max(ends) - began, "start": whole - (max(clock.done.values()) - began)}


def optunas(given: argparse.Namespace) -> dict[str, Any]:
    def objective(trial: optuna.Trial) -> float:
        value = trial.suggest_float("kd.alpha", 0.1, 1.0)
        trial.suggest_float("train.lr", 0.0005, 0.05, log=True)
        time.sleep(given.seconds)
        trial.report(value, 1)
        return value

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with scratch() as folder:
        storage: BaseStorage | None = None
        if given.storage == "journal":
            storage = JournalStorage(JournalFileBackend(str(folder / "optuna.journal")))
        elif given.storage == "sqlite":
            storage = RDBStorage(f"sqlite:///{folder / 'optuna.db'}")
        study = optuna.create_study(
            direction="maximize", storage=storage, sampler=optuna.samplers.TPESampler(seed=0, multivariate=True)
        )
        started = time.perf_counter()
        study.optimize(objective, n_trials=given.trials, n_jobs=SLOTS)
        seconds = time.perf_counter() - started
        done = study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.COMPLETE,))
        return {"trials": len(done), "seconds": seconds}


if __name__ == "__main__":
    sys.exit(main())

"""What writing to MLflow costs a search: the same search with its tracker and with none.

    python -m benchmarks.mlflow_cost --trials 60 --root DIR_OF_CIFAR

Both sides are conducted in one process that has Ray. The time with MLflow begins when its store is open, which in a
search happens while the teacher is made and is told apart, and ends when the store has everything; every reported point
is then looked up there.
"""

import argparse
import os
import sqlite3
import sys
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import torch

from benchmarks import exercise
from benchmarks.driven import Clock, Search, connected, scratch
from benchmarks.measuring import Figure, Result, UnequalWork, in_turn, median, parser, ratio, report, require_equal
from tune_kd import names
from tune_kd.execution.trial import run
from tune_kd.execution.workbench import Material
from tune_kd.space.study import Study
from tune_kd.storage.stores import Storage
from tune_kd.teacher.making import Teacher
from tune_kd.tracking import SearchInfo, Tracker
from tune_kd.tuning.callbacks import Tracked
from tune_kd.tuning.entry import Entry

GOAL = 1.02
WITH, WITHOUT = "with MLflow", "without"
POINTS = (
    "SELECT tags.value, metrics.key, metrics.step FROM metrics JOIN tags USING (run_uuid)"
    " WHERE tags.key = 'tune_kd.key'"
)


def main() -> int:
    flags = parser(__doc__)
    exercise.add_flags(flags)
    flags.add_argument("--trials", type=int, default=60)
    flags.add_argument("--address", help="a Ray that runs already, with two processors")
    given = flags.parse_args()
    return report("mlflow_cost", given, lambda: measure(given))


class Points(Clock):
    """A callback that notes every point that MLflow should have."""

    def reported(self, entry: Entry, metrics: Mapping[str, float]) -> None:
        super().reported(entry, metrics)
        epoch = int(metrics[names.EPOCH])
        self.points.update((entry.key, key, epoch) for key in metrics if key in names.REPORTED)


def measure(given: argparse.Namespace) -> Result:
    with scratch() as folder:
        os.environ["TUNE_KD_CACHE"] = str(folder / "cache")
        made = exercise.make(given, folder)
        with connected(given.address) as cpu:
            torch.set_num_threads(1)
            study, prepared = made.load()
            teacher = exercise.teacher_of(study, prepared)
            material = Material(study, prepared.splits, prepared.mean, prepared.std, Storage.at(str(folder)))
            budget = study.budget.model_copy(update={"trials": given.trials})
            resources = study.resources.model_copy(update={"cpu": cpu})
            study = study.model_copy(update={"budget": budget, "resources": resources})
            once(study, material, teacher, tracked=False)  # fills the logit cache
            sides = {
                WITHOUT: lambda: once(study, material, teacher, False),
                WITH: lambda: once(study, material, teacher, True),
            }
            told = in_turn(sides, given.rounds)
    points = require_equal("points", **{side: [run["points"] for run in runs] for side, runs in told.items()})
    seconds = {side: [run["seconds"] for run in runs] for side, runs in told.items()}
    figures = {
        "with MLflow ÷ without": Figure(ratio(seconds[WITH], seconds[WITHOUT]), at_most=GOAL),
        **{side: Figure(median(values), "s") for side, values in seconds.items()},
        "opening the store": Figure(median([run["opening"] for run in told[WITH]]), "s"),
        "waiting for the store at the end": Figure(median([run["waited"] for run in told[WITH]]), "s"),
    }
    settings = {key: getattr(given, key) for key in ("trials", "images", "epochs")} | {"cifar": bool(given.root)}
    return Result(settings, figures, told, {"points, each found once in MLflow": points[0]})


def once(study: Study, material: Material, teacher: Teacher, tracked: bool) -> dict[str, Any]:
    with scratch() as folder:
        search, heard = Search.of(study, folder), Points()
        material = replace(material, storage=Storage.at(str(folder)).marked())
        started = time.perf_counter()
        opening = waited = 0.0
        if tracked:
            run_ids: SimpleQueue[tuple[str, str]] = SimpleQueue()
            tracker = Tracker.start(
                uri=f"sqlite:///{folder / 'mlflow.db'}",
                experiment="bench",
                search=SearchInfo(search.ledger.search_id, "bench"),
                spool=folder / "mlflow",
                on_run_id=lambda key, run_id: run_ids.put((key, run_id)),
            )
            while tracker.parent_run_id is None:
                time.sleep(0.01)
            opening = time.perf_counter() - started
            search.conduct(material, run, heard, Tracked(study, tracker, search.ledger, run_ids), teacher=teacher)
            conducted = time.perf_counter()
            tracker.finish(status="FINISHED", metrics={}, tags={}, artifacts=[])
            waited = time.perf_counter() - conducted
        else:
            search.conduct(material, run, heard, teacher=teacher)
        seconds = time.perf_counter() - started - opening
        if tracked:
            check(folder / "mlflow.db", heard.points)
        return {"seconds": seconds, "opening": opening, "waited": waited, "points": len(heard.points)}


def check(database: Path, wanted: Counter[tuple[str, str, int]]) -> None:
    with sqlite3.connect(database) as connection:
        found = Counter(point for point in connection.execute(POINTS) if point[1] in names.REPORTED)
    if found != wanted:
        missing, twice = wanted - found, found - wanted
        raise UnequalWork(f"MLflow lacks {missing.total()} points and has {twice.total()} too many")


if __name__ == "__main__":
    sys.exit(main())

"""Learning curves of a study, for `benchmarks.replay`: random settings trained to the end, the best on more seeds.

python -m benchmarks.record quickstart --trials 120 --out benchmarks/curves/quickstart.jsonl

A line a training. A table that is there already is gone on with: what it has is not trained again.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.recorded import END
from tune_kd import names, plan
from tune_kd.data.splits import student_indices
from tune_kd.data.views import Views
from tune_kd.plan import Arm
from tune_kd.preparation import Prepared, prepare
from tune_kd.seeds import derive
from tune_kd.space.load import load
from tune_kd.space.study import Study, resolve, searched_keys
from tune_kd.teacher import making as teacher
from tune_kd.teacher.guide import Guide
from tune_kd.teacher.making import Teacher
from tune_kd.training.images import Images, as_tensor
from tune_kd.training.train import Diverged, Job, train
from tune_kd.tuning.ledger import Ledger

FACTS = ("student.model", "data.dataset", "data.source", "data.size")
"""What a table is of; with the settings, all that a row says of its training."""

RANDOM = ("budget.sampler=random", "budget.early_stopping=none", "first=[]")
Row = dict[str, Any]


def main() -> int:
    flags = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0], allow_abbrev=False)
    flags.add_argument("study", help="a study's name or file")
    flags.add_argument("--trials", type=int, default=120, help="settings of each arm (120)")
    flags.add_argument("--best", type=int, default=20, help="how many of the best are trained on more seeds (20)")
    flags.add_argument("--seeds", type=int, default=3, help="seeds of each of those beside its first (3)")
    flags.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="as in a search")
    flags.add_argument("--most", type=int, help="end after so many trainings; the same command goes on")
    flags.add_argument("--out", type=Path, required=True, help="the table, JSON lines")
    given = flags.parse_args()
    study = load(given.study, [*given.set, *RANDOM, f"budget.trials={given.trials}"])
    recorder = Recorder(study, given.out)
    for arm, number, config, seed in islice(recorder.missing(given.best, given.seeds), given.most):
        recorder.record(arm, number, config, seed)
    return 0


class Recorder:
    """Trains one student after the other in this process, as a worker of a search would."""

    def __init__(self, study: Study, out: Path) -> None:
        torch.set_num_threads(1)
        self._study, self._out = study, out
        self._plan = plan.make(study)
        self._prepared: Prepared = prepare(self._plan, lambda text: None)
        splits = self._prepared.splits
        images, labels = as_tensor(splits.images), as_tensor(splits.labels)
        self._images = Images(images, labels, self._prepared.mean, self._prepared.std, len(splits.classes))
        self._validation = as_tensor(splits.validation)
        self._teacher: Teacher | None = None
        self._guides: dict[str, Guide] = {}

    def missing(self, best: int, seeds: int) -> Iterator[tuple[Arm, int, Row, int]]:
        """Settings first, then more seeds of those that ended best."""
        ledger = Ledger(None, self._plan)
        settings = {arm.number: [ledger.ask(arm) for _ in range(self._study.budget.trials)] for arm in self._plan.arms}
        known = {(row["of"], row["seed"]) for row in self.rows()}
        for number in range(self._study.budget.trials):
            for arm in self._plan.arms:
                entry = settings[arm.number][number]
                if (f"{arm.key} {number}", entry.seed) not in known:
                    yield arm, number, entry.config, entry.seed
        for arm in self._plan.arms:
            for number in self._best(arm)[:best]:
                for seed in (derive(self._study.seed, "again", k) % 2**31 for k in range(seeds)):
                    if (f"{arm.key} {number}", seed) not in known:
                        yield arm, number, settings[arm.number][number].config, seed

    def _best(self, arm: Arm) -> list[int]:
        ends: dict[str, float] = {}
        for row in self.rows():  # the first seed says who is among the best; more of them must not change that
            ends.setdefault(row["of"], float(np.mean(row["accuracy"][-END:])))
        return sorted(range(self._study.budget.trials), key=lambda number: -ends[f"{arm.key} {number}"])

    def rows(self) -> list[Row]:
        return [json.loads(line) for line in self._out.read_text().splitlines()] if self._out.exists() else []

    def record(self, arm: Arm, number: int, config: Row, seed: int) -> None:
        study = resolve(self._study, config)
        chosen = student_indices(self._prepared.splits, study.data.source, study.data.size, study.data.weight)
        epochs = study.budget.epochs
        job = Job(study, as_tensor(chosen), self._validation, seed, epochs)
        curve: list[float] = []
        guide = self._guide(study) if arm.name == names.DISTILLED and study.kd.alpha > 0 else None
        with tempfile.TemporaryDirectory() as folder:
            try:
                train(job, self._images, guide, lambda told: curve.append(told[names.VAL_ACCURACY]), Path(folder) / "t")
            except Diverged:
                curve += [0.0] * (epochs - len(curve))
        row = {
            "table": self._out.stem + (f" {plan.label(plan.control_cell(arm.cell))}" if arm.cell else ""),
            "arm": arm.name,
            "facts": {key: config[key] for key in FACTS if key in config} | {"data.dataset": study.data.dataset},
            "config": {key: config[key] for key in searched_keys(self._study, arm.name)},
            "of": f"{arm.key} {number}",
            "seed": seed,
            "accuracy": [round(value, 4) for value in curve],
        }
        self._out.parent.mkdir(parents=True, exist_ok=True)
        with self._out.open("a") as file:
            file.write(json.dumps(row) + "\n")
        print(f"{row['of']}: {curve[-1]:.3f}", flush=True)

    def _guide(self, study: Study) -> Guide:
        splits = self._prepared.splits
        if self._teacher is None:
            numbers = as_tensor(splits.teacher)
            if study.teacher.checkpoint:
                self._teacher = teacher.load(study, Path(study.teacher.checkpoint), self._images)
            else:
                with tempfile.TemporaryDirectory() as folder:
                    order = teacher.order(self._study, self._images, numbers, self._validation)
                    self._teacher = teacher.make(order, Path(folder) / "t", lambda told: None)
        views = Views.of(study.augment, study.seed)
        if views.key not in self._guides:
            self._guides[views.key] = Guide.of(self._teacher, self._images, splits.digests["images"], views)
        return self._guides[views.key]


if __name__ == "__main__":
    sys.exit(main())

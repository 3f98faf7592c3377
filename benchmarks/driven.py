"""Our search driven from Python, without the command around it: what a benchmark of its parts needs."""

import json
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import ray
from ray import tune

from tune_kd import names, plan
from tune_kd.cluster import connection
from tune_kd.execution import runner
from tune_kd.execution.order import Order
from tune_kd.execution.resources import fixed
from tune_kd.execution.trial import Report
from tune_kd.names import TrialState
from tune_kd.plan import Plan
from tune_kd.space.load import load
from tune_kd.space.study import Study
from tune_kd.teacher.making import Teacher
from tune_kd.tuning.callbacks import Callback, Everyone
from tune_kd.tuning.conductor import OK, OUTCOME, Conductor
from tune_kd.tuning.entry import RESULT, Entry
from tune_kd.tuning.ledger import Ledger

LegTraining = Callable[[Mapping[str, Any], ray.ObjectRef[Any], Report], dict[str, Any]]

IDLE_STUDY = """
study: idle
question: What does a search cost that trains nothing?
control: false
search:
  kd.alpha: {{uniform: [0.1, 1.0]}}
  train.lr: {{loguniform: [0.0005, 0.05]}}
budget: {{trials: {trials}, epochs: {reports}, repeats: 1, early_stopping: none, sampler: {sampler}}}
resources: {{cpu: {cpu}, gpu: 0}}
"""


@dataclass
class Clock:
    """A callback that notes when each training began and ended."""

    began: dict[str, float] = field(default_factory=dict)
    done: dict[str, float] = field(default_factory=dict)
    reports: int = 0
    first_report: float = float("nan")
    points: Counter[tuple[str, str, int]] = field(default_factory=Counter)
    at_end: Callable[[int], None] = lambda number: None

    def started(self, entry: Entry) -> None:
        self.began.setdefault(entry.key, time.perf_counter())

    def reported(self, entry: Entry, metrics: Mapping[str, float]) -> None:
        self.reports += 1
        if self.reports == 1:
            self.first_report = time.perf_counter()

    def paused(self, entry: Entry) -> None: ...

    def ended(self, entry: Entry, state: TrialState, reason: str, results: Mapping[str, Any]) -> None:
        self.done[entry.key] = time.perf_counter()
        self.at_end(len(self.done))


class Idle:
    """Takes the time that it is told to take, computes nothing, and reports as a training does."""

    def __init__(self, seconds_per_report: float) -> None:
        self.seconds = seconds_per_report

    def __call__(self, config: Mapping[str, Any], material: ray.ObjectRef[Any], report: Report) -> dict[str, Any]:
        order: Order = config["order"]
        quality = float(np.random.default_rng(order.seed).random())
        for epoch in range(order.reported + 1, order.until + 1):
            if self.seconds:
                time.sleep(self.seconds)
            report({names.EPOCH: epoch, names.VAL_ACCURACY: quality * (1 - 0.5**epoch), names.SECONDS: self.seconds})
        if not order.final:
            return {OUTCOME: OK}
        return {OUTCOME: OK, RESULT: json.dumps({names.TEST_ACCURACY: quality})}


@contextmanager
def connected(address: str | None) -> Iterator[float]:
    """Ray, and how many processors a trial must ask for so that two run at once."""
    with connection.connected(address):
        yield ray.cluster_resources()["CPU"] / 2


def idle_study(trials: int, reports: int, cpu: float, sampler: str = "tpe") -> Study:
    return load(IDLE_STUDY.format(trials=trials, reports=reports, cpu=cpu, sampler=sampler))


@dataclass(frozen=True)
class Search:
    """A search that is about to be conducted, in a folder of its own."""

    plan: Plan
    ledger: Ledger
    folder: Path

    @classmethod
    def of(cls, study: Study, folder: Path) -> "Search":
        folder.mkdir(parents=True, exist_ok=True)
        planned = plan.make(study)
        return cls(planned, Ledger(folder / names.LEDGER_FILE, planned), folder)

    def conduct(self, material: Any, training: LegTraining, *listeners: Callback, teacher: Teacher | None) -> float:
        """All of it, and its seconds; Ray must be there already, and the teacher made."""
        study = self.plan.study
        conductor = Conductor(self.plan, self.ledger, Everyone(listeners))
        shares = fixed([study.student.model], study.resources.cpu, 0.0)
        seen = Made(ray.put(teacher) if teacher else None)
        trial = partial(_trial, training=training, material=ray.put(material))
        started = time.perf_counter()
        runner.drive(conductor, trial, shares, lambda: None, seen)
        return time.perf_counter() - started


@dataclass(frozen=True)
class Made:
    """A teacher that was there before the search."""

    reference: ray.ObjectRef[Any] | None

    def takes(self) -> None:
        """Nothing of the machines, now."""


def _trial(config: dict[str, Any], training: LegTraining, material: ray.ObjectRef[Any]) -> dict[str, Any]:
    return training(config, material, tune.report)


@contextmanager
def scratch() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="tune_kd-bench-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)

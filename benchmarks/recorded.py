"""Recorded trainings, played by the real conductor: what is suggested is looked up, what it reports is read out."""

import gzip
import heapq
import json
import math
import random
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np
from optuna.trial import TrialState

from tune_kd import names, plan
from tune_kd.plan import Arm
from tune_kd.space.allowed import FIELDS
from tune_kd.space.load import load
from tune_kd.space.schema import Budget
from tune_kd.space.study import Study, suggest
from tune_kd.tuning.callbacks import Everyone
from tune_kd.tuning.conductor import OK, OUT_OF_TIME, OUTCOME, Conductor, Leg
from tune_kd.tuning.entry import RESULT, Entry
from tune_kd.tuning.experience import best_settings
from tune_kd.tuning.forecast import Forecast, Past
from tune_kd.tuning.ledger import Ledger
from tune_kd.tuning.rules import Rule
from tune_kd.tuning.rules.auto import Auto
from tune_kd.tuning.sampling import Foreseen, sampler

WIDE = 20.0
"""A setting whose largest value is so many times its smallest was drawn on a logarithmic scale."""

END = 3
"""What a training reaches is the mean of so many last epochs, which one lucky epoch cannot raise."""


@dataclass(frozen=True)
class Recording:
    config: Mapping[str, Any]
    curve: tuple[float, ...]

    @cached_property
    def end(self) -> float:
        return float(np.mean(self.curve[-END:]))


@dataclass(frozen=True, eq=False)
class Table:
    """All recordings of one arm, each of another setting."""

    name: str
    arm: str
    facts: Mapping[str, Any]
    rows: tuple[Recording, ...]

    @property
    def epochs(self) -> int:
        return len(self.rows[0].curve)

    @cached_property
    def best(self) -> float:
        return max(row.end for row in self.rows)

    @cached_property
    def top(self) -> frozenset[int]:
        """The true top 5 %."""
        ranked = sorted(range(len(self.rows)), key=lambda number: -self.rows[number].end)
        return frozenset(ranked[: max(1, len(ranked) // 20)])

    @cached_property
    def searched(self) -> Mapping[str, Any]:
        """The settings that a study can search, as their domains; whatever else a row has is a feature."""
        found: dict[str, Any] = {}
        for key in self.rows[0].config:
            values = [row.config[key] for row in self.rows]
            if key not in FIELDS or len(set(values)) < 2:
                continue
            numbers = all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in values)
            if not numbers or len(set(values)) < 6:
                found[key] = {"choice": sorted(set(values))}
            else:
                wide = min(values) > 0 and max(values) / min(values) >= WIDE
                found[key] = {"loguniform" if wide else "uniform": [min(values), max(values)]}
        return found

    def place(self, config: Mapping[str, Any]) -> np.ndarray:
        """A setting as a point: numbers between 0 and 1, choices one apart; nan where it leaves something open."""
        point: list[float] = []
        for key, domain in self.searched.items():
            (kind, bounds), value = next(iter(domain.items())), config.get(key)
            if value is None:
                point += [math.nan] * (len(bounds) if kind == "choice" else 1)
            elif kind == "choice":
                point += [float(value == one) / math.sqrt(2) for one in bounds]
            else:
                low, high, value = (math.log(x) if kind == "loguniform" else x for x in (*bounds, value))
                point.append((value - low) / (high - low))
        return np.array(point)

    @cached_property
    def places(self) -> np.ndarray:
        return np.stack([self.place(row.config) for row in self.rows])

    @cache  # noqa: B019 - there are few tables, and they stay
    def study(self, trials: int, kind: str) -> Study:
        budget = {"trials": trials, "epochs": self.epochs, "repeats": 1, "sampler": kind}
        study = {"study": "replay", "control": False, "search": self.searched, "budget": budget}
        return load(json.dumps(study) + "\n")


def likeness(facts: Mapping[str, Any]) -> tuple[Any, Any]:
    return facts.get("student.model"), facts.get("data.dataset")


def read(paths: Iterable[Path]) -> list[Table]:
    """By table and arm; of several seeds of one setting the first counts."""
    rows: dict[tuple[str, str], dict[str, tuple[dict[str, Any], Recording]]] = defaultdict(dict)
    for path in paths:
        packed = path.read_bytes()
        for line in (gzip.decompress(packed) if path.suffix == ".gz" else packed).splitlines():
            row = json.loads(line)
            key = json.dumps(row["config"], sort_keys=True)
            recording = Recording(row["config"], tuple(row["accuracy"]))
            rows[row["table"], row["arm"]].setdefault(key, (row.get("facts", {}), recording))
    return [
        Table(name, arm, next(iter(found.values()))[0], tuple(recording for _, recording in found.values()))
        for (name, arm), found in rows.items()
    ]


class RecordedLedger(Ledger):
    """Answers with what was recorded: at random in an order that all rules share, else next to what Optuna suggests."""

    def __init__(
        self, table: Table, study: Study, rule: type[Rule], seed: int, first: Sequence[Mapping[str, Any]] = ()
    ) -> None:
        self._table = table
        self._rule = rule
        self._first = list(first)
        self._left = list(range(len(table.rows)))
        random.Random(seed).shuffle(self._left)
        self.taken: dict[int, int] = {}
        """By the trial's number: the row that it plays."""
        planned = plan.make(study)
        arms = tuple(replace(arm, name=table.arm) for arm in planned.arms)
        self.plan = plan.Plan(study, planned.cells, arms)
        super().__init__(None, self.plan)

    def ask(self, arm: Arm, foreseen: Foreseen = dict) -> Entry:
        if self._first:
            number = self._nearest(self._first.pop(0))
        else:
            number = self._suggested(arm, foreseen) if self.plan.study.budget.sampler != "random" else self._left[0]
        self._left.remove(number)
        row = self._table.rows[number]
        self._arms[arm.number].enqueue_trial({key: row.config[key] for key in self._table.searched})
        entry = super().ask(arm)
        self.taken[entry.number] = number
        return replace(entry, config={**entry.config, **row.config})

    def _suggested(self, arm: Arm, foreseen: Foreseen) -> int:
        """The recording that is nearest to a suggestion and not yet taken."""
        budget, study = self.plan.study.budget, self._arms[arm.number]
        seed = random.Random(f"{self.plan.study.seed} {len(self.taken)}").randrange(2**31)
        study.sampler = sampler(budget.sampler, seed, budget.trials, self.objective, {}, None, foreseen)
        probe = study.ask()
        config = suggest(self.plan.study, arm.name, arm.cell, probe)
        self._storage.set_trial_state_values(probe._trial_id, TrialState.FAIL)
        return self._nearest(config)

    def _nearest(self, config: Mapping[str, Any]) -> int:
        distances = np.nansum(np.square(self._table.places[self._left] - self._table.place(config)), axis=1)
        return self._left[int(distances.argmin())]

    def rule(self, arm: Arm) -> Rule:
        return self._rule(self.plan.study.budget, self.objective, {})

    def row(self, entry: Entry) -> Recording:
        return self._table.rows[self.taken[entry.number]]


@dataclass(frozen=True)
class Replayed:
    """What became of one search."""

    chosen: int
    begun: Sequence[int]
    """Rows, in the order they were begun."""
    ended: frozenset[int]
    """Rows that were trained to the end."""
    shown: Sequence[float]
    """The best that each begun training showed."""
    epochs: int


def relatives(table: Table, siblings: tuple[Table, ...]) -> list[Past]:
    """Those of the same student and data set; a table's own other arm is part of the same search."""
    return [
        Past(one.name, one.arm, one.epochs, tuple(row.config for row in one.rows), tuple(row.curve for row in one.rows))
        for one in siblings
        if one.name != table.name and likeness(one.facts) == likeness(table.facts)
    ]


@cache
def forecast(table: Table, siblings: tuple[Table, ...]) -> Forecast | None:
    pasts, marks = relatives(table, siblings), Auto.marks(Budget(trials=1, epochs=table.epochs))
    return Forecast(pasts, [mark / table.epochs for mark in marks]) if pasts else None


@cache
def tried_first(table: Table, siblings: tuple[Table, ...], trials: int) -> Sequence[Mapping[str, Any]]:
    return best_settings(relatives(table, siblings), table.study(trials, "random"))


def replay(
    table: Table,
    rule: type[Rule],
    kind: str,
    workers: int,
    trials: int,
    seed: int,
    siblings: tuple[Table, ...] = (),
    within: float = math.inf,
) -> Replayed:
    """One arm, its trials only, on so many workers; an epoch takes about as long as another, and with `within` the time
    is up when each worker could have trained so many."""
    study = table.study(trials, kind).model_copy(update={"seed": seed})
    if within < math.inf:
        study = study.model_copy(update={"budget": study.budget.model_copy(update={"seconds": within})})
    ledger = RecordedLedger(table, study, rule, seed, tried_first(table, siblings, trials))
    arm = ledger.plan.arms[0]
    now, count, epochs = 0.0, 0, 0
    conductor = Conductor(ledger.plan, ledger, Everyone([]), clock=lambda: now, forecast=forecast(table, siblings))
    luck = random.Random(seed)
    live: list[tuple[float, int, Leg, float]] = []
    while True:
        while len(live) < workers and isinstance(leg := conductor.next(), Leg) and not leg.entry.final:
            each = luck.uniform(0.9, 1.1)
            heapq.heappush(live, (now + (leg.until - leg.reported) * each, count, leg, each))
            count += 1
        if not live:
            break
        now, _, leg, each = heapq.heappop(live)
        late = math.ceil(max(0.0, now - within) / each)
        curve = ledger.row(leg.entry).curve
        for epoch in range(leg.reported + 1, leg.until + 1 - late):
            conductor.reported(leg, {names.EPOCH: epoch, names.VAL_ACCURACY: curve[epoch - 1], names.SECONDS: each})
            epochs += 1
        conductor.ended(leg, {OUTCOME: OUT_OF_TIME} if late else {OUTCOME: OK, RESULT: "{}"})
    told = [(ledger.taken[entry.number], trial.intermediate_values) for entry, trial in ledger.entries(arm)]
    best = ledger.best(arm)
    assert best is not None
    return Replayed(
        ledger.taken[best[0].number],
        [row for row, _ in told],
        frozenset(row for row, values in told if len(values) == table.epochs),
        [max(values.values(), default=0.0) for _, values in told],
        epochs,
    )

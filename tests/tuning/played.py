"""Plays searches without Ray: a made-up training answers each leg, and whatever happens is heard."""

import json
import math
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tune_kd import names, plan
from tune_kd.space.load import load
from tune_kd.tuning.conductor import DIVERGED, MESSAGE, OK, OUTCOME, Conductor, Leg
from tune_kd.tuning.entry import RESULT, Entry
from tune_kd.tuning.ledger import Ledger

STUDY = """
study: played
question: Which is best?
seed: 3
conditions: {data.size: [50, 100]}
search:
  kd.alpha: {uniform: [0.1, 1.0]}
  train.lr: {loguniform: [0.001, 0.1]}
first:
  - {kd.alpha: 0.9, train.lr: 0.01}
budget: {trials: 9, epochs: 9, repeats: 2, early_stopping: asha}
"""

MODELS: Mapping[str, tuple[float, float]] = {
    "tiny": (1.0, 0.55),
    "small": (2.0, 0.7),
    "wasteful": (3.0, 0.45),
    "large": (9.0, 0.9),
}
"""For searches with two objectives: model to cost and to what it can reach. The front has all but the wasteful one."""


class Heard:
    """A callback that remembers."""

    def __init__(self) -> None:
        self.events: list[tuple[str, str, Any]] = []

    def started(self, entry: Entry) -> None:
        self.events.append(("started", entry.key, None))

    def reported(self, entry: Entry, metrics: Mapping[str, float]) -> None:
        self.events.append(("reported", entry.key, int(metrics[names.EPOCH])))

    def paused(self, entry: Entry) -> None:
        self.events.append(("paused", entry.key, None))

    def ended(self, entry: Entry, state: str, reason: str, results: Mapping[str, Any]) -> None:
        self.events.append(("ended", entry.key, (state, reason)))


class Play:
    """One search in one folder; making another on the same folder is a resume."""

    def __init__(self, folder: Path, *settings: str) -> None:
        folder.mkdir(exist_ok=True)
        self.plan = plan.make(load(STUDY, settings))
        self.ledger = Ledger(folder / names.LEDGER_FILE, self.plan)
        self.ledger.know_costs(lambda: {model: cost for model, (cost, _) in MODELS.items()})
        self.heard = Heard()
        self.conductor = Conductor(self.plan, self.ledger, self.heard)

    def run(self, legs: int | None = None, slots: int = 1) -> None:
        """Until it is done, or so many legs have been taken up; the legs of several slots end in a shuffled order."""
        shuffle = random.Random(0)
        live: list[Leg] = []
        taken = 0
        while True:
            while len(live) < slots and (legs is None or taken < legs):
                leg = self.conductor.next()
                if isinstance(leg, str):
                    break
                live.append(leg)
                taken += 1
            if not live:
                return
            self.train(live.pop(shuffle.randrange(len(live))))

    def train(self, leg: Leg, epochs: int | None = None, better: float = 0.0) -> None:
        """All of the leg, or its first epochs only, after which its process is gone; `better` raises its accuracies."""
        last = leg.until if epochs is None else leg.reported + epochs
        for epoch in range(leg.reported + 1, last + 1):
            found = metrics(leg.entry, epoch)
            self.conductor.reported(leg, found | {names.VAL_ACCURACY: found[names.VAL_ACCURACY] + better})
        if epochs is None:
            result = {RESULT: json.dumps({names.TEST_ACCURACY: quality(leg.entry)})} if leg.entry.final else {}
            self.conductor.ended(leg, {OUTCOME: OK, **result})

    def diverge(self, leg: Leg) -> None:
        self.conductor.ended(leg, {OUTCOME: DIVERGED, MESSAGE: "the training loss became nan in epoch 1"})

    def states(self) -> list[tuple[str, int, str]]:
        return [
            (entry.arm.key, len(trial.intermediate_values), trial.state.name)
            for arm in self.plan.arms
            for entry, trial in self.ledger.entries(arm)
        ]

    def configs(self) -> list[str]:
        return [json.dumps(entry.config) for arm in self.plan.arms for entry, _ in self.ledger.entries(arm)]


def quality(entry: Entry) -> float:
    """A hill over the learning rate, and a little luck by seed."""
    height = 1 - abs(math.log10(entry.config["train.lr"]) + 2) / 2
    _, reachable = MODELS.get(entry.config["student.model"], (0.0, 0.9))
    return reachable * height + 0.01 * random.Random(entry.seed).random()


def metrics(entry: Entry, epoch: int) -> dict[str, float]:
    return {
        names.EPOCH: epoch,
        names.VAL_ACCURACY: quality(entry) * (1 - 0.5**epoch),
        names.SECONDS: 1.0,
    }

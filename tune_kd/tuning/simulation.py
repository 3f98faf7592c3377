"""A search played through without training: the real conductor on a number of slots, each leg taking its measured time.

Which trial is the better one is drawn at random; how many come how far hardly depends on it.
"""

import heapq
import json
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from tune_kd import names
from tune_kd.plan import Arm, Plan
from tune_kd.space.designs import called
from tune_kd.tuning.callbacks import Everyone
from tune_kd.tuning.conductor import OK, OUTCOME, Conductor, Leg
from tune_kd.tuning.entry import RESULT
from tune_kd.tuning.ledger import Ledger


@dataclass(frozen=True)
class Costs:
    """Seconds. What the driver does is done for one leg after the other, however many slots there are."""

    epoch: Callable[[Arm], float]
    final: float
    """Testing one final and taking its latency."""
    process: float
    """Until a slot's process is there for its first leg."""
    leg: float
    """Of the driver, to hand out a leg and to hear of its end."""
    report: float
    """Of the driver, to write down an epoch."""


@dataclass(frozen=True)
class Played:
    seconds: float
    busy: float
    """Slot-seconds spent training."""
    epochs: int
    finals: int


def play(plan: Plan, slots: int, costs: Costs) -> Played:
    """From the first leg to the last final."""
    # What is suggested matters to nobody here, and at random is quick.
    study = plan.study.model_copy(update={"budget": plan.study.budget.model_copy(update={"sampler": "random"})})
    ledger = Ledger(None, Plan(study, plan.cells, plan.arms))
    ledger.know_costs(lambda: {model: float(place) for place, model in enumerate(ledger.objective.models)})
    now = driver = busy = 0.0
    epochs = finals = count = 0
    conductor = Conductor(plan, ledger, Everyone([]), clock=lambda: max(now, driver))
    free = [(costs.process, slot) for slot in range(slots)]
    heapq.heapify(free)
    live: list[tuple[float, int, Leg, int]] = []
    while True:
        # Legs go to slots as long as there are both; a process that is still starting has its first leg already.
        while free and not isinstance(leg := conductor.next(), str):
            ready, slot = heapq.heappop(free)
            driver = max(driver, now) + costs.leg
            took = (leg.until - leg.reported) * costs.epoch(leg.entry.arm) + (costs.final if leg.entry.final else 0.0)
            heapq.heappush(live, (max(driver, ready) + took, count, leg, slot))
            count, busy, epochs = count + 1, busy + took, epochs + leg.until - leg.reported
            finals += leg.entry.final
        if not live:
            return Played(max(now, driver), busy, epochs, finals)
        now, _, leg, slot = heapq.heappop(live)
        driver = max(driver, now - costs.report) + costs.report * (leg.until - leg.reported)
        _end(conductor, leg, ledger.objective.models, study.objective.metric)
        heapq.heappush(free, (now, slot))


def _end(conductor: Conductor, leg: Leg, models: tuple[str, ...], metric: str) -> None:
    """The dearer a model, the more accurate it is, so that all of them are on the front: that is the most there is."""
    model = called(leg.entry.config)
    value = random.Random(leg.entry.seed).random() + (models.index(model) if model in models else 0)
    for epoch in range(leg.reported + 1, leg.until + 1):
        conductor.reported(leg, {names.EPOCH: epoch, names.validated(metric): value, names.SECONDS: 0.0})
    result: Mapping[str, str] = {RESULT: json.dumps({names.tested(metric): value})} if leg.entry.final else {}
    conductor.ended(leg, {OUTCOME: OK, **result})

"""A search played through without training: the same ladders on a number of slots, each leg taking its measured time.

Which trial is the better one is drawn at random; how many reach which rung hardly depends on it.
"""

import heapq
import random
from collections.abc import Callable
from dataclasses import dataclass, field

from tune_kd.plan import Arm, Plan
from tune_kd.tuning.ladder import GoOn, Ladder, Step


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


@dataclass
class _Side:
    """One arm while it is played."""

    arm: Arm
    ladder: Ladder
    finals: int = 0
    step: Step = "new"


@dataclass(frozen=True)
class _Leg:
    side: int
    number: int
    start: int
    until: int


@dataclass
class _Player:
    plan: Plan
    costs: Costs
    sides: list[_Side]
    luck: random.Random = field(default_factory=lambda: random.Random(0))

    def next(self) -> _Leg | None:
        """The same order as the conductor's: a promotion before a new trial, then finals of arms that are done."""
        onward = [(side.step.rung, -k) for k, side in enumerate(self.sides) if isinstance(side.step, GoOn)]
        if onward:
            return self._go_on(-max(onward)[1])
        fresh = [(len(side.ladder.epochs), k) for k, side in enumerate(self.sides) if side.step == "new"]
        if fresh:
            return self._begin(min(fresh)[1])
        for k, side in enumerate(self.sides):
            if side.step == "done" and side.finals < self.plan.study.budget.repeats:
                side.finals += 1
                return _Leg(k, -side.finals, 0, self.plan.study.budget.epochs)
        return None

    def _go_on(self, k: int) -> _Leg:
        side, step = self.sides[k], self.sides[k].step
        assert isinstance(step, GoOn)
        return self._live(_Leg(k, step.number, side.ladder.epochs[step.number], step.until))

    def _begin(self, k: int) -> _Leg:
        ladder = self.sides[k].ladder
        number = len(ladder.epochs)
        ladder.asked(number)
        return self._live(_Leg(k, number, 0, ladder.rungs[0]))

    def _live(self, leg: _Leg) -> _Leg:
        side = self.sides[leg.side]
        side.ladder.live.add(leg.number)
        side.step = side.ladder.next()
        return leg

    def end(self, leg: _Leg) -> None:
        if leg.number < 0:
            return
        side = self.sides[leg.side]
        side.ladder.reported(leg.number, leg.until, self.luck.random())
        side.ladder.live.discard(leg.number)
        if leg.until == side.ladder.rungs[-1] or side.ladder.stops(leg.number):
            side.ladder.finished(leg.number)
        side.step = side.ladder.next()


def play(plan: Plan, slots: int, costs: Costs) -> Played:
    """From the first leg to the last final."""
    player = _Player(plan, costs, [_Side(arm, _ladder(plan)) for arm in plan.arms])
    free = [(costs.process, slot) for slot in range(slots)]
    heapq.heapify(free)
    live: list[tuple[float, int, _Leg, int]] = []
    now, driver, busy, epochs, count = 0.0, 0.0, 0.0, 0, 0
    while True:
        # Legs go to slots as long as there are both; a process that is still starting has its first leg already.
        while free and (leg := player.next()):
            ready, slot = heapq.heappop(free)
            driver = max(driver, now) + costs.leg
            took = _seconds(leg, player.sides[leg.side].arm, costs)
            end = max(driver, ready) + took
            heapq.heappush(live, (end, count, leg, slot))
            count, busy, epochs = count + 1, busy + took, epochs + leg.until - leg.start
        if not live:
            return Played(max(now, driver), busy, epochs)
        now, _, leg, slot = heapq.heappop(live)
        driver = max(driver, now - costs.report) + costs.report * (leg.until - leg.start)
        player.end(leg)
        heapq.heappush(free, (now, slot))


def _seconds(leg: _Leg, arm: Arm, costs: Costs) -> float:
    return (leg.until - leg.start) * costs.epoch(arm) + (costs.final if leg.number < 0 else 0.0)


def _ladder(plan: Plan) -> Ladder:
    study = plan.study
    return Ladder(
        study.rungs(),
        study.budget.reduction,
        study.budget.trials,
        study.complete(),
        study.budget.early_stopping == "stop",
    )

"""Decides what is trained next and writes down what became of it. Knows no Ray: it hands out legs, hears of their end.

A leg is one training taken up to its next rung. Because a leg always ends by itself, pausing, promoting, resuming after
a kill and moving to another node are all the same thing: the next leg starts from the last one's checkpoint.
"""

import json
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from tune_kd import names
from tune_kd.plan import Arm, Plan
from tune_kd.tracking import TrialState
from tune_kd.tuning.audience import Audience
from tune_kd.tuning.ladder import GoOn, Ladder
from tune_kd.tuning.ledger import ATTEMPTS, RESULT, SECONDS, Entry, Ledger, best_value

MOST_ATTEMPTS = 3
"""A training whose process dies this often without a report between is given up."""

OK, DIVERGED, FAILED, OUT_OF_TIME = "ok", "diverged", "failed", "out of time"
OUTCOME, MESSAGE = "outcome", "message"


@dataclass(frozen=True)
class Leg:
    """A part of one training, up to epoch `until`; `reported` epochs are in the ledger already."""

    entry: Entry
    until: int
    reported: int
    deadline: float

    def checkpoint(self, folder: Path) -> Path:
        return folder / f"{self.entry.key}.pt"


class Conductor:
    def __init__(self, plan: Plan, ledger: Ledger, audience: Audience, clock: Callable[[], float] = time.time) -> None:
        self._plan = plan
        self._ledger = ledger
        self._audience = audience
        self._clock = clock
        self._ladders: dict[int, Ladder] = {arm.number: ledger.ladder(arm) for arm in plan.arms}
        self._deadline = clock() + plan.study.budget.seconds if plan.study.budget.seconds else math.inf
        self._live: dict[int, Leg] = {}
        self._seconds: dict[int, float] = {}
        self._settled: set[int] = set()
        for arm in plan.arms:
            for entry, trial in list(ledger.entries(arm)):
                if not trial.state.is_finished():
                    self._at_rung(entry)

    @property
    def live(self) -> int:
        """Legs under way."""
        return len(self._live)

    # What to train next.

    def next(self) -> Leg | Literal["wait", "done"]:
        """The leg for the next free slot: a promotion before a new trial, then finals of arms that are done."""
        if self._clock() > self._deadline:
            for ladder in self._ladders.values():
                ladder.closing = True
        steps = {arm.number: self._ladders[arm.number].next() for arm in self._plan.arms}
        onward = {number: step for number, step in steps.items() if isinstance(step, GoOn)}
        if onward:
            number = max(onward, key=lambda number: (onward[number].rung, -number))
            return self._go_on(self._plan.arms[number], onward[number])
        fresh = [arm for arm in self._plan.arms if steps[arm.number] == "new"]
        if fresh:
            return self._new(min(fresh, key=lambda arm: (len(self._ladders[arm.number].epochs), arm.number)))
        for arm in self._plan.arms:
            if steps[arm.number] == "done":
                self._settle(arm)
                leg = self._next_final(arm)
                if leg:
                    return leg
        return "wait" if self._live else "done"

    def _go_on(self, arm: Arm, step: GoOn) -> Leg:
        entry, trial = next(pair for pair in self._ledger.entries(arm) if pair[0].number == step.number)
        return self._start(Leg(entry, step.until, len(trial.intermediate_values), self._deadline))

    def _new(self, arm: Arm) -> Leg:
        entry = self._ledger.ask(arm)
        ladder = self._ladders[arm.number]
        ladder.asked(entry.number)
        return self._start(Leg(entry, ladder.rungs[0], 0, self._deadline))

    def _start(self, leg: Leg) -> Leg:
        self._live[leg.entry.id] = leg
        if not leg.entry.final:
            self._ladders[leg.entry.arm.number].live.add(leg.entry.number)
        self._seconds[leg.entry.id] = self._ledger.record(leg.entry).user_attrs.get(SECONDS, 0.0)
        self._audience.started(leg.entry)
        return leg

    def _next_final(self, arm: Arm) -> Leg | None:
        """The arm's best configuration on the next seed; one whose process went away is taken up again."""
        best = self._ledger.best(arm)
        if best is None:
            return None
        known = list(self._ledger.finals(arm))
        for entry, trial in known:
            if not trial.state.is_finished() and entry.id not in self._live:
                return self._start(Leg(entry, self._plan.study.budget.epochs, len(trial.intermediate_values), math.inf))
        if len(known) < self._plan.study.budget.repeats:
            entry = self._ledger.ask_final(arm, len(known), best[0].config)
            return self._start(Leg(entry, self._plan.study.budget.epochs, 0, math.inf))
        return None

    # What became of it.

    def reported(self, leg: Leg, metrics: Mapping[str, float]) -> None:
        """One epoch. The ledger first: what it does not have has not happened."""
        epoch, value = int(metrics[names.EPOCH]), metrics[names.VAL_ACCURACY]
        self._ledger.report(leg.entry, epoch, value)
        self._seconds[leg.entry.id] += metrics[names.SECONDS]
        if not leg.entry.final:
            self._ladders[leg.entry.arm.number].reported(leg.entry.number, epoch, value)
        self._audience.reported(leg.entry, metrics)

    def ended(self, leg: Leg, results: Mapping[str, Any]) -> None:
        """The leg's own last word: trained as far as it should be, or why not."""
        entry = leg.entry
        self._put_down(leg)
        if results[OUTCOME] == OK:
            self._trained(entry, results)
        elif results[OUTCOME] == OUT_OF_TIME:
            self._finish(entry, names.PRUNED, "the time was up")
        else:
            self._finish(entry, names.FAIL, results[MESSAGE])

    def died(self, leg: Leg) -> None:
        """The leg's process went away; the next leg goes on from its checkpoint, unless that keeps happening."""
        self._put_down(leg)
        record = self._ledger.record(leg.entry)
        epochs = len(record.intermediate_values)
        deaths, at = record.user_attrs.get(ATTEMPTS, (0, epochs))
        deaths = deaths + 1 if at == epochs else 1
        self._ledger.note(leg.entry, ATTEMPTS, (deaths, epochs))
        if deaths >= MOST_ATTEMPTS:
            self._finish(leg.entry, names.FAIL, f"its process died {deaths} times in a row after epoch {epochs}")
        elif not leg.entry.final:
            self._at_rung(leg.entry)

    def _put_down(self, leg: Leg) -> None:
        entry = leg.entry
        del self._live[entry.id]
        if not entry.final:
            self._ladders[entry.arm.number].live.discard(entry.number)
        self._ledger.note(entry, SECONDS, self._seconds.pop(entry.id))
        self._audience.paused(entry)

    def _trained(self, entry: Entry, results: Mapping[str, Any]) -> None:
        if entry.final:
            scores = json.loads(results[RESULT])
            self._ledger.note(entry, RESULT, scores)
            self._finish(entry, names.COMPLETE, value=scores[names.TEST_ACCURACY], results=scores)
            return
        self._at_rung(entry)

    def _at_rung(self, entry: Entry) -> None:
        """What becomes of a trial that has reported a rung's epoch, even if its process never said more."""
        ladder = self._ladders[entry.arm.number]
        epoch = ladder.epochs[entry.number]
        if epoch == ladder.rungs[-1]:
            self._finish(entry, names.COMPLETE, value=ladder.best[entry.number])
        elif epoch in ladder.rungs and ladder.stops(entry.number):
            self._finish(entry, names.PRUNED, f"not among the best at epoch {epoch}")

    def _settle(self, arm: Arm) -> None:
        """An arm is done: what still waits at a rung was not good enough."""
        if arm.number in self._settled:
            return
        self._settled.add(arm.number)
        ladder = self._ladders[arm.number]
        reason = "the time was up" if ladder.closing else "not among the best at epoch {epoch}"
        for entry, trial in list(self._ledger.entries(arm)):
            if not trial.state.is_finished():
                self._finish(entry, names.PRUNED, reason.format(epoch=ladder.epochs[entry.number]))

    def _finish(
        self,
        entry: Entry,
        state: TrialState,
        reason: str = "",
        value: float | None = None,
        results: Mapping[str, Any] | None = None,
    ) -> None:
        self._ledger.finish(entry, state, reason, value)
        if not entry.final:
            self._ladders[entry.arm.number].finished(entry.number)
        record = self._ledger.record(entry)
        best = {names.BEST_VAL_ACCURACY: best_value(record)} if record.intermediate_values else {}
        self._audience.ended(entry, state, reason, best | dict(results or {}))

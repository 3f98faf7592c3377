"""Decides what is trained next and writes down what became of it. Knows no Ray: it hands out legs, hears of their end.

A leg is one training taken up to its next rung. Because a leg always ends by itself, pausing, promoting, resuming after
a kill and moving to another node are all the same thing: the next leg starts from the last one's checkpoint.
"""

import json
import math
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from tune_kd import names
from tune_kd.errors import TuneKDError
from tune_kd.names import TrialState
from tune_kd.plan import Arm, Plan
from tune_kd.space.schema import CONFIRM_SEEDS, TrialConfig
from tune_kd.tuning.callbacks import Callback
from tune_kd.tuning.entry import ATTEMPTS, FACTOR, RESULT, SECONDS, Entry, best_value, kept_value
from tune_kd.tuning.forecast import Forecast
from tune_kd.tuning.ledger import Ledger
from tune_kd.tuning.ranking import to_confirm
from tune_kd.tuning.rules import GoOn, Rule

MOST_ATTEMPTS = 3
"""A training whose process dies this often without a report between is given up."""

NOTE_SECONDS = 2.0

MOST_UNSTORED = 10
"""A training that so often in a row cannot use the storage ends the search: it is not the training that is at fault."""

OK, DIVERGED, FAILED, OUT_OF_TIME, NOT_STORED = "ok", "diverged", "failed", "out of time", "not stored"
GPU_FULL, HOST_FULL = "out of memory", "out of memory on the host"
OUTCOME, MESSAGE = "outcome", "message"


@dataclass(frozen=True)
class Leg:
    """A part of one training, up to epoch `until`; `reported` epochs are in the ledger already."""

    entry: Entry
    until: int
    reported: int
    deadline: float
    factor: float = 1
    """How many times its usual share it gets."""


@dataclass(frozen=True)
class Again:
    """A configuration to retrain on the seed number `repeat`; with its entry where it was begun before."""

    config: TrialConfig
    repeat: int
    entry: Entry | None = None


class Conductor:
    """`taught` says whether the teacher is there; until then only what needs none is trained."""

    def __init__(
        self,
        plan: Plan,
        ledger: Ledger,
        callback: Callback,
        taught: Callable[[], bool] = lambda: True,
        clock: Callable[[], float] = time.time,
        forecast: Forecast | None = None,
    ) -> None:
        self._plan = plan
        self._metric = plan.study.objective.metric
        self._ledger = ledger
        self._callback = callback
        self._clock = clock
        self._taught = taught
        self._rules: dict[int, Rule] = {arm.number: ledger.rule(arm) for arm in plan.arms}
        for arm in plan.arms:
            self._rules[arm.number].arm, self._rules[arm.number].forecast = arm.name, forecast
        self._begun = clock()
        self._spent = self._noted = ledger.spent
        self._deadline = self._begun - self._spent + (plan.study.budget.seconds or math.inf)
        self._live: dict[int, Leg] = {}
        self._seconds: dict[int, float] = {}
        self._trials: dict[tuple[int, int], Entry] = {}
        """Those that are not finished."""
        self._confirmations: dict[int, deque[Again]] = {}
        self._finals: dict[int, deque[Again]] = {}
        self._unstored: Counter[int] = Counter()
        self.unstored: Counter[str] = Counter()
        """Why legs could not use the storage, and how often."""
        for arm in plan.arms:
            for entry, trial in list(ledger.entries(arm)):
                if not trial.state.is_finished():
                    self._trials[arm.number, entry.number] = entry
                    self._at_rung(entry)

    @property
    def live(self) -> int:
        """Legs under way."""
        return len(self._live)

    @property
    def forecast_stopped(self) -> int:
        """Trainings that a forecast kept from going on."""
        return sum(rule.forecast_stopped for rule in self._rules.values())

    @property
    def could_run(self) -> int:
        """Legs that could be under way with room without end: those that are, trials not yet asked for, and finals."""
        return self.live + sum(self._not_begun(arm) for arm in self._plan.arms)

    def _not_begun(self, arm: Arm) -> int:
        for todo in (self._finals, self._confirmations):
            if arm.number in todo:
                return len(todo[arm.number])
        rule = self._rules[arm.number]
        if rule.closing or not self._may_train(arm):
            return 0
        # One that goes on may let others go on after it, but not before.
        return max(rule.trials - len(rule.epochs), int(isinstance(rule.next(), GoOn)))

    def _may_train(self, arm: Arm) -> bool:
        return self._taught() or arm.name not in names.TAUGHT

    # What to train next.

    def next(self) -> Leg | Literal["wait", "done"]:
        """The leg for the next free slot: a promotion before a new trial, then finals of arms that are done."""
        if self._clock() > self._deadline:
            for rule in self._rules.values():
                rule.closing = True
        arms = [arm for arm in self._plan.arms if self._may_train(arm)]
        steps = {arm.number: self._rules[arm.number].next() for arm in arms}
        onward = {number: step for number, step in steps.items() if isinstance(step, GoOn)}
        if onward:
            number = max(onward, key=lambda number: (onward[number].rung, -number))
            return self._go_on(self._plan.arms[number], onward[number])
        fresh = [arm for arm in arms if steps[arm.number] == "new"]
        if fresh:
            return self._new(min(fresh, key=lambda arm: (len(self._rules[arm.number].epochs), arm.number)))
        done = [arm for arm in arms if steps[arm.number] == "done"]
        for arm in done:
            if leg := self._next_again(names.CONFIRMATION, arm):
                return leg
        # Every final is compared with the teacher.
        for arm in done if self._taught() else ():
            if self._chosen(arm) and self._front_known(arm) and (leg := self._next_again(names.FINAL, arm)):
                return leg
        return "wait" if self._live or not self._taught() else "done"

    def _chosen(self, arm: Arm) -> bool:
        """Whether the arm's trials are done, and what is to be confirmed has been."""
        under_way = any(leg.entry.role == names.CONFIRMATION and leg.entry.arm == arm for leg in self._live.values())
        return self._confirmations.get(arm.number) == deque() and not under_way

    def _front_known(self, arm: Arm) -> bool:
        """With two objectives the finals of an arm depend on its rivals' fronts, which must be done as well."""
        return not self._ledger.objective.rivals_first() or all(map(self._chosen, self._plan.rivals(arm)))

    def _go_on(self, arm: Arm, step: GoOn) -> Leg:
        reported = self._rules[arm.number].epochs[step.number]
        return self._start(Leg(self._trials[arm.number, step.number], step.until, reported, self._deadline))

    def _new(self, arm: Arm) -> Leg:
        rule = self._rules[arm.number]
        entry = self._ledger.ask(arm, rule.foreseen)
        self._trials[arm.number, entry.number] = entry
        rule.asked(entry.number, entry.config)
        return self._start(Leg(entry, rule.begin, 0, self._deadline))

    def _start(self, leg: Leg) -> Leg:
        leg = replace(leg, factor=self._ledger.record(leg.entry).user_attrs.get(FACTOR, 1))
        self._live[leg.entry.id] = leg
        if leg.entry.role == names.TRIAL:
            self._rules[leg.entry.arm.number].live.add(leg.entry.number)
        self._seconds[leg.entry.id] = self._ledger.record(leg.entry).user_attrs.get(SECONDS, 0.0)
        self._callback.started(leg.entry)
        return leg

    def _next_again(self, role: names.Role, arm: Arm) -> Leg | None:
        """One of the arm's best configurations on the next seed; one whose process went away is taken up again."""
        todos = self._again(role)
        if arm.number not in todos:
            self._settle(arm)
            todos[arm.number] = deque(self._to_do(role, arm))
        if not todos[arm.number]:
            return None
        todo = todos[arm.number].popleft()
        entry = todo.entry or self._ledger.ask_again(role, arm, todo.repeat, todo.config)
        reported = len(self._ledger.record(entry).intermediate_values)
        deadline = math.inf if role == names.FINAL else self._deadline
        return self._start(Leg(entry, self._plan.study.budget.epochs, reported, deadline))

    def _again(self, role: names.Role) -> dict[int, deque[Again]]:
        return self._finals if role == names.FINAL else self._confirmations

    def _to_do(self, role: names.Role, arm: Arm) -> Iterator[Again]:
        if role == names.FINAL:
            configs, seeds = self._ledger.chosen(arm), self._plan.study.budget.repeats
        else:
            closing = self._rules[arm.number].closing
            configs, seeds = [] if closing else to_confirm(self._ledger, self._plan, arm), CONFIRM_SEEDS
        begun = list(self._ledger.again(role, arm))
        for config in configs:
            known = [(entry, trial) for entry, trial in begun if entry.config == config]
            for repeat, (entry, trial) in enumerate(known):
                if not trial.state.is_finished():
                    yield Again(config, repeat, entry)
            for repeat in range(len(known), seeds):
                yield Again(config, repeat)

    # What became of it.

    def reported(self, leg: Leg, metrics: Mapping[str, float]) -> None:
        """One epoch. The ledger first: what it does not have has not happened."""
        epoch, value = int(metrics[names.EPOCH]), metrics[names.validated(self._metric)]
        self._ledger.report(leg.entry, epoch, value)
        self._seconds[leg.entry.id] += metrics[names.SECONDS]
        self._unstored.pop(leg.entry.id, None)
        if leg.entry.role == names.TRIAL:
            self._rules[leg.entry.arm.number].reported(leg.entry.number, epoch, value)
        self._callback.reported(leg.entry, metrics)

    def ended(self, leg: Leg, results: Mapping[str, Any]) -> None:
        """The leg's own last word: trained as far as it should be, or why not."""
        entry = leg.entry
        self._put_down(leg)
        if results[OUTCOME] == OK:
            self._trained(entry, results)
        elif results[OUTCOME] == OUT_OF_TIME:
            self._finish(entry, names.PRUNED, "the time was up")
        elif results[OUTCOME] == NOT_STORED:
            self._not_stored(entry, results[MESSAGE])
        elif results[OUTCOME] == GPU_FULL and leg.factor == 1:
            # No fault of its settings, so the sampler hears nothing of it: it goes on from its checkpoint.
            self._ledger.note(entry, FACTOR, 2)
            self._stands(entry)
        elif results[OUTCOME] == HOST_FULL:
            self._gone(entry, f" ({results[MESSAGE]})")
        else:
            self._finish(entry, names.FAIL, results[MESSAGE])

    def died(self, leg: Leg, cause: str = "") -> None:
        """The leg's process went away; the next leg goes on from its checkpoint, unless that keeps happening."""
        self._put_down(leg)
        self._gone(leg.entry, f" ({cause})" if cause else "")

    def _gone(self, entry: Entry, cause: str) -> None:
        record = self._ledger.record(entry)
        epochs = len(record.intermediate_values)
        deaths, at = record.user_attrs.get(ATTEMPTS, (0, epochs))
        deaths = deaths + 1 if at == epochs else 1
        self._ledger.note(entry, ATTEMPTS, (deaths, epochs))
        if deaths >= MOST_ATTEMPTS:
            self._finish(entry, names.FAIL, f"its process died {deaths} times in a row after epoch {epochs}{cause}")
        else:
            self._stands(entry)

    def _stands(self, entry: Entry) -> None:
        """A training put down before its leg was done: another leg takes it up, unless its last epoch was reported."""
        if entry.role == names.TRIAL:
            self._at_rung(entry)
        else:
            self._again(entry.role)[entry.arm.number].appendleft(Again(entry.config, 0, entry))

    def _not_stored(self, entry: Entry, reason: str) -> None:
        """Says nothing about the training; another node may be able to."""
        self.unstored[reason] += 1
        self._unstored[entry.id] += 1
        self._stands(entry)
        if self._unstored[entry.id] == MOST_UNSTORED:
            raise TuneKDError(f"{reason}. Everything so far is kept; mend it and go on with --resume.")

    def _put_down(self, leg: Leg) -> None:
        entry = leg.entry
        del self._live[entry.id]
        if entry.role == names.TRIAL:
            self._rules[entry.arm.number].live.discard(entry.number)
        self._ledger.note(entry, SECONDS, self._seconds.pop(entry.id))
        self._note_time()
        self._callback.paused(entry)

    def _note_time(self) -> None:
        """What the search has used up, so that a limited one has no more of it after a resume."""
        spent = self._spent + self._clock() - self._begun
        if spent - self._noted > NOTE_SECONDS:
            self._ledger.note_spent(spent)
            self._noted = spent

    def _trained(self, entry: Entry, results: Mapping[str, Any]) -> None:
        if entry.final:
            scores = json.loads(results[RESULT])
            self._ledger.note(entry, RESULT, scores)
            self._finish(entry, names.COMPLETE, value=scores[names.tested(self._metric)], results=scores)
        elif entry.role == names.CONFIRMATION:
            self._finish(entry, names.COMPLETE, value=kept_value(self._plan.study, self._ledger.record(entry)))
        else:
            self._at_rung(entry)

    def _at_rung(self, entry: Entry) -> None:
        """What becomes of a trial that has reported a rung's epoch, even if its process never said more."""
        rule = self._rules[entry.arm.number]
        epoch = rule.epochs[entry.number]
        if epoch == rule.last:
            self._finish(entry, names.COMPLETE, value=kept_value(self._plan.study, self._ledger.record(entry)))
        elif rule.stops(entry.number):
            self._finish(entry, names.PRUNED, f"not among the best at epoch {epoch}")

    def _settle(self, arm: Arm) -> None:
        """An arm is done: what still waits at a rung was not good enough."""
        rule = self._rules[arm.number]
        reason = "the time was up" if rule.closing else "not among the best at epoch {epoch}"
        for number in list(rule.waiting):
            entry = self._trials[arm.number, number]
            self._finish(entry, names.PRUNED, reason.format(epoch=rule.epochs[number]))

    def _finish(
        self,
        entry: Entry,
        state: TrialState,
        reason: str = "",
        value: float | None = None,
        results: Mapping[str, Any] | None = None,
    ) -> None:
        self._ledger.finish(entry, state, reason, value)
        if entry.role == names.TRIAL:
            self._rules[entry.arm.number].finished(entry.number)
            del self._trials[entry.arm.number, entry.number]
        record = self._ledger.record(entry)
        best = {names.best_validated(self._metric): best_value(record)} if record.intermediate_values else {}
        self._callback.ended(entry, state, reason, best | dict(results or {}))

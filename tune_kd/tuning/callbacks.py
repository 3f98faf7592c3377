"""Who hears what happens in a search: MLflow, whoever watches, and the user's own callbacks."""

import time
from collections.abc import Mapping, Sequence
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, Final, Protocol

from tune_kd import names
from tune_kd.errors import InputError
from tune_kd.names import TrialState
from tune_kd.plan import Plan, label
from tune_kd.space.study import Study, searched_keys
from tune_kd.tuning.entry import RESULT, Entry, best_value
from tune_kd.tuning.ledger import Ledger

if TYPE_CHECKING:
    from tune_kd.tracking import Tracker

STATES: Final[Mapping[str, TrialState]] = {state: state for state in (names.COMPLETE, names.PRUNED, names.FAIL)}


class Callback(Protocol):
    def started(self, entry: Entry) -> None: ...
    def reported(self, entry: Entry, metrics: Mapping[str, float]) -> None: ...
    def paused(self, entry: Entry) -> None: ...
    def ended(self, entry: Entry, state: TrialState, reason: str, results: Mapping[str, Any]) -> None: ...


EVENTS: Final = ("started", "reported", "paused", "ended")


class Own:
    """A callback of the user's: any object that has some of the events as methods; the others it does not hear."""

    def __init__(self, hears: object) -> None:
        if not any(callable(getattr(hears, event, None)) for event in EVENTS):
            raise InputError(
                f"callbacks: {hears!r} has none of the methods {', '.join(EVENTS)}, so it would hear nothing. Give an "
                "object with at least one of them, such as `reported(self, entry, metrics)`."
            )
        self._hears = hears

    def _tell(self, event: str, *what: Any) -> None:
        if listens := getattr(self._hears, event, None):
            listens(*what)

    def started(self, entry: Entry) -> None:
        self._tell("started", entry)

    def reported(self, entry: Entry, metrics: Mapping[str, float]) -> None:
        self._tell("reported", entry, metrics)

    def paused(self, entry: Entry) -> None:
        self._tell("paused", entry)

    def ended(self, entry: Entry, state: TrialState, reason: str, results: Mapping[str, Any]) -> None:
        self._tell("ended", entry, state, reason, results)


class Everyone:
    """Tells each of several."""

    def __init__(self, listeners: Sequence[Callback]) -> None:
        self._listeners = listeners

    def started(self, entry: Entry) -> None:
        for listener in self._listeners:
            listener.started(entry)

    def reported(self, entry: Entry, metrics: Mapping[str, float]) -> None:
        for listener in self._listeners:
            listener.reported(entry, metrics)

    def paused(self, entry: Entry) -> None:
        for listener in self._listeners:
            listener.paused(entry)

    def ended(self, entry: Entry, state: TrialState, reason: str, results: Mapping[str, Any]) -> None:
        for listener in self._listeners:
            listener.ended(entry, state, reason, results)


class Tracked:
    """Tells MLflow, and writes down in the ledger which of MLflow's runs belongs to which training."""

    def __init__(self, study: Study, tracker: "Tracker", ledger: Ledger, run_ids: SimpleQueue[tuple[str, str]]) -> None:
        self._study = study
        self._tracker = tracker
        self._ledger = ledger
        self._run_ids = run_ids
        self._begun: set[str] = set()

    def catch_up(self, plan: Plan) -> None:
        """Tells MLflow what the ledger has from before a resume; what it knows already it takes only once."""
        metric = self._study.objective.metric
        recorded = [pair for arm in plan.arms for pair in self._ledger.entries(arm)]
        self._tracker.reopen([entry.key for entry, trial in recorded if not trial.state.is_finished()])
        for entry, trial in [*recorded, *self._ledger.all_again()]:
            self.started(entry)
            for epoch, value in sorted(trial.intermediate_values.items()):
                self._tracker.metrics(entry.key, {names.validated(metric): value}, epoch, time.time())
            if trial.state.is_finished():
                scores = {names.best_validated(metric): best_value(trial)} if trial.intermediate_values else {}
                reason = trial.user_attrs.get(names.STOP_REASON, "")
                self.ended(entry, STATES[trial.state.name], reason, scores | trial.user_attrs.get(RESULT, {}))

    def started(self, entry: Entry) -> None:
        self._begun.add(entry.key)
        where = label(entry.arm.cell)
        searched = {key: entry.config[key] for key in searched_keys(self._study, entry.arm.name)}
        self._tracker.trial_started(
            entry.key,
            name=" · ".join(part for part in (entry.key.replace("-", " "), where, entry.arm.name) if part),
            params=searched,
            tags={names.TAG_ARM: entry.arm.name, names.TAG_CELL: where, names.TAG_KIND: entry.key.partition("-")[0]},
        )

    def reported(self, entry: Entry, metrics: Mapping[str, float]) -> None:
        told = (key for key in metrics if key in names.REPORTED or key.startswith(names.LOSS_PART))
        values = {key: metrics[key] for key in told}
        self._tracker.metrics(entry.key, values, int(metrics[names.EPOCH]), time.time())

    def paused(self, entry: Entry) -> None:
        self.note_run_ids()

    def ended(self, entry: Entry, state: TrialState, reason: str, results: Mapping[str, Any]) -> None:
        scores = {key: value for key, value in results.items() if isinstance(value, int | float)}
        self._tracker.trial_ended(entry.key, state=state, stop_reason=reason, ended=time.time(), metrics=scores)

    def wait_for_run_ids(self, seconds: float) -> None:
        """A store that is new is slow to answer at first; one that does not answer is not waited for."""
        deadline = time.monotonic() + seconds
        self.note_run_ids()
        while self._begun - self._ledger.run_ids().keys() and not self._tracker.problem and time.monotonic() < deadline:
            time.sleep(0.1)
            self.note_run_ids()

    def note_run_ids(self) -> None:
        """MLflow gives a run its id some time after we have begun it; the ledger has one writer, and that is us."""
        while True:
            try:
                key, run_id = self._run_ids.get_nowait()
            except Empty:
                return
            self._ledger.note_run(key, run_id)

"""Ray Tune's side of the conductor: a search algorithm that hands each leg to Tune as one of its trials."""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal

from ray.tune.experiment import Experiment, Trial
from ray.tune.registry import get_trainable_cls
from ray.tune.search import SearchAlgorithm

from tune_kd import log, names
from tune_kd.execution.inside_tune import LegTrial
from tune_kd.execution.order import NOTES, Order
from tune_kd.execution.resources import Node, Share, Shares, room
from tune_kd.tuning.conductor import OUTCOME, Conductor, Leg

PATIENCE_SECONDS = 15.0
"""Ray may have put small trainings so that a large one fits on no card, though there is room in all. It is not
overtaken by smaller ones for ever: after so long they let it in."""


class Broken(BaseException):
    """The search itself cannot go on. No `Exception`: Tune would take it for the death of a trial."""

    def __init__(self, cause: Exception) -> None:
        super().__init__()
        self.cause = cause


@contextmanager
def _not_the_trials() -> Iterator[None]:
    try:
        yield
    except Exception as error:
        raise Broken(error) from error


class Floor:
    """Which shares are taken by legs under way (and by what is `beside` them), and whether there is room for more."""

    def __init__(
        self,
        nodes: Callable[[], Sequence[Node]],
        beside: Callable[[], Share | None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._nodes = nodes
        self._beside = beside
        self._clock = clock
        self._taken: dict[str, Share] = {}
        self._waiting: dict[str, float] = {}

    def place(self, options: Sequence[Share]) -> Share | None:
        """The first of a leg's possible shares for which there is room now."""
        late = self._clock() - PATIENCE_SECONDS
        held_back = max((self._taken[key].gpu for key, since in self._waiting.items() if since < late), default=0.0)
        counts = Counter(self._taken.values())
        if beside := self._beside():
            counts[beside] += 1
        nodes = self._nodes()
        return next((share for share in options if share.gpu >= held_back and room(nodes, counts, share)), None)

    def take(self, key: str, share: Share) -> None:
        self._taken[key] = share
        self._waiting[key] = self._clock()

    def started(self, key: str) -> None:
        self._waiting.pop(key, None)

    def leave(self, key: str) -> None:
        del self._taken[key]
        self._waiting.pop(key, None)


class LegSearcher(SearchAlgorithm):
    """Holds nothing but which of Tune's trials is which leg, and a leg for which there is no room yet.

    `check` raises whatever ends the search. `slots` answers how many legs may be under way, from how many are and
    whether there may be more to hand out.
    """

    def __init__(
        self,
        conductor: Conductor,
        shares: Shares,
        floor: Floor,
        slots: Callable[[int, bool], int],
        wish: Callable[[Callable[[], int]], None],
        check: Callable[[], None],
        teacher: Callable[[], Any],
    ) -> None:
        self._check = check
        self._conductor = conductor
        self._shares = shares
        self._floor = floor
        self._slots = slots
        self._teacher = teacher
        self._wish = wish
        self._legs: dict[str, Leg] = {}
        self._in_hand: Leg | None = None
        self._experiment: Experiment
        self._trainable: type

    def add_configurations(self, experiments: Any) -> None:
        (self._experiment,) = experiments  # Tune has a list of them; a search is one
        self._trainable = get_trainable_cls(self._experiment.spec["run"])

    def next_trial(self) -> Trial | None:
        key = Trial.generate_id()
        order = self.suggest(key)
        return LegTrial(self._trainable, self._experiment, key, order) if order else None

    def suggest(self, trial_id: str) -> Order | None:
        # Tune asks between any two events, so this is where a search can be left with nothing half written.
        with _not_the_trials():
            self._check()
            self._wish(lambda: self._conductor.could_run)
            leg = self._in_hand or self._next()
        if leg == "done":
            self._finished = True
            return None
        if leg == "wait":
            return None
        # Only the suggestion says which student it is. One that needs more than there is waits here, and all others
        # behind it, so that a large one gets its turn.
        self._in_hand = leg
        share = self._floor.place(self._shares.options(leg.entry.config[names.STUDENT_MODEL], leg.factor))
        if share is None:
            return None
        self._in_hand = None
        self._legs[trial_id] = leg
        self._floor.take(trial_id, share)
        return self._order(leg, share)

    def _next(self) -> Leg | Literal["wait", "done"]:
        """Asked no earlier than there is a slot for the answer, so that a suggestion knows every result before it."""
        live = self._conductor.live
        most = self._slots(live, self._conductor.could_run > live)
        if live >= most or self._floor.place(self._shares.all) is None:
            return "wait"
        return self._conductor.next()

    def _order(self, leg: Leg, share: Share) -> Order:
        entry = leg.entry
        return Order(
            config=entry.config,
            arm=entry.arm.name,
            seed=entry.seed,
            until=leg.until,
            reported=leg.reported,
            deadline=leg.deadline,
            saved=entry.saved,
            final=entry.final,
            teacher=self._teacher(),
            share=share,
        )

    def started(self, trial_id: str) -> None:
        """It has a process."""
        self._floor.started(trial_id)

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        if OUTCOME not in result:
            with _not_the_trials():
                self._conductor.reported(self._legs[trial_id], result)

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        log.told((result or {}).get(NOTES, ""))
        if error or result is None or OUTCOME not in result:
            self.died(trial_id)
        else:
            with _not_the_trials():
                self._conductor.ended(self._put_down(trial_id), result)

    def died(self, trial_id: str, cause: str = "") -> None:
        """Its process is gone, or could not be used again; heard from several sides, so only the first counts."""
        if trial_id in self._legs:
            with _not_the_trials():
                self._conductor.died(self._put_down(trial_id), cause)

    def _put_down(self, trial_id: str) -> Leg:
        self._floor.leave(trial_id)
        return self._legs.pop(trial_id)

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: Tune takes snapshots, and the ledger has it all."""
        return {}

"""Ray Tune's side of the conductor: a searcher that hands each leg to Tune as one of its trials."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from ray.tune.search import Searcher

from tune_kd.tuning.conductor import OUTCOME, Conductor, Leg
from tune_kd.tuning.trial import Order


class Interrupted(KeyboardInterrupt):
    """The user wants the search to end now. No `Exception`: Tune must neither swallow it nor wait for its trials."""


class LegSearcher(Searcher):
    """Holds nothing but which of Tune's trials is which leg.

    `slots` answers how many legs may be under way, from how many are and whether there may be more to hand out.
    """

    def __init__(
        self,
        conductor: Conductor,
        slots: Callable[[int, bool], int],
        interrupted: Callable[[], bool],
        checkpoints: Path,
    ) -> None:
        super().__init__(metric=None, mode=None)
        self._interrupted = interrupted
        self._conductor = conductor
        self._slots = slots
        self._more = True
        self._checkpoints = checkpoints
        self._legs: dict[str, Leg] = {}

    def set_search_properties(self, metric: str | None, mode: str | None, config: dict[str, Any], **spec: Any) -> bool:
        return True

    def suggest(self, trial_id: str) -> Any:
        # Tune asks between any two events, so this is where a search can be left with nothing half written.
        if self._interrupted():
            raise Interrupted
        # Asked no earlier than there is a slot for the answer, so that a suggestion knows every result before it.
        if self._conductor.live >= self._slots(self._conductor.live, self._more):
            return None
        leg = self._conductor.next()
        self._more = leg != "wait"
        if leg == "done":
            return Searcher.FINISHED
        if leg == "wait":
            return None
        self._legs[trial_id] = leg
        entry = leg.entry
        saved = str(leg.checkpoint(self._checkpoints))
        order = Order(
            entry.config, entry.arm.name, entry.seed, leg.until, leg.reported, leg.deadline, saved, entry.final
        )
        return {"order": order}

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        if OUTCOME not in result:
            self._conductor.reported(self._legs[trial_id], result)

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        leg = self._legs.pop(trial_id)
        self._more = True
        if error or result is None or OUTCOME not in result:
            self._conductor.died(leg)
        else:
            self._conductor.ended(leg, result)

    # Tune's own snapshots are not used: the ledger has it all.

    def __getstate__(self) -> dict[str, Any]:
        return {}

    def save(self, checkpoint_path: str) -> None: ...

    def restore(self, checkpoint_path: str) -> None: ...

    def save_to_dir(self, checkpoint_dir: str, session_str: str = "default") -> None: ...

"""What is used of Optuna that is not public, and nothing of it anywhere else.

A test says whether the Optuna that is there still has it, as it was in `VERSION`.
"""

from collections.abc import Container, Sequence
from typing import Any, Final

from optuna.storages import BaseStorage
from optuna.study import Study
from optuna.study._frozen import FrozenStudy
from optuna.trial import FrozenTrial, Trial, TrialState

VERSION: Final = "5.0"


def id_of(trial: Trial | FrozenTrial) -> int:
    """By which a storage knows it: unique in the whole storage, which its number is not."""
    return trial._trial_id


def id_of_study(study: Study | FrozenStudy) -> int:
    return study._study_id


def storage_of(study: Study) -> BaseStorage:
    return study._storage


class ArmStudy(Study):
    """An arm's study, in which none waits before another setting is queued: Optuna looks through all trials for one."""

    _none_waits = False

    def enqueue_trial(self, *setting: Any, **more: Any) -> None:
        super().enqueue_trial(*setting, **more)
        self._none_waits = False

    def _pop_waiting_trial_id(self) -> int | None:
        found = None if self._none_waits else super()._pop_waiting_trial_id()
        self._none_waits = found is None
        return found


class Shown(Study):
    """A study that shows a sampler the trials of `shown`, once for all looks of one suggestion."""

    _seen: Sequence[FrozenTrial] | None = None

    def shown(self) -> Sequence[FrozenTrial]:
        return self.all()

    def all(self) -> list[FrozenTrial]:
        """As the storage has them."""
        return super()._get_trials(False)

    def one(self, trial_id: int) -> FrozenTrial:
        return self._storage.get_trial(trial_id)

    def _get_trials(
        self, deepcopy: bool = True, states: Container[TrialState] | None = None, use_cache: bool = False
    ) -> list[FrozenTrial]:
        if self._seen is None:
            self._seen = self.shown()
        return [trial for trial in self._seen if states is None or trial.state in states]

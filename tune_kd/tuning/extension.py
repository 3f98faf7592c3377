"""A search whose epochs have grown: trials that were complete go on. Optuna lets nobody change what has ended."""

from collections.abc import Sequence
from copy import deepcopy

import optuna
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState

from tune_kd.tuning.inside_optuna import id_of_study

INSTEAD_OF = "instead_of"


def take_up_again(study: optuna.Study, storage: BaseStorage, epochs: int) -> None:
    """Each complete trial of fewer epochs gets a copy that goes on; from then on that one stands for it."""
    trials = study.get_trials(deepcopy=False)
    known = replaced(trials)
    for trial in trials:
        short = len(trial.intermediate_values) < epochs
        if trial.state == TrialState.COMPLETE and short and trial.number not in known:
            copy = deepcopy(trial)
            copy.state, copy.values, copy.datetime_complete = TrialState.RUNNING, None, None
            copy.set_user_attr(INSTEAD_OF, trial.number)
            storage.create_new_trial(id_of_study(study), copy)


def replaced(trials: Sequence[FrozenTrial]) -> set[int]:
    """The numbers of trials that others stand for."""
    return {trial.user_attrs[INSTEAD_OF] for trial in trials if INSTEAD_OF in trial.user_attrs}

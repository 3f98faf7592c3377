"""What is used of Optuna's inside is there, in the version that it was written for."""

import inspect
from pathlib import Path

import optuna
import pytest
from optuna.samplers import TPESampler
from optuna.storages import InMemoryStorage
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState, create_trial

import tune_kd
from tune_kd.tuning import inside_optuna
from tune_kd.tuning.inside_optuna import ArmStudy, Shown, id_of, id_of_study, storage_of


@pytest.fixture
def storage() -> InMemoryStorage:
    storage = InMemoryStorage()
    optuna.create_study(study_name="first", storage=storage)
    optuna.create_study(study_name="arm", storage=storage, direction="maximize")
    return storage


def test_it_is_the_version_that_this_was_true_for() -> None:
    assert optuna.__version__.startswith(f"{inside_optuna.VERSION}.")


def test_ids_are_those_by_which_the_storage_knows_studies_and_trials(storage: InMemoryStorage) -> None:
    study = ArmStudy("arm", storage)
    asked = study.ask()
    assert storage_of(study) is storage
    assert storage.get_study_name_from_id(id_of_study(study)) == "arm"
    assert storage.get_trial(id_of(asked)).number == asked.number
    assert id_of(study.trials[0]) == id_of(asked)


def test_what_we_override_is_what_optuna_calls(storage: InMemoryStorage) -> None:
    for overridden in ("_pop_waiting_trial_id", "_get_trials"):
        assert callable(getattr(Study, overridden))
    assert "self._pop_waiting_trial_id()" in inspect.getsource(Study.ask)
    ours, theirs = inspect.signature(Shown._get_trials), inspect.signature(Study._get_trials)
    assert list(ours.parameters) == list(theirs.parameters)


def test_a_sampler_sees_what_is_shown_and_nothing_else(storage: InMemoryStorage) -> None:
    class OneTrial(Shown):
        looks = 0

        def shown(self) -> list[FrozenTrial]:
            OneTrial.looks += 1
            return self.all()[:1]

    study = ArmStudy("arm", storage)
    for value in (0.1, 0.2, 0.3):
        study.add_trial(create_trial(value=value))
    shown = OneTrial("arm", storage)
    assert [trial.value for trial in shown.get_trials(deepcopy=False)] == [0.1]
    assert shown.get_trials(states=(TrialState.RUNNING,)) == []
    assert shown.best_value == 0.3  # by the storage: a sampler does not ask for it
    trial = study.ask()
    TPESampler(n_startup_trials=0).infer_relative_search_space(shown, storage.get_trial(id_of(trial)))
    assert OneTrial.looks == 1


def test_nothing_else_of_ours_uses_it() -> None:
    package = Path(tune_kd.__file__).parent
    private = ("._trial_id", "._study_id", "_pop_waiting", "_get_trials", "optuna._", "study._storage")
    users = {
        path.name for path in package.rglob("*.py") if any(word in path.read_text(encoding="utf-8") for word in private)
    }
    assert users == {"inside_optuna.py"}

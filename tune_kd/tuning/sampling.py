"""What Optuna's sampler sees of an arm, and a sampler whose every answer depends on (seed, trial number) alone."""

import copy
import warnings
from collections.abc import Container
from typing import Any

from optuna.distributions import BaseDistribution
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState


class AsRanked(Study):
    """An arm's study in which a trial that waits at a rung counts by what it has shown.

    Optuna's TPE takes every running trial for a bad one (constant_liar). Among paused trials are the best ones, so they
    are shown as PRUNED, which TPE ranks by step and value. A diverged one is shown as PRUNED without any value: the
    worst.
    """

    def _get_trials(
        self, deepcopy: bool = True, states: Container[TrialState] | None = None, use_cache: bool = False
    ) -> list[FrozenTrial]:
        trials = [_as_ranked(trial) for trial in super()._get_trials(False, None, use_cache) if not _half_asked(trial)]
        return [trial for trial in trials if states is None or trial.state in states]


def _as_ranked(trial: FrozenTrial) -> FrozenTrial:
    paused = trial.state == TrialState.RUNNING and trial.intermediate_values
    if not paused and trial.state != TrialState.FAIL:
        return trial
    shown = copy.copy(trial)
    shown.state = TrialState.PRUNED
    if trial.state == TrialState.FAIL:
        shown.intermediate_values = {}
    return shown


def _half_asked(trial: FrozenTrial) -> bool:
    return trial.state == TrialState.FAIL and not trial.user_attrs


class RankingSampler(BaseSampler):
    """Hands an Optuna sampler the arm as ranked."""

    def __init__(self, base: BaseSampler) -> None:
        self._base = base

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return self._base.infer_relative_search_space(_ranked(study), trial)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        return self._base.sample_relative(_ranked(study), trial, search_space)

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        return self._base.sample_independent(_ranked(study), trial, param_name, param_distribution)


def _ranked(study: Study) -> AsRanked:
    return AsRanked(study.study_name, study._storage)


def sampler(kind: str, seed: int, trials: int) -> BaseSampler:
    """A new sampler per question, so that a resumed search is asked and answers as one that never stopped."""
    if kind == "random":
        return RandomSampler(seed=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        startup = min(10, max(4, trials // 3))
        return RankingSampler(TPESampler(seed=seed, multivariate=True, group=True, n_startup_trials=startup))

"""What Optuna's sampler sees of an arm, and a sampler whose every answer depends on (seed, trial number) alone."""

import copy
import warnings
from bisect import bisect_left, insort
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import islice
from typing import Any

from optuna.distributions import BaseDistribution
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.storages import BaseStorage
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from tune_kd.tuning.fronts import Point
from tune_kd.tuning.inside_optuna import Shown, id_of, storage_of
from tune_kd.tuning.objectives import Objective
from tune_kd.tuning.ranking import kept

MOST_SEEN, LATEST_SEEN = 300, 250

Foreseen = Callable[[], Mapping[int, float]]
"""Where a forecast ranks trials, by their numbers."""


class Glance:
    """What a suggestion is made from, of very many trials the best and the latest, as its time grows with them.

    TPE takes 25 at most for good ones, and gives old bad ones little weight. It is kept from one suggestion to the
    next: whoever changes a trial says so, and no other is looked at again.
    """

    def __init__(self) -> None:
        self._changed: dict[int, int] | None = None
        """Ids by number; None as long as nobody has looked."""
        self._shown: list[FrozenTrial | None] = []
        self._keys: list[tuple[float, ...]] = []
        self._order: list[tuple[float, ...]] = []
        """The keys of trials that are shown, the best first: standing and place."""

    def changed(self, number: int, trial_id: int) -> None:
        if self._changed is not None:
            self._changed[number] = trial_id

    def seen(self, every: Callable[[], Sequence[FrozenTrial]], one: Callable[[int], FrozenTrial]) -> list[FrozenTrial]:
        if self._changed is None:
            new = list(enumerate(every()))
        else:
            new = [(number, one(trial_id)) for number, trial_id in sorted(self._changed.items())]
        self._changed = {}
        for place, trial in new:
            self._look(place, trial)
        if len(self._order) <= MOST_SEEN:
            return [trial for trial in self._shown if trial]
        there = (place for place in range(len(self._shown) - 1, -1, -1) if self._shown[place])
        latest = list(islice(there, LATEST_SEEN))[::-1]
        best = islice((int(place) for *_, place in self._order if place < latest[0]), MOST_SEEN - LATEST_SEEN)
        return [shown for place in (*sorted(best), *latest) if (shown := self._shown[place])]

    def _look(self, place: int, trial: FrozenTrial) -> None:
        while place >= len(self._shown):  # of a number in between nobody has said anything
            self._shown.append(None)
            self._keys.append(())
        if self._shown[place]:
            del self._order[bisect_left(self._order, self._keys[place])]
        self._shown[place] = shown = None if _half_asked(trial) else _as_ranked(trial)
        if shown:
            self._keys[place] = _key(shown, place)
            insort(self._order, self._keys[place])


def _key(trial: FrozenTrial, place: int) -> tuple[float, ...]:
    return (*(-part for part in _standing(trial)), place)


class AsRanked(Shown):
    """An arm's study in which a trial that waits at a rung counts by what it has shown.

    Optuna's TPE takes every running trial for a bad one (constant_liar). Among paused trials are the best ones, so they
    are shown as PRUNED, which TPE ranks by step and value. A diverged one is shown as PRUNED without any value: the
    worst. What is foreseen of a trial is shown instead of what it has reached.
    """

    def __init__(
        self, name: str, storage: BaseStorage, glance: Glance | None = None, foreseen: Foreseen = dict
    ) -> None:
        super().__init__(name, storage)
        self._glance = glance or Glance()
        self._foreseen = foreseen

    def shown(self) -> Sequence[FrozenTrial]:
        foreseen = self._foreseen()
        return [_as_foreseen(trial, foreseen) for trial in self._glance.seen(self.all, self.one)]


def _standing(trial: FrozenTrial) -> tuple[int, int, float]:
    """How TPE ranks: complete ones by value, then those that got further, and then by value."""
    if trial.state == TrialState.COMPLETE:
        return 2, 0, float(trial.value or 0.0)
    step = trial.last_step
    return (0, 0, 0.0) if step is None else (1, step, trial.intermediate_values[step])


def _as_ranked(trial: FrozenTrial) -> FrozenTrial:
    paused = trial.state == TrialState.RUNNING and trial.intermediate_values
    if not paused and trial.state != TrialState.FAIL:
        return trial
    shown = copy.copy(trial)
    shown.state = TrialState.PRUNED
    if trial.state == TrialState.FAIL:
        shown.intermediate_values = {}
    return shown


def _as_foreseen(trial: FrozenTrial, foreseen: Mapping[int, float]) -> FrozenTrial:
    if trial.number not in foreseen or trial.last_step is None:
        return trial
    shown = copy.copy(trial)
    shown.intermediate_values = {trial.last_step: foreseen[trial.number]}
    return shown


def _half_asked(trial: FrozenTrial) -> bool:
    return trial.state == TrialState.FAIL and not trial.user_attrs


class AsFront(Shown):
    """The arm of a search with two objectives, as a study with one, whose value the objective says.

    Optuna's own multi-objective studies know no intermediate values, which the ledger and the rules live by. A trial
    counts by its accuracy so far: what waits at an early rung is ranked below where it belongs until it is promoted, as
    it is with one objective.
    """

    def __init__(
        self,
        name: str,
        storage: BaseStorage,
        costs: Mapping[int, float],
        values: Callable[[Mapping[int, Point]], Mapping[int, float]],
        keep: str = "best",
    ) -> None:
        super().__init__(name, storage)
        self._costs = costs
        self._values = values
        self._keep = keep

    def shown(self) -> Sequence[FrozenTrial]:
        trials = [_as_ranked(trial) for trial in self.all() if not _half_asked(trial)]
        told = [trial for trial in trials if trial.state.is_finished() and trial.intermediate_values]
        points = {trial.number: (self._costs[trial.number], kept(trial, self._keep)) for trial in told}
        values = self._values(points)
        valued = [_valued(trial, values[trial.number]) if trial.number in values else trial for trial in trials]
        return Glance().seen(lambda: valued, self.one)


def _valued(trial: FrozenTrial, value: float) -> FrozenTrial:
    shown = copy.copy(trial)
    shown.state = TrialState.COMPLETE
    shown.value = value
    return shown


class RankingSampler(BaseSampler):
    """Hands an Optuna sampler the arm as ranked, for one suggestion."""

    def __init__(self, base: BaseSampler, glance: Glance, view: Callable[[str, BaseStorage], Study] = AsRanked) -> None:
        self._base = base
        self._glance = glance
        self._view = view
        self._shown: Study | None = None

    def _ranked(self, study: Study, trial: FrozenTrial) -> Study:
        if self._shown is None:
            self._glance.changed(trial.number, id_of(trial))
            self._shown = self._view(study.study_name, storage_of(study))
        return self._shown

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return self._base.infer_relative_search_space(self._ranked(study, trial), trial)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        return self._base.sample_relative(self._ranked(study, trial), trial, search_space)

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        return self._base.sample_independent(self._ranked(study, trial), trial, param_name, param_distribution)


def sampler(
    kind: str,
    seed: int,
    trials: int,
    objective: Objective,
    costs: Mapping[int, float],
    glance: Glance | None = None,
    foreseen: Foreseen = dict,
) -> BaseSampler:
    """A new sampler per question, so that a resumed search is asked and answers as one that never stopped.

    `costs` has what each trial's model costs, by the trial's number, where there are two objectives; `glance` what is
    known of the arm's trials from the last question; `foreseen` what a forecast says of them.
    """
    if kind == "random":
        return RandomSampler(seed=seed)
    glance = glance or Glance()
    ranked = partial(AsRanked, glance=glance, foreseen=foreseen)
    view = partial(AsFront, costs=costs, values=objective.values, keep=objective.keep) if objective.values else ranked
    return RankingSampler(_tpe(seed, trials, gamma=objective.good), glance, view)


def _tpe(seed: int, trials: int, **settings: Any) -> TPESampler:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        # Optuna means to take `gamma` away in version 6; its own count of good trials is smaller than a front.
        warnings.simplefilter("ignore", FutureWarning)
        startup = min(10, max(4, trials // 3))
        return TPESampler(seed=seed, multivariate=True, group=True, n_startup_trials=startup, **settings)

"""The one record of a search: an Optuna storage with a study per arm and one for the finals.

A suggestion is in it before its training starts, a report before anything else hears of it. Whatever the search needs
to go on after a kill is read back from here.
"""

import json
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import BaseStorage, InMemoryStorage, JournalStorage
from optuna.trial import FixedTrial, FrozenTrial, TrialState

from tune_kd import names
from tune_kd.errors import TuneKDError
from tune_kd.plan import Arm, Plan
from tune_kd.seeds import derive
from tune_kd.space.designs import called, designs
from tune_kd.space.schema import TrialConfig
from tune_kd.space.study import grid_points, of_arm, searched_keys, suggest
from tune_kd.tuning.entry import ARM, CONFIG, EPOCHS, NUMBER, REASON, REPEAT, ROLE, SEED, Entry
from tune_kd.tuning.extension import INSTEAD_OF, replaced, take_up_again
from tune_kd.tuning.given import GIVEN
from tune_kd.tuning.inside_optuna import ArmStudy, id_of, id_of_study
from tune_kd.tuning.ledger_file import LedgerFile
from tune_kd.tuning.objectives import Best, objective_of
from tune_kd.tuning.ranking import ranked
from tune_kd.tuning.rules import Rule, rule_named
from tune_kd.tuning.sampling import Foreseen, Glance, sampler

SEARCH, TEACHER, SPENT, RUN_PREFIX, COSTS, LOOKS = "search_id", "teacher", "spent", "mlflow run of ", "costs", "looks"
"""What is noted of the search as a whole, beside the finals."""


class Ledger:
    def __init__(self, path: Path | None, plan: Plan) -> None:
        """Without a path it is kept nowhere: for a search that is only played."""
        name = plan.study.study
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._file = LedgerFile(path) if path else None
        self._storage: BaseStorage = JournalStorage(self._file) if self._file else InMemoryStorage()
        self._plan = plan
        self.objective = objective_of(plan.study)
        self._known = {study.study_name: id_of_study(study) for study in self._storage.get_all_studies()}
        self._arms = [self._open(f"{name} | {arm.key}", {"arm": arm.name, "cell": dict(arm.cell)}) for arm in plan.arms]
        self._finals = self._open(f"{name} | finals", {SEARCH: uuid.uuid4().hex})
        for arm, study in zip(plan.arms, self._arms, strict=True):
            take_up_again(study, self._storage, plan.study.budget.epochs)
            self._queue_settings(arm, study)
        self._asked = [sum(1 for _ in self.entries(arm)) for arm in plan.arms]
        self._prices: dict[str, float] = dict(self._finals.user_attrs.get(COSTS, {}))
        self._glances = [Glance() for _ in plan.arms]
        self._costs: list[dict[int, float]] = [
            {entry.number: self.cost(called(entry.config)) or 0.0 for entry, _ in self.entries(arm)}
            for arm in plan.arms
        ]

    def _open(self, name: str, attributes: Mapping[str, Any]) -> optuna.Study:
        """The Optuna study of that name, made with its attributes where the ledger is new."""
        if name in self._known:
            study = ArmStudy(name, self._storage)
            self._clear_half_asked(study)
        else:
            optuna.create_study(study_name=name, storage=self._storage, direction="maximize")
            study = ArmStudy(name, self._storage)
        for key, value in attributes.items():
            if key not in study.user_attrs:
                study.set_user_attr(key, value)
        return study

    def _clear_half_asked(self, study: optuna.Study) -> None:
        """A trial cut off while it was being asked for is no trial; a setting it had taken is queued again."""
        for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            if CONFIG not in trial.user_attrs:
                self._storage.set_trial_state_values(id_of(trial), TrialState.FAIL)
                if "fixed_params" in trial.system_attrs:
                    study.enqueue_trial(trial.system_attrs["fixed_params"])

    def _queue_settings(self, arm: Arm, study: optuna.Study) -> None:
        """What is tried before Optuna is asked: published settings, the points of the grid, each model of a front."""
        own = of_arm(self._plan.study, arm.name)
        searched = searched_keys(own, arm.name)
        first = [{key: value for key, value in point.items() if key in searched} for point in own.first]
        points: list[dict[str, Any]] = []
        for point in [*first, *grid_points(own, arm.name, arm.cell)]:
            # Published settings that differ only in how they distil are one setting to the scratch arm.
            if point and point not in points:
                points.append(dict(point))
        points += [each for each in self._designs(arm, searched) if not _among(each, points[: own.budget.trials])]
        known = sum(INSTEAD_OF not in trial.user_attrs for trial in study.get_trials(deepcopy=False))
        for point in points[known : own.budget.trials]:
            study.enqueue_trial(point)

    def _designs(self, arm: Arm, searched: Sequence[str]) -> list[dict[str, Any]]:
        """What makes each student of a front that an arm may have, less what its cell says already."""
        if not self.objective.models:
            return []
        possible = [
            each
            for each in designs(self._plan.study).values()
            if all(arm.cell.get(key, value) == value for key, value in each.items())
        ]
        return [{key: value for key, value in each.items() if key in searched} for each in possible]

    @property
    def keep(self) -> str:
        return self._plan.study.train.keep

    @property
    def search_id(self) -> str:
        """Names this search for ever, whatever it is called."""
        return str(self._finals.user_attrs[SEARCH])

    def same_teacher(self, digest: str) -> None:
        """A search has one teacher from its first trial to its last final."""
        known = self._finals.user_attrs.get(TEACHER)
        if known is None:
            self._finals.set_user_attr(TEACHER, digest)
        elif known != digest:
            raise TuneKDError(
                f"the teacher is not the one that this search was begun with (its weights are now {digest}, they were "
                f"{known}). Put the teacher's file back, or begin a new search with another --name."
            )

    def note_given(self, digests: Mapping[str, str]) -> None:
        """Of objects that came from Python; none is noted as none."""
        self._finals.set_user_attr(GIVEN, dict(digests))

    def know_costs(self, measure: Callable[[], Mapping[str, float]]) -> None:
        """What each student's model costs: measured once, since a latency is never the same twice."""
        if not self._prices:
            self._prices = dict(measure())
            self._finals.set_user_attr(COSTS, self._prices)

    def cost(self, model: str) -> float | None:
        """Nothing where the search has one objective."""
        return self._prices.get(model)

    @property
    def spent(self) -> float:
        """Seconds of a limited search that are used up."""
        return float(self._finals.user_attrs.get(SPENT, 0.0))

    def note_spent(self, seconds: float) -> None:
        self._finals.set_user_attr(SPENT, seconds)

    def look(self) -> int:
        """Notes that the finals are judged as they now stand; how often they have been, each time with others."""
        judged = sorted(entry.id for entry, trial in self.all_finals() if trial.state.is_finished())
        known: list[list[int]] = list(self._finals.user_attrs.get(LOOKS, []))
        if judged and judged not in known:
            known.append(judged)
            self._finals.set_user_attr(LOOKS, known)
        return len(known)

    # Asking and telling.

    def ask(self, arm: Arm, foreseen: Foreseen = dict) -> Entry:
        """A new trial of an arm, suggested by Optuna and written down before it is returned."""
        study = self._arms[arm.number]
        budget = self._plan.study.budget
        # Of the arm and of the trial's place in it alone: what other arms do meanwhile must not show in the results.
        seed = derive(self._plan.study.seed, arm.key, self._asked[arm.number]) % 2**31
        costs, glance = self._costs[arm.number], self._glances[arm.number]
        study.sampler = sampler(budget.sampler, seed, budget.trials, self.objective, costs, glance, foreseen)
        trial = study.ask()
        config = suggest(self._plan.study, arm.name, arm.cell, trial)
        costs[trial.number] = self.cost(called(config)) or 0.0
        trial.set_user_attr(NUMBER, sum(self._asked))
        trial.set_user_attr(SEED, seed)
        trial.set_user_attr(CONFIG, json.dumps(config))
        self._asked[arm.number] += 1
        entry = self._entry(arm, self._storage.get_trial(id_of(trial)))
        self._changed(entry)
        return entry

    def ask_again(self, role: names.Role, arm: Arm, repeat: int, config: TrialConfig) -> Entry:
        """A setting of an arm on the seed number `repeat`, to confirm it or as a final."""
        trial = self._finals.ask()
        told = {ROLE: role, ARM: arm.number, REPEAT: repeat, EPOCHS: self._plan.study.budget.epochs}
        for key, value in (told | {CONFIG: json.dumps(config)}).items():
            trial.set_user_attr(key, value)
        return self._again(self._storage.get_trial(id_of(trial)))

    def report(self, entry: Entry, epoch: int, value: float) -> None:
        self._storage.set_trial_intermediate_value(entry.id, epoch, value)
        self._changed(entry)

    def note(self, entry: Entry, key: str, value: Any) -> None:
        self._storage.set_trial_user_attr(entry.id, key, value)

    def note_run(self, key: str, run_id: str) -> None:
        """MLflow's run of a training. It can become known when the trial is closed, so it stands beside the trials."""
        self._storage.set_study_user_attr(id_of_study(self._finals), RUN_PREFIX + key, run_id)

    def finish(self, entry: Entry, state: str, reason: str = "", value: float | None = None) -> None:
        if reason:
            self.note(entry, REASON, reason)
        values = [value] if value is not None else None
        self._storage.set_trial_state_values(entry.id, TrialState[state], values)
        self._changed(entry)

    def _changed(self, entry: Entry) -> None:
        """The sampler looks at it again."""
        if entry.role == names.TRIAL:
            self._glances[entry.arm.number].changed(entry.number, entry.id)

    def sync(self) -> None:
        if self._file:
            self._file.sync()

    # Reading back.

    def run_ids(self) -> dict[str, str]:
        """MLflow's runs by the trainings' keys."""
        attributes = self._storage.get_study_user_attrs(id_of_study(self._finals))
        return {key.removeprefix(RUN_PREFIX): run for key, run in attributes.items() if key.startswith(RUN_PREFIX)}

    def record(self, entry: Entry) -> FrozenTrial:
        return self._storage.get_trial(entry.id)

    def entries(self, arm: Arm) -> Iterator[tuple[Entry, FrozenTrial]]:
        """The arm's trials in the order they were asked for."""
        trials = self._arms[arm.number].get_trials(deepcopy=False)
        gone = replaced(trials)
        for trial in trials:
            if CONFIG in trial.user_attrs and trial.number not in gone:
                yield self._entry(arm, trial), trial

    def finals(self, arm: Arm) -> Iterator[tuple[Entry, FrozenTrial]]:
        """The arm's finals. A search that was extended may have others, of another configuration or of fewer epochs."""
        chosen = self.chosen(arm)
        return ((entry, trial) for entry, trial in self.again(names.FINAL, arm) if entry.config in chosen)

    def again(self, role: names.Role, arm: Arm) -> Iterator[tuple[Entry, FrozenTrial]]:
        """An arm's settings that are trained once more in that role, to as many epochs as trials now have."""
        epochs = self._plan.study.budget.epochs
        for entry, trial in self.all_again():
            if (entry.role, entry.arm) == (role, arm) and trial.user_attrs.get(EPOCHS, epochs) == epochs:
                yield entry, trial

    def all_finals(self) -> Iterator[tuple[Entry, FrozenTrial]]:
        return ((entry, trial) for entry, trial in self.all_again() if entry.final)

    def all_again(self) -> Iterator[tuple[Entry, FrozenTrial]]:
        """Whatever is trained once more, in any role."""
        for trial in self._finals.get_trials(deepcopy=False):
            if CONFIG in trial.user_attrs:
                yield self._again(trial), trial

    def rule(self, arm: Arm) -> Rule:
        """Where the arm stands, rebuilt from its reports in the order in which they can have come."""
        budget = self._plan.study.budget.model_copy(update={"trials": self._plan.trials_of(arm)})
        rule = rule_named(budget.early_stopping)(budget, self.objective, self._costs[arm.number])
        for entry, trial in self.entries(arm):
            rule.asked(entry.number, entry.config)
            for epoch, value in sorted(trial.intermediate_values.items()):
                rule.reported(entry.number, epoch, value)
            if trial.state.is_finished():
                rule.finished(entry.number)
        return rule

    def best(self, arm: Arm, model: str | None = None) -> tuple[Entry, FrozenTrial] | None:
        """The configuration that is best of all, or of one model."""
        found = ranked(self, arm, model)
        return (found[0].entry, found[0].trial) if found else None

    def chosen(self, arm: Arm) -> list[TrialConfig]:
        """The configurations that go to the finals: the best one, or with two objectives one for each front model."""
        rivals = [self._best_of(rival) for rival in self._plan.rivals(arm)]
        found = [entry.config for entry in self.objective.finalists(self._best_of(arm), rivals, self._prices)]
        if not found and not self._plan.trials_of(arm):
            # As it was written down, where finals were begun: another version may know more keys.
            begun = [entry.config for entry, _ in self.all_finals() if entry.arm == arm]
            return begun[:1] or [suggest(self._plan.study, arm.name, arm.cell, FixedTrial({}))]
        return found

    def _best_of(self, arm: Arm) -> Best[Entry]:
        def best(model: str | None) -> tuple[Entry, float] | None:
            found = ranked(self, arm, model)
            return (found[0].entry, found[0].value) if found else None

        return best

    def hopeless(self) -> Counter[tuple[str, str]]:
        """Arms of which every trial failed (every final, where there are no trials), and how often for which reason."""
        reasons: Counter[tuple[str, str]] = Counter()
        for arm in self._plan.arms:
            trials = [trial for _, trial in self.entries(arm)] or [trial for _, trial in self.finals(arm)]
            if trials and all(trial.state == TrialState.FAIL for trial in trials):
                reasons.update((arm.key, trial.user_attrs.get(REASON, "unknown")) for trial in trials)
        return reasons

    def _entry(self, arm: Arm, trial: FrozenTrial) -> Entry:
        told = trial.user_attrs
        return Entry(id_of(trial), arm, trial.number, told[NUMBER], json.loads(told[CONFIG]), told[SEED], names.TRIAL)

    def _again(self, trial: FrozenTrial) -> Entry:
        attributes = trial.user_attrs
        role: names.Role = attributes.get(ROLE, names.FINAL)
        # The same for both arms of a cell: that is what pairs them.
        seed = derive(self._plan.study.seed, role, attributes[REPEAT]) % 2**31
        arm = self._plan.arms[attributes[ARM]]
        config = json.loads(attributes[CONFIG])
        return Entry(id_of(trial), arm, trial.number, trial.number, config, seed, role)


def _among(part: Mapping[str, Any], points: Sequence[Mapping[str, Any]]) -> bool:
    return any(part.items() <= point.items() for point in points)

"""What a suggestion is made from when there are very many trials."""

import random
from pathlib import Path
from statistics import fmean

import optuna
import pytest
from optuna.distributions import FloatDistribution
from optuna.samplers import RandomSampler, TPESampler
from optuna.storages import JournalStorage
from optuna.trial import FrozenTrial, TrialState, create_trial

from tests.tuning.played import Play
from tune_kd.plan import Arm
from tune_kd.space.load import load
from tune_kd.tuning.entry import Entry
from tune_kd.tuning.inside_optuna import ArmStudy
from tune_kd.tuning.ledger import Ledger
from tune_kd.tuning.ledger_file import LedgerFile
from tune_kd.tuning.objectives import Accuracy
from tune_kd.tuning.sampling import LATEST_SEEN, MOST_SEEN, AsRanked, Foreseen, Glance, sampler


def trial(number: int, value: float, step: int = 0) -> FrozenTrial:
    """Complete, or stopped after `step` epochs."""
    made = create_trial(
        state=TrialState.PRUNED if step else TrialState.COMPLETE,
        value=None if step else value,
        params={"x": value},
        distributions={"x": FloatDistribution(0, 1)},
        user_attrs={"config": "{}"},
        intermediate_values={step: value} if step else {},
    )
    made.number = number
    return made


def study_of(trials: list[FrozenTrial]) -> optuna.Study:
    study = optuna.create_study(direction="maximize")
    study.add_trials(trials)
    return study


def test_of_many_trials_the_best_and_the_latest_are_seen() -> None:
    best = {3: 0.9, 40: 0.8, 41: 0.7}
    trials = [trial(number, best.get(number, 0.1 + number / 1e5)) for number in range(1000)]
    study = study_of(trials)
    seen = [each.number for each in AsRanked(study.study_name, study._storage).get_trials()]
    assert len(seen) == MOST_SEEN
    assert set(best) <= set(seen)
    assert seen == sorted(seen)
    assert seen[-LATEST_SEEN:] == [*range(1000 - LATEST_SEEN, 1000)]


def test_what_got_further_is_seen_before_what_looked_better_early() -> None:
    far = [trial(number, 0.2, step=9) for number in range(20)]
    early = [trial(number, 0.9, step=1) for number in range(20, 600)]
    study = study_of(far + early)
    seen = {each.number for each in AsRanked(study.study_name, study._storage).get_trials()}
    assert set(range(20)) <= seen


def test_what_is_seen_is_the_same_whether_it_was_looked_at_before_or_not(tmp_path: Path) -> None:
    """On the ledger's own storage, with trials in every state; the number that is seen grows past its most."""
    storage = JournalStorage(LedgerFile(tmp_path / "ledger.log"))
    study = optuna.create_study(storage=storage, direction="maximize")
    chance, glance, open_ = random.Random(0), Glance(), []

    def changed(one: optuna.Trial) -> None:
        glance.changed(one.number, one._trial_id)

    def seen(given: Glance | None) -> list[tuple[int, TrialState, dict[int, float]]]:
        trials = AsRanked(study.study_name, storage, given).get_trials()
        return [(each.number, each.state, each.intermediate_values) for each in trials]

    for number in range(2 * MOST_SEEN):
        made = study.ask({"x": FloatDistribution(0, 1)})
        if number % 11:  # the others are asked for, but not written down
            made.set_user_attr("config", "{}")
        open_.append(made)
        changed(made)
        for _ in range(2):
            one = chance.choice(open_)
            step = (storage.get_trial(one._trial_id).last_step or 0) + 1
            one.report(chance.random(), step)
            changed(one)
        if chance.random() < 0.7:
            ended = open_.pop(chance.randrange(len(open_)))
            state = chance.choice([TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL])
            study.tell(ended, chance.random() if state == TrialState.COMPLETE else None, state=state)
            changed(ended)
        if number % 7 == 0:
            assert seen(glance) == seen(None)
    assert len(seen(glance)) == MOST_SEEN


@pytest.mark.parametrize("slots", [1, 5])
def test_the_ledger_says_of_every_trial_that_has_changed(slots: int, tmp_path: Path) -> None:
    """Through pauses, promotions and ends, at every suggestion."""
    game = Play(tmp_path, "budget.trials=20")
    ledger, compared = game.ledger, 0

    def ask(arm: Arm, foreseen: Foreseen = dict) -> Entry:
        nonlocal compared
        entry = Ledger.ask(ledger, arm, foreseen)
        name, storage = ledger._arms[arm.number].study_name, ledger._storage
        views = [AsRanked(name, storage, glance).get_trials() for glance in (ledger._glances[arm.number], None)]
        told = [[(each.number, each.state, each.intermediate_values) for each in view] for view in views]
        assert told[0] == told[1]
        compared += 1
        return entry

    ledger.ask = ask  # type: ignore[method-assign]
    game.run(slots=slots)
    assert compared >= 20


def test_queued_settings_come_first_and_once_there_are_none_nobody_looks_for_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """`_pop_waiting_trial_id` is Optuna's own; this is how it is asked in optuna 5.0."""
    made = optuna.create_study(direction="maximize")
    study = ArmStudy(made.study_name, made._storage)
    for x in (0.25, 0.75):
        study.enqueue_trial({"x": x})
    looks: list[object] = []
    find = study._storage.get_all_trials

    def get_all_trials(*asked: object, **more: object) -> list[FrozenTrial]:
        looks.append(more.get("states"))
        return find(*asked, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(study._storage, "get_all_trials", get_all_trials)
    study.sampler = RandomSampler(seed=0)
    found = [study.ask({"x": FloatDistribution(0, 1)}).params["x"] for _ in range(5)]
    assert found[:2] == [0.25, 0.75]
    assert not {0.25, 0.75} & set(found[2:])
    assert looks.count((TrialState.WAITING,)) == 3
    study.enqueue_trial({"x": 0.5})
    assert study.ask({"x": FloatDistribution(0, 1)}).params["x"] == 0.5


def test_a_trial_that_diverged_is_shown_as_the_worst_whatever_it_reached_before() -> None:
    study = study_of([trial(0, 0.2, step=3), trial(1, 0.1, step=1)])
    asked = study.ask({"x": FloatDistribution(0, 1)})
    asked.set_user_attr("config", "{}")
    asked.report(0.99, 9)
    study.tell(asked, state=TrialState.FAIL)
    shown = AsRanked(study.study_name, study._storage).get_trials()[-1]
    assert (shown.state, shown.intermediate_values, shown.last_step) == (TrialState.PRUNED, {}, None)


def test_the_sampler_goes_where_a_forecast_points_instead_of_where_it_looked_good_early() -> None:
    trials = [trial(number, number / 30, step=1) for number in range(30)]
    foreseen = {number: 1 - number / 30 for number in range(30)}

    def suggested(told: dict[int, float]) -> float:
        study, objective = study_of(trials), Accuracy(load("study: x\n"))
        study.sampler = sampler("tpe", 1, 30, objective, {}, None, lambda: told)
        return fmean(study.ask({"x": FloatDistribution(0, 1)}).params["x"] for _ in range(8))

    assert suggested({}) > 0.7
    assert suggested(foreseen) < 0.3


def test_few_trials_give_the_suggestion_of_optuna_itself() -> None:
    trials = [trial(number, number / 100) for number in range(60)]
    ours, theirs = study_of(trials), study_of(trials)
    ours.sampler = sampler("tpe", 7, 60, Accuracy(load("study: x\n")), {})
    theirs.sampler = TPESampler(seed=7, multivariate=True, group=True, n_startup_trials=10)
    assert ours.ask({"x": FloatDistribution(0, 1)}).params == theirs.ask({"x": FloatDistribution(0, 1)}).params

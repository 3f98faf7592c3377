"""What a suggestion is made from when there are very many trials."""

import random
from pathlib import Path

import optuna
from optuna.distributions import FloatDistribution
from optuna.samplers import TPESampler
from optuna.storages import JournalStorage
from optuna.trial import FrozenTrial, TrialState, create_trial

from tune_kd.space.load import load
from tune_kd.tuning.ledger_file import LedgerFile
from tune_kd.tuning.objectives import Accuracy
from tune_kd.tuning.sampling import LATEST_SEEN, MOST_SEEN, AsRanked, Glance, sampler


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

    def seen(given: Glance | None) -> list[tuple[int, TrialState, dict[int, float]]]:
        trials = AsRanked(study.study_name, storage, given).get_trials()
        return [(each.number, each.state, each.intermediate_values) for each in trials]

    for number in range(2 * MOST_SEEN):
        made = study.ask({"x": FloatDistribution(0, 1)})
        if number % 11:  # the others are asked for, but not written down
            made.set_user_attr("config", "{}")
        open_.append(made)
        for _ in range(2):
            one = chance.choice(open_)
            step = (storage.get_trial(one._trial_id).last_step or 0) + 1
            one.report(chance.random(), step)
        if chance.random() < 0.7:
            ended = open_.pop(chance.randrange(len(open_)))
            state = chance.choice([TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL])
            study.tell(ended, chance.random() if state == TrialState.COMPLETE else None, state=state)
        if number % 7 == 0:
            assert seen(glance) == seen(None)
    assert len(seen(glance)) == MOST_SEEN


def test_few_trials_give_the_suggestion_of_optuna_itself() -> None:
    trials = [trial(number, number / 100) for number in range(60)]
    ours, theirs = study_of(trials), study_of(trials)
    ours.sampler = sampler("tpe", 7, 60, Accuracy(load("study: x\n")), {})
    theirs.sampler = TPESampler(seed=7, multivariate=True, group=True, n_startup_trials=10)
    assert ours.ask({"x": FloatDistribution(0, 1)}).params == theirs.ask({"x": FloatDistribution(0, 1)}).params

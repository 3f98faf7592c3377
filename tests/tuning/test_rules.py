"""What every early-stopping rule must do: a member of `tune_kd.space.rules` passes all of this by being named there."""

import random
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.tuning.played import Play
from tune_kd import names
from tune_kd.space.load import load
from tune_kd.space.rules import RULES
from tune_kd.space.schema import Budget
from tune_kd.tuning.objectives import Accuracy, objective_of
from tune_kd.tuning.rules import Rule, rule_named

FRONT = (
    "objectives=[accuracy,size]",
    "search.student.model={choice: [wasteful, large, tiny, small]}",
    "conditions=null",
    "first=[]",
)
SMALL = ("conditions=null", "first=[]", "budget.trials=12", "budget.epochs=27")

every_rule = pytest.mark.parametrize("rule", sorted(RULES))


def stopping(rule: str) -> str:
    return f"budget.early_stopping={rule}"


def made(rule: str, *settings: str, **budget: int) -> Rule:
    return rule_named(rule)(Budget(early_stopping=rule, **budget), Accuracy(load("study: x\n", settings)))


@every_rule
@pytest.mark.parametrize("slots", [1, 2, 5, 32])
@pytest.mark.parametrize("trials", [1, 2, 5, 16])
def test_a_search_ends_with_every_trial_ended_and_something_trained_to_the_end(
    tmp_path: Path, rule: str, slots: int, trials: int
) -> None:
    play = Play(tmp_path, *SMALL, f"budget.trials={trials}", stopping(rule))
    play.run(slots=slots)
    states = Counter((arm, state) for arm, _, state in play.states())
    for arm in play.plan.arms:
        assert states[arm.key, names.COMPLETE] >= 1
        assert states[arm.key, names.COMPLETE] + states[arm.key, names.PRUNED] == trials
    assert len(list(play.ledger.all_finals())) == play.plan.finals
    assert play.conductor.live == 0


@every_rule
def test_complete_trials_are_as_many_as_asked_for_at_least(tmp_path: Path, rule: str) -> None:
    play = Play(tmp_path, *SMALL, "budget.complete=12", stopping(rule))
    play.run(slots=3)
    if rule in ("stop", "median"):  # these end trainings for good
        return
    assert {state for _, _, state in play.states()} == {names.COMPLETE}


@every_rule
@pytest.mark.parametrize("settings", [SMALL, (*SMALL, "budget.complete=5"), FRONT], ids=["few", "asked for", "front"])
def test_as_many_train_to_the_end_as_the_rule_says_before(tmp_path: Path, rule: str, settings: tuple[str, ...]) -> None:
    play = Play(tmp_path, *settings, "budget.trials=18", stopping(rule))
    play.run(slots=3)
    study = play.plan.study
    least = rule_named(rule)(study.budget, objective_of(study)).complete
    assert least >= 1
    states = Counter((arm, state) for arm, _, state in play.states())
    for arm in play.plan.arms:
        assert states[arm.key, names.COMPLETE] >= least


@every_rule
def test_no_more_than_that_are_promised_where_the_best_come_first(rule: str) -> None:
    """As few others go on as may."""
    arm = made(rule, trials=27, epochs=27)
    play(arm, [1 - number / 27 for number in range(27)])
    assert arm.completed >= arm.complete
    if rule != "median":  # of three, the second is no worse than the median
        assert arm.completed == arm.complete


@every_rule
@pytest.mark.parametrize("settings", [SMALL, (*FRONT, "budget.trials=8")], ids=["accuracy", "front"])
def test_a_search_killed_anywhere_ends_like_one_that_was_not(
    tmp_path: Path, rule: str, settings: tuple[str, ...]
) -> None:
    whole = Play(tmp_path / "whole", *settings, stopping(rule))
    whole.run()
    for legs in (1, 3, 5, 9):
        Play(tmp_path / "killed", *settings, stopping(rule)).run(legs=legs)
    resumed = Play(tmp_path / "killed", *settings, stopping(rule))
    resumed.run()
    assert resumed.configs() == whole.configs()
    assert resumed.states() == whole.states()
    assert [e.config for e, _ in resumed.ledger.all_finals()] == [e.config for e, _ in whole.ledger.all_finals()]


@every_rule
@pytest.mark.parametrize("seed", range(3))
def test_a_process_that_dies_within_a_leg_costs_no_epoch(tmp_path: Path, rule: str, seed: int) -> None:
    luck = random.Random(seed)
    play = Play(tmp_path, *SMALL, stopping(rule))
    while not isinstance(leg := play.conductor.next(), str):
        if luck.random() < 0.2 and leg.until > leg.reported + 1:
            play.train(leg, epochs=1)
            play.conductor.died(leg)
        else:
            play.train(leg)
    reported = [(key, epoch) for kind, key, epoch in play.heard.events if kind == "reported"]
    assert len(reported) == len(set(reported))
    assert {state for _, _, state in play.states()} <= {names.COMPLETE, names.PRUNED}
    assert len(list(play.ledger.all_finals())) == play.plan.finals


@every_rule
def test_a_front_is_found_and_each_of_its_models_retrained(tmp_path: Path, rule: str) -> None:
    play = Play(tmp_path, *FRONT, "budget.trials=36", stopping(rule))
    play.run(slots=3)
    for arm in play.plan.arms:
        retrained = [entry.config[names.STUDENT_MODEL] for entry, _ in play.ledger.finals(arm)]
        assert Counter(retrained) == {"tiny": 2, "small": 2, "large": 2}


@every_rule
def test_with_more_trials_and_epochs_a_search_goes_on(tmp_path: Path, rule: str) -> None:
    before = Play(tmp_path, *SMALL, "budget.trials=6", "budget.epochs=9", stopping(rule))
    before.run(slots=2)
    settings = (*SMALL, "budget.trials=9", "budget.epochs=18", stopping(rule))
    more = Play(tmp_path, *settings)
    more.run(legs=3, slots=2)
    again = Play(tmp_path, *settings)
    again.run(slots=2)
    for arm in again.plan.arms:
        trials = [trial for _, trial in again.ledger.entries(arm)]
        assert len(trials) == 9
        assert any(len(trial.intermediate_values) == 18 for trial in trials)
        assert [len(trial.intermediate_values) for _, trial in again.ledger.finals(arm)] == [18, 18]
    events = [event for play in (before, more, again) for event in play.heard.events if event[0] == "reported"]
    assert len(events) == len(set(events))


@every_rule
@pytest.mark.parametrize("seed", range(5))
def test_the_best_of_steady_curves_reaches_the_end(rule: str, seed: int) -> None:
    quality = random.Random(seed).sample([k / 27 for k in range(27)], 27)
    arm = made(rule, trials=27)
    play(arm, quality)
    assert arm.epochs[quality.index(max(quality))] == 27


@every_rule
@pytest.mark.parametrize("keep", ["best", "last"])
def test_trials_are_compared_by_the_weights_that_are_kept(rule: str, keep: str) -> None:
    arm = made(rule, f"train.keep={keep}", trials=9, epochs=36)
    assert arm.begin > 1
    # What begins best is worst from the second epoch on.
    curves = [[2 - number / 10] + [number / 10] * 35 for number in range(9)]
    play(arm, curves)
    assert arm.epochs[8 if keep == "last" else 0] == 36


def play(arm: Rule, quality: Sequence[float | Sequence[float]]) -> None:
    """One trial at a time; a number stands for all epochs."""
    while (step := arm.next()) not in ("wait", "done"):
        number, until = (len(arm.epochs), arm.begin) if isinstance(step, str) else (step.number, step.until)
        arm.asked(number)
        for epoch in range(arm.epochs[number] + 1, until + 1):
            curve = quality[number]
            arm.reported(number, epoch, curve if isinstance(curve, float) else curve[epoch - 1])
        if until == arm.last or arm.stops(number):
            arm.finished(number)


@every_rule
def test_a_closing_rule_begins_nothing(rule: str) -> None:
    arm = made(rule)
    arm.asked(0)
    arm.reported(0, 1, 0.5)
    arm.closing = True
    assert arm.next() == "done"
    arm.live.add(0)
    assert arm.next() == "wait"


@every_rule
def test_a_failed_trial_is_neither_taken_up_nor_waited_for(rule: str) -> None:
    arm = made(rule, trials=4)
    arm.asked(0)
    arm.reported(0, 1, 0.9)
    arm.finished(0)
    step = arm.next()
    assert step == "new"
    assert 0 not in arm.waiting


@every_rule
def test_ten_thousand_trials_are_decided_in_seconds(rule: str) -> None:
    """Counted in decisions per trial, not in time: nothing is looked at again for every trial."""
    epochs = rule_named(rule).expected_epochs(
        Budget(trials=2000, early_stopping=rule), objective_of(load("study: x\n"))
    )
    assert 2000 <= epochs <= 2000 * 27


@every_rule
def test_trials_are_compared_at_epochs_before_the_last(rule: str) -> None:
    for epochs in (1, 2, 9, 27, 100):
        marks = rule_named(rule).marks(Budget(epochs=epochs, early_stopping=rule))
        assert list(marks) == sorted(set(marks))
        assert all(0 < mark < epochs for mark in marks)
        assert bool(marks) == (rule != "none" and epochs > 1)

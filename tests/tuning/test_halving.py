"""Successive halving with pauses, on made-up learning curves."""

import random

import pytest

from tune_kd.space.load import load
from tune_kd.space.schema import Budget
from tune_kd.tuning.objectives import Accuracy, objective_of
from tune_kd.tuning.rules import rule_named
from tune_kd.tuning.rules.halving import Asha, Halving, Stop
from tune_kd.tuning.rules.rule import GoOn

RUNGS = (3, 9, 27)


def ladder(trials: int = 9, complete: int = 1, kind: type[Halving] = Asha) -> Halving:
    return kind(Budget(trials=trials, epochs=27, complete=complete), Accuracy(load("study: x\n")))


def train(rungs: Halving, number: int, until: int, value: float) -> None:
    for epoch in range(rungs.epochs[number] + 1, until + 1):
        rungs.reported(number, epoch, value)


def begin(rungs: Halving, number: int, value: float) -> None:
    rungs.asked(number)
    train(rungs, number, RUNGS[0], value)


def play(rungs: Halving, quality: list[float]) -> list[int]:
    """Runs one trial at a time until the ladder is done; the trials in the order they were taken up."""
    order = []
    while (step := rungs.next()) not in ("wait", "done"):
        if step == "new":
            number = len(rungs.epochs)
            begin(rungs, number, quality[number])
        else:
            assert isinstance(step, GoOn)
            number = step.number
            train(rungs, number, step.until, quality[number])
        order.append(number)
        if rungs.epochs[number] == RUNGS[-1] or rungs.stops(number):
            rungs.finished(number)
    return order


def test_no_promotion_before_there_are_three_to_compare() -> None:
    rungs = ladder()
    begin(rungs, 0, 0.9)
    begin(rungs, 1, 0.5)
    assert rungs.next() == "new"
    begin(rungs, 2, 0.1)
    assert rungs.next() == GoOn(0, 9, 1)


@pytest.mark.parametrize("seed", range(20))
def test_the_best_reaches_the_end_in_any_order(seed: int) -> None:
    quality = random.Random(seed).sample([k / 27 for k in range(27)], 27)
    rungs = ladder(trials=27)
    play(rungs, quality)
    finished = {number for number, epochs in rungs.epochs.items() if epochs == 27}
    assert quality.index(max(quality)) in finished
    assert len(finished) <= 6


def test_each_of_ascending_values_is_the_best_when_it_comes_and_yet_not_all_reach_the_end() -> None:
    """Ray's own rule lets nine ascending values all survive."""
    rungs = ladder()
    play(rungs, [k / 10 for k in range(9)])
    assert sum(epochs == 27 for epochs in rungs.epochs.values()) < 6


def test_the_highest_promotable_rung_goes_first() -> None:
    rungs = ladder(trials=27)
    for number in range(9):
        begin(rungs, number, number / 10)
    for number in (8, 7, 6):
        train(rungs, number, 9, number / 10)
    begin(rungs, 9, 0.95)  # now the best of rung 0, and promotable too
    assert rungs.next() == GoOn(8, 27, 2)


def test_a_live_trial_is_not_promoted_twice() -> None:
    rungs = ladder()
    for number in range(3):
        begin(rungs, number, number / 10)
    step = rungs.next()
    assert step == GoOn(2, 9, 1)
    rungs.live.add(2)
    assert rungs.next() == "new"


@pytest.mark.parametrize("trials", [2, 5, 9])
def test_a_small_budget_never_ends_with_nothing_finished(trials: int) -> None:
    rungs = ladder(trials=trials, complete=2)
    play(rungs, [random.Random(trials).random() for _ in range(trials)])
    assert rungs.completed >= 2


def test_an_interrupted_trial_goes_on_before_anything_else() -> None:
    rungs = ladder()
    for number in range(3):
        begin(rungs, number, number / 10)
    rungs.asked(3)
    rungs.reported(3, 1, 0.0)
    assert rungs.next() == GoOn(3, 3, 0)
    rungs.live.add(3)
    assert rungs.next() == GoOn(2, 9, 1)


def test_a_failed_trial_is_neither_promoted_nor_waited_for() -> None:
    rungs = ladder(trials=3)
    for number in range(3):
        begin(rungs, number, number / 10)
    rungs.finished(2)
    step = rungs.next()
    assert step == GoOn(1, 9, 1)


def test_values_are_best_so_far() -> None:
    rungs = ladder()
    rungs.asked(0)
    for epoch, value in enumerate((0.9, 0.2, 0.1), start=1):
        rungs.reported(0, epoch, value)
    assert rungs.best[0] == 0.9


def test_stop_only_ends_a_trial_for_good_and_promotes_at_once() -> None:
    rungs = ladder(kind=Stop)
    begin(rungs, 0, 0.5)
    assert not rungs.stops(0)
    assert rungs.next() == GoOn(0, 9, 1)
    for number, value in ((1, 0.6), (2, 0.7)):
        begin(rungs, number, value)
        assert not rungs.stops(number)
    begin(rungs, 3, 0.1)
    assert rungs.stops(3)


def test_closing_starts_nothing() -> None:
    rungs = ladder()
    for number in range(3):
        begin(rungs, number, number / 10)
    rungs.closing = True
    assert rungs.next() == "done"
    rungs.live.add(0)
    assert rungs.next() == "wait"


def test_a_ladder_rebuilt_from_its_reports_is_the_same() -> None:
    """What a resumed search does: it tells a new ladder what the ledger has."""
    quality = [random.Random(5).random() for _ in range(9)]
    first = ladder()
    for number in range(7):
        begin(first, number, quality[number])
    train(first, max(range(7), key=lambda n: quality[n]), 9, max(quality[:7]))
    again = ladder()
    for number, epochs in first.epochs.items():
        again.asked(number)
        for epoch in range(1, epochs + 1):
            again.reported(number, epoch, quality[number])
    assert play(first, quality) == play(again, quality)


def marks(budget: str) -> tuple[int, ...]:
    found = load(f"study: x\nbudget: {budget}\n").budget
    return (*rule_named(found.early_stopping).marks(found), found.epochs)


@pytest.mark.parametrize(
    ("budget", "rungs"),
    [
        ("{epochs: 27, early_stopping: asha}", (3, 9, 27)),
        ("{epochs: 28, early_stopping: asha}", (4, 12, 28)),
        ("{epochs: 1}", (1,)),
        ("{epochs: 5, early_stopping: asha}", (1, 3, 5)),
        ("{epochs: 20, first_rung: 2, reduction: 2, early_stopping: asha}", (2, 4, 8, 16, 20)),
        ("{epochs: 9, first_rung: 9}", (9,)),
        ("{epochs: 27, early_stopping: none}", (27,)),
        ("{epochs: 27, early_stopping: stop}", (3, 9, 27)),
    ],
)
def test_rungs(budget: str, rungs: tuple[int, ...]) -> None:
    assert marks(budget) == rungs


@pytest.mark.parametrize(("trials", "least"), [(1, 1), (2, 2), (3, 3), (18, 3), (28, 4), (90, 10)])
def test_a_ninth_of_the_trials_is_trained_to_the_end(trials: int, least: int) -> None:
    study = load("study: x\n", [f"budget.trials={trials}"])
    assert objective_of(study).complete(study.budget) == least
    study = load("study: x\n", [f"budget.trials={trials}", "budget.complete=1"])
    assert objective_of(study).complete(study.budget) == 1

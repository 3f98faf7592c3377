"""The rule that ours starts with: everybody a little, the best fifth to the end."""

import random

import pytest

from tune_kd.space.load import load
from tune_kd.space.schema import Budget
from tune_kd.tuning.objectives import Accuracy, objective_of
from tune_kd.tuning.rules.auto import Auto
from tune_kd.tuning.rules.rule import GoOn

FRONT = """
study: front
objectives: [accuracy, size]
search: {student.model: {choice: [tiny, small, large]}}
"""


def made(trials: int, **budget: int) -> Auto:
    return Auto(Budget(trials=trials, epochs=27, **budget), Accuracy(load("study: x\n")))


def train(rule: Auto, number: int, until: int, value: float) -> None:
    for epoch in range(rule.epochs[number] + 1, until + 1):
        rule.reported(number, epoch, value)
    rule.live.discard(number)
    if until == rule.last:
        rule.finished(number)


def play(rule: Auto, early: list[float], kinds: list[str] | None = None, slots: int = 1) -> set[int]:
    """Several at once, which end in any order. Returns who trained to the end."""
    luck, live = random.Random(0), list[tuple[int, int]]()
    while True:
        while len(live) < slots and (step := rule.next()) not in ("wait", "done"):
            number = len(rule.epochs) if isinstance(step, str) else step.number
            if isinstance(step, str):
                rule.asked(number, {"augment.kind": kinds[number]} if kinds else {})
            rule.live.add(number)
            live.append((number, rule.begin if isinstance(step, str) else step.until))
        if not live:
            return {number for number, epochs in rule.epochs.items() if epochs == rule.last}
        number, until = live.pop(luck.randrange(len(live)))
        train(rule, number, until, early[number])


@pytest.mark.parametrize("slots", [1, 2, 8, 32])
@pytest.mark.parametrize(("trials", "least"), [(1, 1), (2, 1), (5, 1), (9, 1), (18, 3), (40, 8)])
def test_a_fifth_trains_to_the_end_and_one_at_least(trials: int, least: int, slots: int) -> None:
    quality = random.Random(trials).sample([k / 50 for k in range(50)], trials)
    finished = play(made(trials), quality, slots=slots)
    assert least <= len(finished) <= least + trials // 8
    assert quality.index(max(quality)) in finished


def test_all_are_compared_with_all_where_many_run_at_once() -> None:
    """With a slot for each nobody goes on before everybody has come to the rung, but for the best fifth so far."""
    quality = [0.1, 0.2, 0.3, 0.9]
    assert play(made(4), quality, slots=4) == {3}


def test_students_of_augmented_images_have_a_share_of_their_own() -> None:
    kinds = ["none", "crop_flip"] * 10
    early = [0.5 + number / 100 if kind == "none" else 0.1 + number / 100 for number, kind in enumerate(kinds)]
    finished = play(made(20), early, kinds)
    assert {18, 19} <= finished
    assert sum(kinds[number] == "none" for number in finished) > 1


def test_small_budgets_are_compared_as_one() -> None:
    kinds = ["none", "crop_flip", "colour", "rotate", "none"]
    assert play(made(5), [0.5, 0.1, 0.2, 0.3, 0.4], kinds) == {0}


def test_what_fails_on_the_way_to_the_end_is_replaced() -> None:
    rule = made(5)
    for number in range(5):
        rule.asked(number)
        train(rule, number, 3, number / 10)
    step = rule.next()
    assert step == GoOn(4, 27, 1)
    rule.reported(4, 4, 0.9)
    rule.finished(4)
    assert rule.next() == GoOn(3, 27, 1)
    train(rule, 3, 27, 0.5)
    assert rule.next() == "done"


def test_who_was_put_down_on_the_way_goes_on_first() -> None:
    rule = made(5)
    for number in range(5):
        rule.asked(number)
        train(rule, number, 3, number / 10)
    rule.reported(4, 10, 0.9)
    assert rule.next() == GoOn(4, 27, 1)
    rule.asked(5)
    rule.reported(5, 1, 0.0)
    rule.live.add(4)
    assert rule.next() == GoOn(5, 3, 1)


def test_each_model_of_a_front_trains_to_the_end() -> None:
    costs = {number: [1.0, 2.0, 9.0][number % 3] for number in range(15)}
    rule = Auto(Budget(trials=15, epochs=27), objective_of(load(FRONT)), costs)
    early = [[0.55, 0.7, 0.9][number % 3] + number / 1000 for number in range(15)]
    finished = play(rule, early)
    assert {costs[number] for number in finished} == {1.0, 2.0, 9.0}


def test_as_many_as_are_asked_for_train_to_the_end() -> None:
    assert len(play(made(10, complete=10), [number / 10 for number in range(10)])) == 10

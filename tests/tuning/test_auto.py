"""The rule that ours starts with: at each doubling of the epochs two thirds go on."""

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
                kind, _, schedule = kinds[number].partition(" ") if kinds else ("none", "", "")
                rule.asked(number, {"augment.kind": kind, "train.schedule": schedule or "constant"})
            rule.live.add(number)
            live.append((number, rule.begin if isinstance(step, str) else step.until))
        if not live:
            return {number for number, epochs in rule.epochs.items() if epochs == rule.last}
        number, until = live.pop(luck.randrange(len(live)))
        train(rule, number, until, early[number])


@pytest.mark.parametrize("slots", [1, 2, 8, 32])
@pytest.mark.parametrize(("trials", "whole"), [(1, 1), (2, 1), (5, 1), (9, 1), (18, 2), (40, 5)])
def test_two_thirds_go_on_at_each_doubling_and_one_to_the_end_at_least(trials: int, whole: int, slots: int) -> None:
    quality = random.Random(trials).sample([k / 50 for k in range(50)], trials)
    rule = made(trials)
    assert rule.rungs == (1, 2, 4, 8, 16, 27)
    finished = play(rule, quality, slots=slots)
    assert {quality[number] for number in finished} == set(sorted(quality)[-whole:])
    for rung, epoch in enumerate(rule.rungs[:-1]):
        gone_on = sum(epochs > epoch for epochs in rule.epochs.values())
        assert gone_on == max(whole, round(trials * (2 / 3) ** (rung + 1)))


@pytest.mark.parametrize(
    ("epochs", "marks"), [(1, ()), (2, (1,)), (9, (1, 2, 4)), (18, (1, 2, 4, 8)), (100, (4, 8, 16, 32, 64))]
)
def test_rungs_follow_from_the_epochs(epochs: int, marks: tuple[int, ...]) -> None:
    assert Auto.marks(Budget(epochs=epochs)) == marks


@pytest.mark.parametrize("epochs", [2, 9, 27, 81])
def test_an_eighth_trains_to_the_end_however_many_epochs_there_are(epochs: int) -> None:
    rule = Auto(Budget(trials=80, epochs=epochs), Accuracy(load("study: x\n")))
    assert 10 <= len(play(rule, [number / 80 for number in range(80)])) <= 13


def test_the_first_rung_can_be_chosen() -> None:
    assert Auto.marks(Budget(epochs=27, first_rung=3)) == (3, 6, 12)


def test_it_does_not_matter_how_many_run_at_once() -> None:
    """Nor in which order their processes end: all are compared at a rung before any goes on."""
    luck = random.Random(3)
    kinds = [luck.choice(["none", "crop_flip"]) for _ in range(24)]
    early = [luck.random() for _ in kinds]
    rules = [made(24) for _ in range(4)]
    for rule, slots in zip(rules, (1, 2, 8, 32), strict=True):
        play(rule, early, kinds, slots)
    assert all(rule.epochs == rules[0].epochs for rule in rules)


def test_who_has_reported_a_rung_but_not_ended_is_waited_for() -> None:
    rule = made(2)
    for number in range(2):
        rule.asked(number)
        rule.live.add(number)
        rule.reported(number, 1, number / 2)
    rule.live.discard(0)
    assert rule.next() == "wait"
    rule.live.discard(1)
    assert rule.next() == GoOn(1, 2, 1)


def test_all_are_compared_with_all_where_many_run_at_once() -> None:
    """With a slot for each nobody goes on before everybody has come to the rung, but for the best fifth so far."""
    quality = [0.1, 0.2, 0.3, 0.9]
    assert play(made(4), quality, slots=4) == {3}


@pytest.mark.parametrize("slots", [1, 8])
def test_the_best_of_each_kind_goes_on_beside_the_best_of_all(slots: int) -> None:
    """However few a kind has, and however far behind: no other is left out for it."""
    kinds = ["none"] * 14 + ["crop_flip"] * 4
    early = [0.5 + number / 100 for number in range(14)] + [0.11, 0.13, 0.14, 0.12]
    rule = made(18)
    assert play(rule, early, kinds, slots) == play(made(18), early, slots=slots) | {16}
    assert sum(rule.epochs[number] > 1 for number in range(14)) == 12


@pytest.mark.parametrize("slots", [1, 8])
def test_another_schedule_is_another_kind(slots: int) -> None:
    kinds = [f"{augment} {schedule}" for augment in ("none", "crop_flip") for schedule in ("constant", "cosine")] * 4
    early = [0.9 - 0.2 * (number % 4) - number / 1000 for number in range(16)]
    assert play(made(16), early, kinds, slots) == {0, 4} | {1, 2, 3}
    # Of too few trials for four kinds two are made, by the augmentation alone; of fewer still, none.
    assert play(made(15), early, kinds, slots) == {0, 4} | {2}
    assert play(made(7), early, kinds, slots) == {0}


def test_who_has_a_place_among_the_best_needs_none_of_its_kind() -> None:
    kinds = ["none", "crop_flip"] * 10
    early = [number / 20 for number in range(20)]
    assert play(made(20), early, kinds) == play(made(20), early) == {17, 18, 19}


def test_a_kind_whose_last_fails_on_the_way_is_given_its_next() -> None:
    kinds = ["none"] * 6 + ["crop_flip"] * 2
    rule = made(8)
    for number, kind in enumerate(kinds):
        rule.asked(number, {"augment.kind": kind})
        train(rule, number, 1, 0.9 - number / 10)
    steps = []
    while isinstance(step := rule.next(), GoOn):
        steps.append(step.number)
        rule.live.add(step.number)
    assert steps == [0, 1, 2, 3, 4, 6]
    rule.live.discard(6)
    rule.finished(6)
    assert rule.next() == GoOn(7, 2, 1)


def test_what_fails_on_the_way_is_replaced() -> None:
    rule = made(3)
    for number in range(3):
        rule.asked(number)
        train(rule, number, 1, number / 10)
    assert rule.next() == GoOn(2, 2, 1)
    rule.finished(2)
    assert rule.next() == GoOn(1, 2, 1)
    train(rule, 1, 2, 0.1)
    assert rule.next() == GoOn(0, 2, 1)


def test_who_was_put_down_on_the_way_goes_on_first() -> None:
    rule = made(3)
    for number in range(3):
        rule.asked(number)
        train(rule, number, 8, number / 10)
    rule.reported(2, 10, 0.9)
    assert rule.next() == GoOn(2, 16, 4)
    rule.live.add(2)
    rule.reported(1, 9, 0.1)
    assert rule.next() == GoOn(1, 16, 4)


def test_each_model_of_a_front_trains_to_the_end() -> None:
    costs = {number: [1.0, 2.0, 9.0][number % 3] for number in range(15)}
    rule = Auto(Budget(trials=15, epochs=27), objective_of(load(FRONT)), costs)
    early = [[0.55, 0.7, 0.9][number % 3] + number / 1000 for number in range(15)]
    finished = play(rule, early)
    assert {costs[number] for number in finished} == {1.0, 2.0, 9.0}


def test_as_many_as_are_asked_for_train_to_the_end() -> None:
    assert len(play(made(10, complete=10), [number / 10 for number in range(10)])) == 10

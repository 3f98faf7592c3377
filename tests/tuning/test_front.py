"""Searches with two objectives: the front that is found is the right one, and both arms are retrained along it."""

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.tuning.played import MODELS, STUDY, Play
from tune_kd import models, names, plan
from tune_kd.space.load import load
from tune_kd.space.rules import RULES
from tune_kd.space.schema import Budget
from tune_kd.training import measures
from tune_kd.training.costs import costs
from tune_kd.tuning.fronts import Point, front, ranks
from tune_kd.tuning.objectives import objective_of
from tune_kd.tuning.rules.halving import Asha

FRONT = ["tiny", "small", "large"]
SETTINGS = (
    "objectives=[accuracy,size]",
    "search.student.model={choice: [wasteful, large, tiny, small]}",
    "conditions=null",
    "first=[]",
    "budget.trials=36",
)


def retrained(play: Play, arm: str) -> Counter[str]:
    """How often each model was retrained."""
    return Counter(entry.config["student.model"] for entry, _ in play.ledger.all_finals() if entry.arm.name == arm)


@given(st.dictionaries(st.integers(), st.tuples(st.integers(1, 4), st.integers(0, 6)), max_size=14))
def test_a_rank_is_one_more_than_that_of_the_best_which_beats_it(points: dict[int, tuple[int, int]]) -> None:
    found = ranks(points)

    def beaten_by(number: int) -> list[int]:
        cost, accuracy = points[number]
        return [n for n, (c, a) in points.items() if c <= cost and a >= accuracy and (c, a) != (cost, accuracy)]

    assert found == {n: max((found[other] + 1 for other in beaten_by(n)), default=0) for n in points}


def test_a_front_goes_from_cheap_to_dear_and_names_equals_once() -> None:
    points: dict[int, Point] = {4: (9.0, 0.9), 1: (1.0, 0.5), 2: (1.0, 0.5), 3: (2.0, 0.4)}
    assert front(points) == [1, 4]


@pytest.mark.parametrize("stopping", sorted(RULES))
@pytest.mark.parametrize("seed", range(3))
def test_the_front_is_found_and_both_arms_are_retrained_along_it(tmp_path: Path, stopping: str, seed: int) -> None:
    play = Play(tmp_path, *SETTINGS, f"budget.early_stopping={stopping}", f"seed={seed}")
    play.run(slots=3)
    for arm in play.plan.arms:
        assert retrained(play, arm.name) == dict.fromkeys(FRONT, 2)
    seeds = {(e.arm.name, e.config["student.model"]): set[int]() for e, _ in play.ledger.all_finals()}
    for entry, _ in play.ledger.all_finals():
        seeds[entry.arm.name, entry.config["student.model"]].add(entry.seed)
    assert len({frozenset(found) for found in seeds.values()}) == 1
    assert len(next(iter(seeds.values()))) == 2


def test_every_model_of_the_front_has_trained_to_the_end_with_good_settings(tmp_path: Path) -> None:
    play = Play(tmp_path, *SETTINGS)
    play.run()
    for arm in play.plan.arms:
        for model in FRONT:
            best = play.ledger.best(arm, model)
            assert best is not None
            assert best[1].state.name == names.COMPLETE
            assert 0.003 < best[0].config["train.lr"] < 0.03  # 0.01 is right


def test_large_models_do_not_stop_small_ones() -> None:
    costs = {0: 1.0, **dict.fromkeys(range(1, 9), 9.0)}
    objective = objective_of(load(STUDY, SETTINGS))
    ladder = Asha(Budget(trials=9, epochs=3), objective, costs)
    for number in costs:
        ladder.asked(number)
        ladder.reported(number, 1, 0.2 if number == 0 else 0.5 + number / 100)
    gone_on = []
    while not isinstance(step := ladder.next(), str):
        gone_on.append(step.number)
        ladder.reported(step.number, 3, 0.9)
    assert 0 in gone_on[:2]


def test_a_front_survives_a_kill_and_its_finals_are_not_done_twice(tmp_path: Path) -> None:
    whole = Play(tmp_path / "whole", *SETTINGS)
    whole.run()
    for legs in (30, 90, 20):
        Play(tmp_path / "killed", *SETTINGS).run(legs=legs)
    resumed = Play(tmp_path / "killed", *SETTINGS)
    resumed.run()
    assert resumed.configs() == whole.configs()
    assert resumed.states() == whole.states()
    assert [e.config for e, _ in resumed.ledger.all_finals()] == [e.config for e, _ in whole.ledger.all_finals()]


def test_a_rivals_front_is_retrained_too(tmp_path: Path) -> None:
    """Where the wasteful model is on one arm's front only, the other arm is retrained at it as well."""
    play = Play(tmp_path, *SETTINGS)
    while not isinstance(leg := play.conductor.next(), str):
        helped = leg.entry.arm.name == names.DISTILLED and leg.entry.config["student.model"] == "wasteful"
        play.train(leg, better=0.4 if helped and not leg.entry.final else 0.0)
    assert "wasteful" in retrained(play, names.DISTILLED)
    assert retrained(play, names.SCRATCH) == retrained(play, names.DISTILLED) == dict.fromkeys(MODELS, 2)


def test_each_model_is_tried_even_at_random(tmp_path: Path) -> None:
    play = Play(tmp_path, *SETTINGS, "budget.trials=4", "budget.sampler=random")
    play.run()
    for arm in play.plan.arms:
        assert {entry.config["student.model"] for entry, _ in play.ledger.entries(arm)} == set(MODELS)


def test_what_a_model_costs_is_measured_once(tmp_path: Path) -> None:
    Play(tmp_path, *SETTINGS)
    again = Play(tmp_path, *SETTINGS)
    again.ledger.know_costs(lambda: {"tiny": 77.0})
    assert again.ledger.cost("tiny") == 1.0


@pytest.mark.parametrize("stopping", sorted(RULES))
def test_what_a_front_will_train_is_told_before(stopping: str) -> None:
    study = load(STUDY, [*SETTINGS, f"budget.early_stopping={stopping}"])
    assert 36 <= plan.expected_epochs(study) <= 36 * 9


@pytest.mark.parametrize("objective", ["size", "macs", "latency"])
def test_costs_are_facts_of_the_models(objective: str) -> None:
    choice = "search.student.model.choice=[digits_student,digits_student_tiny]"
    found = costs(load("quickstart", [f"objectives=[accuracy,{objective}]", choice]), 10, lambda side: (1, 8, 8))
    assert found["digits_student"] > found["digits_student_tiny"] > 0
    built = models.build("digits_student", classes=10, in_shape=(1, 8, 8))
    exact = {"size": measures.size_mb(built), "macs": measures.macs(built, (1, 8, 8))}
    assert found["digits_student"] == exact.get(objective, found["digits_student"])

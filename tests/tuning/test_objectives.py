"""What every objective must do: a member of `tune_kd.space.objectives` passes all of this by being named there."""

import random
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.tuning.played import MODELS, STUDY, Play
from tune_kd import names
from tune_kd.space.load import load
from tune_kd.space.objectives import OBJECTIVES
from tune_kd.tuning.objectives import Objective, objective_of

every_objective = pytest.mark.parametrize("name", sorted(OBJECTIVES))


def settings(name: str) -> tuple[str, ...]:
    named = "[accuracy]" if name == "accuracy" else f"[accuracy,{name}]"
    choice = "search.student.model={choice: [wasteful, large, tiny, small]}"
    return (f"objectives={named}", choice, "conditions=null", "first=[]", "budget.trials=16")


def made(name: str) -> Objective:
    return objective_of(load(STUDY, settings(name)))


COSTS: Mapping[str, float] = {model: cost for model, (cost, _) in MODELS.items()}
NUMBERS: Mapping[int, float] = dict(enumerate(COSTS.values()))


@every_objective
def test_the_most_accurate_is_ahead_wherever_costs_are_equal(name: str) -> None:
    standing = made(name).standing(dict.fromkeys(range(9), 1.0))
    values = random.Random(0).sample([k / 9 for k in range(9)], 9)
    for number, value in enumerate(values):
        standing.arrive(number, value)
    assert [number for _, number in standing.ranked] == sorted(range(9), key=lambda n: -values[n])
    assert [standing.rank(number) for _, number in standing.ranked] == list(range(9))


@every_objective
def test_who_leaves_no_longer_waits_but_still_counts(name: str) -> None:
    standing = made(name).standing(NUMBERS)
    for number in NUMBERS:
        standing.arrive(number, 0.1 * number)
    standing.leave(1)
    standing.leave(1)
    assert 1 not in [number for _, number in standing.waiting]
    assert len(standing.ranked) == len(NUMBERS)


@every_objective
def test_finalists_are_the_best_there_are_and_none_where_nothing_was_trained(name: str) -> None:
    objective = made(name)
    reached = {model: value for model, (_, value) in MODELS.items()}

    def best(model: str | None) -> tuple[str, float]:
        found = model or max(reached, key=reached.__getitem__)
        return found, reached[found]

    assert objective.finalists(lambda model: None, [], COSTS) == []
    found = objective.finalists(best, [best], COSTS)
    assert "large" in found
    assert "wasteful" not in found
    assert len(found) == len(set(found)) <= max(1, len(objective.models))


@every_objective
def test_what_the_sampler_is_told_keeps_the_order_of_equal_costs(name: str) -> None:
    objective = made(name)
    if objective.values is None:
        return
    points = {number: (1.0 + number % 2, number / 10) for number in range(8)}
    told = objective.values(points)
    assert told.keys() == points.keys()
    for parity in (0, 1):
        order = [told[number] for number in range(parity, 8, 2)]
        assert order == sorted(order)


@every_objective
def test_at_least_one_trial_of_each_model_trains_to_the_end(name: str) -> None:
    study = load(STUDY, settings(name))
    objective = objective_of(study)
    assert objective.complete(study.budget) >= max(1, len(objective.models))
    assert objective.complete(study.budget) <= study.budget.trials
    assert [objective.good(count) for count in (1, 10, 1000)] == sorted(objective.good(c) for c in (1, 10, 1000))


@every_objective
@pytest.mark.parametrize("slots", [1, 4])
def test_a_search_ends_with_no_more_finals_than_were_announced(tmp_path: Path, name: str, slots: int) -> None:
    play = Play(tmp_path, *settings(name))
    play.run(slots=slots)
    finals = list(play.ledger.all_finals())
    assert 0 < len(finals) <= play.plan.finals
    by_arm = [{entry.config[names.STUDENT_MODEL] for entry, _ in finals if entry.arm == arm} for arm in play.plan.arms]
    assert by_arm[0] == by_arm[1] or not play.ledger.objective.rivals_first()


@every_objective
def test_a_search_killed_anywhere_ends_like_one_that_was_not(tmp_path: Path, name: str) -> None:
    whole = Play(tmp_path / "whole", *settings(name))
    whole.run()
    for legs in (2, 7, 20):
        Play(tmp_path / "killed", *settings(name)).run(legs=legs)
    resumed = Play(tmp_path / "killed", *settings(name))
    resumed.run()
    assert resumed.configs() == whole.configs()
    assert [e.config for e, _ in resumed.ledger.all_finals()] == [e.config for e, _ in whole.ledger.all_finals()]

"""The few best of an arm on other seeds: what was only lucky, or collapses, does not go to the finals."""

import itertools
from collections import Counter
from pathlib import Path

import pytest

from tests.tuning.played import Play
from tune_kd import names
from tune_kd.space.rules import RULES
from tune_kd.tuning.conductor import Leg
from tune_kd.tuning.ranking import changes, ranked, to_confirm

SETTINGS = ("conditions=null", "first=[]", "budget.confirm=3", "budget.trials=12", "budget.complete=4")


def run(play: Play, collapses: bool) -> None:
    """The best trial of each arm collapses on any other seed, if so asked."""
    while not isinstance(leg := play.conductor.next(), str):
        best = ranked(play.ledger, leg.entry.arm)
        lucky = (
            leg.entry.role == names.CONFIRMATION and leg.entry.config == max(best, key=lambda t: t.shown).entry.config
        )
        play.train(leg, better=-0.5 if lucky and collapses else 0.0)


def test_what_collapses_on_other_seeds_is_not_chosen(tmp_path: Path) -> None:
    play = Play(tmp_path, *SETTINGS)
    run(play, collapses=True)
    for arm in play.plan.arms:
        found = ranked(play.ledger, arm)
        luckiest = max(found, key=lambda one: one.shown)
        assert found[0] != luckiest
        assert {entry.config["train.lr"] for entry, _ in play.ledger.finals(arm)} == {found[0].entry.config["train.lr"]}
        assert len(found[0].confirmed) == 2
    told = changes(play.ledger, play.plan)
    assert len(told) == len(play.plan.arms)
    assert all("on its first seed" in line for line in told)


def test_what_is_confirmed_stays(tmp_path: Path) -> None:
    play = Play(tmp_path, *SETTINGS)
    run(play, collapses=False)
    roles = Counter(entry.role for entry, _ in play.ledger.all_again())
    assert roles == {names.CONFIRMATION: 2 * play.plan.confirmations_of_arm, names.FINAL: play.plan.finals}
    seeds = {entry.seed for entry, _ in play.ledger.all_again() if entry.role == names.CONFIRMATION}
    assert len(seeds) == 2
    assert not seeds & {entry.seed for entry, _ in play.ledger.all_finals()}


def test_a_confirmation_that_diverges_has_reached_nothing(tmp_path: Path) -> None:
    play = Play(tmp_path, *SETTINGS)
    while not isinstance(leg := play.conductor.next(), str):
        if (
            leg.entry.role == names.CONFIRMATION
            and leg.entry.config == to_confirm(play.ledger, play.plan, leg.entry.arm)[0]
        ):
            play.diverge(leg)
        else:
            play.train(leg)
    for arm in play.plan.arms:
        assert 0.0 not in ranked(play.ledger, arm)[0].confirmed
        assert any(one.confirmed == [0.0, 0.0] for one in ranked(play.ledger, arm))


@pytest.mark.parametrize("legs", [5, 30, 37, 41, 45])
def test_a_search_killed_while_it_confirms_ends_like_one_that_was_not(tmp_path: Path, legs: int) -> None:
    whole = Play(tmp_path / "whole", *SETTINGS)
    whole.run()
    killed = Play(tmp_path / "killed", *SETTINGS)
    killed.run(legs=legs)
    leg = killed.conductor.next()
    if isinstance(leg, Leg):
        killed.train(leg, epochs=1)
    resumed = Play(tmp_path / "killed", *SETTINGS)
    resumed.run()
    assert [(e.key, e.config, e.seed) for e, _ in resumed.ledger.all_again()] == [
        (e.key, e.config, e.seed) for e, _ in whole.ledger.all_again()
    ]
    assert all(trial.state.is_finished() for _, trial in resumed.ledger.all_again())


@pytest.mark.parametrize("rule", sorted(RULES))
@pytest.mark.parametrize("slots", [1, 7])
def test_no_final_is_begun_before_its_arm_is_confirmed(tmp_path: Path, rule: str, slots: int) -> None:
    play = Play(tmp_path, *SETTINGS, f"budget.early_stopping={rule}")
    play.run(slots=slots)
    for arm in play.plan.arms:
        own = {entry.key: entry.role for entry, _ in play.ledger.all_again() if entry.arm == arm}
        events = [(kind, own[key]) for kind, key, _ in play.heard.events if key in own]
        first = events.index(("started", names.FINAL))
        assert ("ended", names.CONFIRMATION) not in events[first:]
    assert play.conductor.live == 0


def test_a_front_is_confirmed_at_each_model(tmp_path: Path) -> None:
    play = Play(
        tmp_path, "objectives=[accuracy,size]", "search.student.model={choice: [large, tiny]}", *SETTINGS,
        "budget.confirm=2", "budget.complete=12",
    )  # fmt: skip
    play.run(slots=3)
    for arm, model in itertools.product(play.plan.arms, ("large", "tiny")):
        best = ranked(play.ledger, arm, model)
        assert [len(one.confirmed) for one in best[:3]] == [2, 2, 0]


def test_time_that_is_up_is_spent_on_finals_only(tmp_path: Path) -> None:
    play = Play(tmp_path, *SETTINGS, "budget.seconds=100")
    play.run(legs=20)
    play.conductor._clock = lambda: 1e12
    play.run()
    assert {entry.role for entry, _ in play.ledger.all_again()} == {names.FINAL}


def test_nothing_is_confirmed_unasked(tmp_path: Path) -> None:
    play = Play(tmp_path, "conditions=null", "first=[]")
    play.run()
    assert {entry.role for entry, _ in play.ledger.all_again()} == {names.FINAL}
    assert changes(play.ledger, play.plan) == []

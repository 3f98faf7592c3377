"""What is trained when, and what the ledger says of it, without Ray."""

import json
from collections import Counter
from pathlib import Path

import pytest
from optuna.trial import FrozenTrial

from tests.tuning.played import Play, metrics, quality
from tune_kd import names
from tune_kd.errors import TuneKDError
from tune_kd.space.rules import RULES
from tune_kd.tuning import tables
from tune_kd.tuning.conductor import MESSAGE, MOST_ATTEMPTS, MOST_UNSTORED, NOT_STORED, OK, OUTCOME, Leg
from tune_kd.tuning.entry import RESULT, best_value


def test_a_whole_search(tmp_path: Path) -> None:
    play = Play(tmp_path)
    play.run()
    states = Counter((arm, state) for arm, _, state in play.states())
    for arm in play.plan.arms:
        assert states[arm.key, names.COMPLETE] >= 3
        assert states[arm.key, names.COMPLETE] + states[arm.key, names.PRUNED] == 9
    finals = list(play.ledger.all_finals())
    assert len(finals) == play.plan.finals == 8
    assert all(trial.state.name == names.COMPLETE for _, trial in finals)


def test_finals_train_the_best_configuration_of_their_arm_on_paired_seeds(tmp_path: Path) -> None:
    play = Play(tmp_path)
    play.run()
    seeds: dict[str, list[int]] = {}
    for entry, _ in play.ledger.all_finals():
        complete = [t for t in play.ledger.entries(entry.arm) if t[1].state.name == names.COMPLETE]
        assert entry.config == max(complete, key=lambda pair: best_value(pair[1]))[0].config
        seeds.setdefault(entry.arm.key, []).append(entry.seed)
    assert len({tuple(found) for found in seeds.values()}) == 1
    assert len(set(next(iter(seeds.values())))) == 2


def test_the_scratch_arm_neither_searches_nor_uses_distillation(tmp_path: Path) -> None:
    play = Play(tmp_path)
    play.run()
    scratch = next(arm for arm in play.plan.arms if arm.name == names.SCRATCH)
    for _, trial in play.ledger.entries(scratch):
        assert set(trial.params) == {"train.lr"}


def test_published_settings_come_first_in_both_arms(tmp_path: Path) -> None:
    play = Play(tmp_path)
    play.run(legs=4)
    assert [config["train.lr"] for arm in play.plan.arms for config in [first_config(play, arm.number)]] == [0.01] * 4
    assert first_config(play, 0)["kd.alpha"] == 0.9


@pytest.mark.parametrize(
    ("searched", "trials"),
    [("null", {names.DISTILLED: 0, names.SCRATCH: 0}), ("{kd.alpha: {uniform: [0.1, 1.0]}}", {names.SCRATCH: 0})],
)
def test_an_arm_in_which_nothing_is_searched_has_finals_alone(
    tmp_path: Path, searched: str, trials: dict[str, int]
) -> None:
    play = Play(tmp_path, f"search={searched}", "first=null", "train.lr=0.02")
    play.run()
    for arm in play.plan.arms:
        assert len(list(play.ledger.entries(arm))) == trials.get(arm.name, 9)
        finals = list(play.ledger.finals(arm))
        assert [trial.state.name for _, trial in finals] == [names.COMPLETE] * 2
        assert {entry.config["train.lr"] for entry, _ in finals} == {0.02}
    again = Play(tmp_path, f"search={searched}", "first=null", "train.lr=0.02")
    assert again.conductor.next() == "done"


def test_an_arm_whose_finals_all_failed_is_hopeless(tmp_path: Path) -> None:
    play = Play(tmp_path, "search=null", "first=null", "conditions=null")
    while isinstance(leg := play.conductor.next(), Leg):
        play.diverge(leg)
    assert sum(play.ledger.hopeless().values()) == 4


def first_config(play: Play, arm: int) -> dict[str, float]:
    return next(entry.config for entry, _ in play.ledger.entries(play.plan.arms[arm]))


def test_arms_take_turns(tmp_path: Path) -> None:
    play = Play(tmp_path)
    play.run(legs=8)
    assert Counter(arm for arm, _, _ in play.states()) == {arm.key: 2 for arm in play.plan.arms}


def test_the_same_seed_suggests_the_same(tmp_path: Path) -> None:
    first, again, other = Play(tmp_path / "a"), Play(tmp_path / "b"), Play(tmp_path / "c", "seed=4")
    for play in (first, again, other):
        play.run()
    assert first.configs() == again.configs()
    assert first.states() == again.states()
    assert first.configs() != other.configs()


@pytest.mark.parametrize("legs", [1, 5, 17, 40, 60])
def test_a_search_killed_between_legs_ends_like_one_that_was_not(tmp_path: Path, legs: int) -> None:
    whole = Play(tmp_path / "whole")
    whole.run()
    Play(tmp_path / "killed").run(legs=legs)
    resumed = Play(tmp_path / "killed")
    resumed.run()
    assert resumed.configs() == whole.configs()
    assert resumed.states() == whole.states()


def test_a_search_killed_within_a_leg_goes_on_with_that_trial(tmp_path: Path) -> None:
    play = Play(tmp_path, "budget.first_rung=3")
    leg = play.conductor.next()
    assert isinstance(leg, Leg)
    play.train(leg, epochs=2)
    resumed = Play(tmp_path, "budget.first_rung=3").conductor.next()
    assert isinstance(resumed, Leg)
    assert (resumed.entry.key, resumed.reported, resumed.until) == (leg.entry.key, 2, 3)


def test_a_search_killed_while_asking_leaves_no_zombie(tmp_path: Path) -> None:
    play = Play(tmp_path)
    play.ledger._arms[0].ask()  # as if the process had died before the suggestion was written down
    again = Play(tmp_path)
    again.run()
    whole = Play(tmp_path / "whole")
    whole.run()
    assert again.configs() == whole.configs()
    states = [trial.state.name for study in again.ledger._arms for trial in study.get_trials()]
    assert "RUNNING" not in states


def test_a_torn_last_line_is_dropped(tmp_path: Path) -> None:
    Play(tmp_path).run(legs=6)
    ledger = tmp_path / names.LEDGER_FILE
    whole = ledger.read_bytes()
    ledger.write_bytes(whole + b'{"op_code":6,"trial')
    Play(tmp_path).run(legs=1)
    assert ledger.read_bytes().startswith(whole + b'{"op_code"')
    assert b'"trial{' not in ledger.read_bytes()


def test_optuna_reads_the_ledger_as_it_is(tmp_path: Path) -> None:
    import optuna

    play = Play(tmp_path)
    play.run()
    storage = optuna.storages.JournalStorage(
        optuna.storages.journal.JournalFileBackend(str(tmp_path / names.LEDGER_FILE))
    )
    summaries = {s.study_name: s.n_trials for s in optuna.get_all_study_summaries(storage)}
    assert summaries == {f"played | {arm.key}": 9 for arm in play.plan.arms} | {"played | finals": 8}


def test_a_diverged_trial_fails_with_its_reason_and_the_search_goes_on(tmp_path: Path) -> None:
    play = Play(tmp_path)
    leg = play.conductor.next()
    assert isinstance(leg, Leg)
    play.diverge(leg)
    play.run()
    entry, trial = next(play.ledger.entries(leg.entry.arm))
    assert trial.state.name == names.FAIL
    assert ("ended", entry.key, (names.FAIL, "the training loss became nan in epoch 1")) in play.heard.events
    assert play.ledger.best(leg.entry.arm)[0].number != entry.number  # type: ignore[index]


def test_a_training_whose_process_keeps_dying_is_given_up(tmp_path: Path) -> None:
    play = Play(tmp_path)
    keys = set()
    for _ in range(MOST_ATTEMPTS):
        leg = play.conductor.next()
        assert isinstance(leg, Leg)
        keys.add(leg.entry.key)
        play.conductor.died(leg)
    assert len(keys) == 1
    assert play.states()[0][2] == names.FAIL


def test_a_node_without_the_storage_is_not_the_trainings_fault_but_ends_a_search_that_has_no_other(
    tmp_path: Path,
) -> None:
    play = Play(tmp_path)
    while not (isinstance(leg := play.conductor.next(), Leg) and leg.entry.final):
        assert isinstance(leg, Leg)
        for _ in range(MOST_UNSTORED - 1):
            again = leg
            play.conductor.ended(again, {OUTCOME: NOT_STORED, MESSAGE: "not there"})
            leg = play.conductor.next()
            assert isinstance(leg, Leg)
            assert (leg.entry, leg.until, leg.reported) == (again.entry, again.until, again.reported)
        play.train(leg)
    for _ in range(MOST_UNSTORED - 1):
        play.conductor.ended(leg, {OUTCOME: NOT_STORED, MESSAGE: "not there"})
        again, leg = leg, play.conductor.next()
        assert isinstance(leg, Leg)
        assert leg.entry == again.entry
    with pytest.raises(TuneKDError, match=r"not there\. Everything so far is kept"):
        play.conductor.ended(leg, {OUTCOME: NOT_STORED, MESSAGE: "not there"})
    assert not any(state == names.FAIL for _, _, state in play.states())


def test_a_training_that_gets_on_between_deaths_is_not_given_up(tmp_path: Path) -> None:
    play = Play(tmp_path, "budget.early_stopping=none")
    for _ in range(MOST_ATTEMPTS + 2):
        leg = play.conductor.next()
        assert isinstance(leg, Leg)
        play.train(leg, epochs=1)
        play.conductor.died(leg)
    play.run()
    assert play.states()[0][1:] == (9, names.COMPLETE)


def test_a_trial_whose_last_epoch_was_reported_is_complete_even_if_its_process_never_said_so(tmp_path: Path) -> None:
    settings = ("budget.early_stopping=none", "budget.epochs=3")
    play = Play(tmp_path, *settings)
    leg = play.conductor.next()
    assert isinstance(leg, Leg)
    play.train(leg, epochs=3)
    assert Play(tmp_path, *settings).states()[0][1:] == (3, names.COMPLETE)


def test_a_search_that_is_extended_retrains_an_arm_of_which_the_best_has_changed(tmp_path: Path) -> None:
    settings = ("conditions=null", "first=[]")
    Play(tmp_path, *settings).run()
    more = Play(tmp_path, *settings, "budget.trials=30")
    before = {arm.key: more.ledger.best(arm)[0].config for arm in more.plan.arms}  # type: ignore[index]
    more.run()
    for arm in more.plan.arms:
        best = more.ledger.best(arm)[0].config  # type: ignore[index]
        finals = [entry for entry, _ in more.ledger.finals(arm)]
        assert [entry.config for entry in finals] == [best] * 2
        assert len({entry.seed for entry in finals}) == 2
    assert any(before[arm.key] != more.ledger.best(arm)[0].config for arm in more.plan.arms)  # type: ignore[index]


def test_a_search_has_one_teacher(tmp_path: Path) -> None:
    Play(tmp_path).ledger.same_teacher("abc")
    again = Play(tmp_path).ledger
    again.same_teacher("abc")
    with pytest.raises(TuneKDError, match="they were abc"):
        again.same_teacher("xyz")


def test_a_damaged_ledger_is_named_with_its_line_and_left_as_it_is(tmp_path: Path) -> None:
    Play(tmp_path).run(legs=3)
    ledger = tmp_path / names.LEDGER_FILE
    lines = ledger.read_bytes().splitlines(keepends=True)
    damaged = b"".join([*lines[:4], b"\xff\xfe damage\n", *lines[5:]])
    ledger.write_bytes(damaged)
    with pytest.raises(TuneKDError, match=r"ledger.journal: line 5 of the ledger is damaged"):
        Play(tmp_path)
    assert ledger.read_bytes() == damaged


@pytest.mark.parametrize("content", [b"dear diary", b"dear diary\n", b'{"a": 1}\n'])
def test_a_foreign_file_is_not_taken_for_a_ledger(tmp_path: Path, content: bytes) -> None:
    (tmp_path / names.LEDGER_FILE).write_bytes(content)
    with pytest.raises(TuneKDError, match="not a ledger"):
        Play(tmp_path)
    assert (tmp_path / names.LEDGER_FILE).read_bytes() == content


def test_an_arm_in_which_everything_failed_is_hopeless_and_has_no_finals(tmp_path: Path) -> None:
    play = Play(tmp_path)
    while not isinstance(leg := play.conductor.next(), str):
        if leg.entry.arm.number == 0:
            play.diverge(leg)
        else:
            play.train(leg)
    assert list(play.ledger.hopeless().values()) == [9]
    assert {entry.arm.number for entry, _ in play.ledger.all_finals()} == {1, 2, 3}


def test_when_the_time_is_up_finals_still_follow(tmp_path: Path) -> None:
    play = Play(tmp_path, "budget.seconds=100")
    play.run(legs=20)
    play.conductor._clock = lambda: 1e12  # the wall clock is the one thing that is made up here
    play.run()
    assert len(list(play.ledger.all_finals())) == 8
    assert {state for _, _, state in play.states()} <= {names.COMPLETE, names.PRUNED}
    assert len(play.states()) < 36


def test_a_resumed_search_has_no_more_time_than_was_left(tmp_path: Path) -> None:
    first = Play(tmp_path, "budget.seconds=100")
    first.conductor._clock = lambda: first.conductor._begun + 95
    first.run(legs=20)
    begun = len(first.states())
    again = Play(tmp_path, "budget.seconds=100")
    again.conductor._clock = lambda: again.conductor._begun + 10
    again.run()
    assert len(again.states()) == begun
    assert len(list(again.ledger.all_finals())) == 8


def test_until_the_teacher_is_there_only_scratch_trials_are_trained(tmp_path: Path) -> None:
    play = Play(tmp_path)
    taught = False
    play.conductor._taught = lambda: taught
    play.run()
    assert play.conductor.next() == "wait"
    assert {arm.rpartition(" ")[2] for arm, _, _ in play.states()} == {names.SCRATCH}
    assert not list(play.ledger.all_finals())
    taught = True
    play.run()
    whole = Play(tmp_path / "whole")
    whole.run()
    assert play.configs() == whole.configs()
    assert play.states() == whole.states()


@pytest.mark.parametrize("stopping", sorted(RULES))
def test_every_way_of_stopping_ends_with_several_slots(tmp_path: Path, stopping: str) -> None:
    play = Play(tmp_path, f"budget.early_stopping={stopping}")
    play.run(slots=5)
    states = Counter(state for _, _, state in play.states())
    assert sum(states.values()) == 36
    assert (states[names.PRUNED] == 0) == (stopping == "none")
    assert play.conductor.live == 0


def test_a_grid_is_tried_point_by_point(tmp_path: Path) -> None:
    grid = "search={kd.alpha: {grid: [0.25, 0.75]}, kd.temperature: {grid: [1, 2, 4]}}"
    play = Play(tmp_path, grid, "first=[]", "budget.trials=6", "budget.early_stopping=none", "conditions=null")
    play.run()
    tried = {(e.config["kd.alpha"], e.config["kd.temperature"]) for e, _ in play.ledger.entries(play.plan.arms[0])}
    assert tried == {(alpha, t) for alpha in (0.25, 0.75) for t in (1, 2, 4)}


def test_with_more_epochs_complete_trials_go_on_and_finals_are_run_anew(tmp_path: Path) -> None:
    before = Play(tmp_path)
    before.run()
    told = {
        entry.key: (entry.seed, entry.config) for arm in before.plan.arms for entry, _ in before.ledger.entries(arm)
    }
    complete = {
        entry.key
        for arm in before.plan.arms
        for entry, trial in before.ledger.entries(arm)
        if trial.state.name == names.COMPLETE
    }
    more = Play(tmp_path, "budget.epochs=18")
    more.run(legs=2)
    again = Play(tmp_path, "budget.epochs=18")  # killed and resumed meanwhile
    again.run()
    after = {entry.key: (entry, trial) for arm in again.plan.arms for entry, trial in again.ledger.entries(arm)}
    assert {key: (entry.seed, entry.config) for key, (entry, _) in after.items()} == told
    for key, (_, trial) in after.items():
        assert len(trial.intermediate_values) == (18 if trial.state.name == names.COMPLETE else max_epoch(trial))
        assert trial.state.name != names.COMPLETE or key in complete
    done = [key for key in complete if after[key][1].state.name == names.COMPLETE]
    assert len(done) >= 3 * len(again.plan.arms)
    # No epoch is trained twice, and none that was known before.
    reported = [(key, epoch) for play in (more, again) for kind, key, epoch in play.heard.events if kind == "reported"]
    assert len(reported) == len(set(reported))
    assert all(epoch > 9 for key, epoch in reported if key in complete)
    for arm in again.plan.arms:
        finals = list(again.ledger.finals(arm))
        assert [len(trial.intermediate_values) for _, trial in finals] == [18, 18]
    assert len(list(again.ledger.all_finals())) == 2 * again.plan.finals


def max_epoch(trial: FrozenTrial) -> int:
    return max(trial.intermediate_values)


def test_finals_that_an_earlier_version_began_are_gone_on_with(tmp_path: Path) -> None:
    """It knew fewer keys; where nothing is searched, what was begun is what there is."""
    settings = ("search=null", "first=null", "conditions=null")
    play = Play(tmp_path, *settings)
    arm = play.plan.arms[0]
    config = {key: value for key, value in play.ledger.chosen(arm)[0].items() if key != "train.patience"}
    play.ledger.ask_again(names.FINAL, arm, 0, config)
    again = Play(tmp_path, *settings)
    again.run()
    finals = list(again.ledger.finals(arm))
    assert [entry.config for entry, _ in finals] == [config] * 2


def test_settings_are_chosen_by_what_the_study_names(tmp_path: Path) -> None:
    play = Play(tmp_path, "objective.metric=macro_f1", "budget.early_stopping=none", "conditions=null")
    while not isinstance(leg := play.conductor.next(), str):
        score = 1 - quality(leg.entry)  # what is best by accuracy is worst by this
        for epoch in range(leg.reported + 1, leg.until + 1):
            play.conductor.reported(leg, metrics(leg.entry, epoch) | {names.VAL_F1: score})
        tested = {names.TEST_ACCURACY: 1 - score, names.TEST_F1: score}
        play.conductor.ended(leg, {OUTCOME: OK, **({RESULT: json.dumps(tested)} if leg.entry.final else {})})
    for arm in play.plan.arms:
        scores = {trial.value: entry.config for entry, trial in play.ledger.entries(arm)}
        assert play.ledger.chosen(arm) == [scores[max(scores)]]
    finals = tables.finals_table(play.plan, play.ledger, "")
    assert finals[names.VAL_F1].tolist() == pytest.approx(finals[names.TEST_F1].tolist())
    assert names.VAL_ACCURACY not in finals

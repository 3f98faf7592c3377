"""The tables of a search, and how often its finals were looked at."""

import math
from pathlib import Path

from tests.tuning.played import Play
from tune_kd import names
from tune_kd.tuning.tables import COMMON, finals_table, trials_table


def test_tables_without_rows_have_their_columns(tmp_path: Path) -> None:
    play = Play(tmp_path)
    for table in (trials_table(play.plan, play.ledger, lambda entry: 1), finals_table(play.plan, play.ledger, "")):
        assert table.empty
        assert {"arm", *COMMON} <= set(table.columns)


def test_a_final_that_failed_is_a_row_with_its_state_and_reason(tmp_path: Path) -> None:
    play = Play(tmp_path, "search=null", "first=null", "conditions=null", "train.lr=0.01")
    lost_leg = play.conductor.next()
    assert not isinstance(lost_leg, str)
    play.diverge(lost_leg)
    play.run()
    finals = finals_table(play.plan, play.ledger, "")
    assert sorted(finals["state"]) == [names.COMPLETE] * 3 + [names.FAIL]
    (lost,) = (row for row in finals.to_dict("records") if row["state"] == names.FAIL)
    assert math.isnan(lost[names.TEST_ACCURACY])
    assert "nan in epoch 1" in lost[names.STOP_REASON]
    assert lost["config.train.lr"] == 0.01


def test_looks_are_counted_where_other_finals_are_judged(tmp_path: Path) -> None:
    play = Play(tmp_path, "search=null", "first=null", "conditions=null")
    assert play.ledger.look() == 0
    play.run()
    assert [play.ledger.look(), play.ledger.look()] == [1, 1]
    more = Play(tmp_path, "search=null", "first=null", "conditions=null", "budget.repeats=3")
    more.run()
    assert more.ledger.look() == 2


def test_what_keeps_the_last_epoch_is_chosen_by_it(tmp_path: Path) -> None:
    play = Play(tmp_path, "train.keep=last", "conditions=null", "budget.early_stopping=none", "budget.trials=2")
    arm = play.plan.arms[0]
    first, second = play.ledger.ask(arm), play.ledger.ask(arm)
    for entry, values in ((first, [0.9, 0.5]), (second, [0.6, 0.6])):
        for epoch, value in enumerate(values, 1):
            play.ledger.report(entry, epoch, value)
    best = play.ledger.best(arm)
    assert best is not None
    assert best[0] == second
    trials = trials_table(play.plan, play.ledger, lambda entry: 1)
    assert list(trials["value"]) == [0.5, 0.6]

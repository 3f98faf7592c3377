"""The tables of a search of which nothing is known yet."""

from pathlib import Path

from tests.tuning.played import Play
from tune_kd.tuning.tables import COMMON, finals_table, trials_table


def test_tables_without_rows_have_their_columns(tmp_path: Path) -> None:
    play = Play(tmp_path)
    for table in (trials_table(play.plan, play.ledger, {}), finals_table(play.plan, play.ledger, "")):
        assert table.empty
        assert {"arm", *COMMON} <= set(table.columns)

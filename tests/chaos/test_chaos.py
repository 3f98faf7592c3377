"""A handful of kills in one small search. `python -m tests.chaos --kills 100` is the long run."""

from pathlib import Path

import pytest

from tests.chaos.__main__ import Arena
from tests.chaos.kills import DRIVER, RAYLET, SERVER, WORKER, Kill
from tests.chaos.world import QUICK

pytestmark = pytest.mark.slow

KILLS = [
    Kill(DRIVER, "asked", 0.0),
    Kill(SERVER, "reported", 0.0, away=2.0),
    Kill(WORKER, "epoch", 0.05),
    Kill(RAYLET, "epoch", 0.02, away=0.5),
    Kill(DRIVER, "written", 0.0),
]


def test_whatever_is_killed_nothing_is_lost_and_nothing_is_there_twice(tmp_path: Path) -> None:
    arena = Arena(tmp_path, QUICK)
    try:
        game, waits, _ = arena.fight(0, seed=0, kills=KILLS)
    finally:
        arena.close()
    assert game.done == KILLS
    assert len(waits) >= 1

"""Several machines with pretended GPUs: who runs where, who joins, who dies. One cluster for all of it."""

import json
import subprocess
import sys
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import pytest

from tests.patience import PATIENCE
from tune_kd import names

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("cluster")
    command = [sys.executable, "-m", "tests.execution.on_a_cluster", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads((folder / "found.json").read_text())


def at_once(legs: list[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    """At the beginning of each leg, all that were under way."""
    return [[leg for leg in legs if leg["begin"] <= each["begin"] < leg["end"]] for each in legs]


def cards(legs: list[dict[str, Any]]) -> dict[tuple[str, str], float]:
    """How much of each card is taken."""
    taken: dict[tuple[str, str], float] = defaultdict(float)
    for leg in legs:
        taken[leg["node"], leg["card"]] += leg["gpu"]
    return taken


def test_with_quarters_sixteen_run_at_once_and_no_more_spread_evenly(found: dict[str, Any]) -> None:
    moments = at_once(found["sixteen"]["legs"])
    fullest = max(moments, key=len)
    assert len(found["sixteen"]["legs"]) == 28
    assert len(fullest) == 16
    assert Counter((leg["node"], leg["card"]) for leg in fullest).most_common()[-1][1] == 4
    assert len(cards(fullest)) == 4


def test_halves_and_quarters_are_packed_so_that_no_card_is_overfull_and_none_is_left_half_empty(
    found: dict[str, Any],
) -> None:
    legs = found["mixed"]["legs"]
    assert {leg["gpu"] for leg in legs} == {0.25, 0.5}
    for moment in at_once(legs):
        assert all(taken <= 1 for taken in cards(moment).values())
    fullest = max((cards(moment) for moment in at_once(legs)), key=lambda taken: sum(taken.values()))
    assert len(fullest) == 4
    assert min(fullest.values()) > 0.5


@pytest.mark.parametrize("scene", ["sixteen", "mixed", "slow_to_end", "faults"])
def test_every_trial_ends_well(found: dict[str, Any], scene: str) -> None:
    states = Counter(found[scene]["states"])
    assert set(states) <= {names.COMPLETE, names.PRUNED}
    assert found[scene]["twice"] == 0


def test_a_training_that_is_slow_to_end_leaks_no_slot(found: dict[str, Any]) -> None:
    legs = found["slow_to_end"]["legs"]
    assert len(legs) == len({leg["key"] for leg in legs}) == 12
    # Each card is used again and again, by the same processes.
    assert all(count >= 2 for count in Counter((leg["node"], leg["card"]) for leg in legs).values())
    assert len({leg["pid"] for leg in legs}) < len(legs)


def test_a_machine_that_joins_late_is_used(found: dict[str, Any]) -> None:
    faults = found["faults"]
    assert any(leg["node"] == faults["late"] for leg in faults["legs"])


def test_a_killed_trial_goes_on(found: dict[str, Any]) -> None:
    faults = found["faults"]
    own = [leg for leg in faults["legs"] if leg["key"] == faults["killed"]]
    assert len(own) >= 2
    assert any(leg["end"] is None for leg in own[:-1])


def test_trials_of_a_machine_that_goes_move_to_the_other(found: dict[str, Any]) -> None:
    faults = found["faults"]
    assert faults["moved"]
    for key in faults["moved"]:
        after = [leg for leg in faults["legs"] if leg["key"] == key and leg["begin"] > faults["gone"]]
        assert after
        assert {leg["node"] for leg in after} == {faults["head"]}


def test_a_search_whose_student_runs_out_of_memory_tries_each_training_again_with_twice_the_share(
    found: dict[str, Any],
) -> None:
    hungry = found["hungry"]
    assert hungry["code"] == 0, hungry["output"]
    assert "PyTorch sees no GPU" in hungry["output"]
    # Two trials and a final: a quarter of a card first, then a half.
    assert hungry["doubled"] == 3, hungry["output"]

"""What Ray's autoscaler is told, without a cloud that could start machines."""

from typing import Any

import pytest

from tune_kd.execution import machines as nodes
from tune_kd.execution.resources import Share


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[list[dict[str, float]]]:
    told: list[list[dict[str, float]]] = []
    monkeypatch.setattr(nodes, "request_resources", lambda bundles: told.append(bundles))
    return told


def test_it_is_told_of_what_could_run_and_of_nothing_at_the_end(
    told: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 100.0
    monkeypatch.setattr(nodes.time, "monotonic", lambda: now)
    wishes = nodes.Wishes(Share(1, 0.25))
    wishes(lambda: 3)
    assert told == [[{"CPU": 1, "GPU": 0.25}] * 3]
    wishes(lambda: 2)  # too early to bother anybody
    assert len(told) == 1
    now += nodes.LOOK_SECONDS + 1
    wishes(lambda: 3)  # nothing new
    assert len(told) == 1
    now += nodes.LOOK_SECONDS + 1
    wishes(lambda: 10**6)
    assert len(told[-1]) == nodes.MOST_WISHED
    wishes.withdraw()
    assert told[-1] == []


def test_who_never_asked_withdraws_nothing(told: list[Any]) -> None:
    nodes.Wishes(Share(1, 1)).withdraw()
    assert told == []

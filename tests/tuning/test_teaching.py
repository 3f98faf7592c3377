"""When a teacher whose process goes away is given up. That it goes on from its last epoch: tests/chaos."""

import pytest

from tune_kd.errors import TuneKDError
from tune_kd.execution import teaching


@pytest.fixture
def one(monkeypatch: pytest.MonkeyPatch) -> teaching.Teaching:
    """A teacher in the making, without its processes."""
    monkeypatch.setattr(teaching.ray, "kill", lambda actor: None)
    monkeypatch.setattr(teaching.Teaching, "_start", lambda self: None)
    made = object.__new__(teaching.Teaching)
    made._told = made._deaths = made._told_at_death = 0
    made._maker = None
    return made


def test_a_teacher_that_gets_on_between_deaths_is_not_given_up(one: teaching.Teaching) -> None:
    for epochs in range(1, 10):
        one._told = epochs
        one._begin_again(RuntimeError("gone"))


def test_a_teacher_that_does_not_get_on_is_given_up(one: teaching.Teaching) -> None:
    one._told = 5
    for _ in range(teaching.MOST_DEATHS - 1):
        one._begin_again(RuntimeError("gone"))
    with pytest.raises(TuneKDError, match="RuntimeError: gone"):
        one._begin_again(RuntimeError("gone"))

"""A wish to stop is never lost, and never leaves a lock behind that others wait for."""

import logging
import signal

import pytest

from tune_kd.stopping import Stop, heard

CODE = "import signal; signal.raise_signal(signal.SIGINT)\nfor _ in range(2): steps.append(1)"


def test_it_is_heard_at_once() -> None:
    steps: list[int] = []
    with heard(Stop()), pytest.raises(KeyboardInterrupt):
        exec(compile(CODE, "elsewhere.py", "exec"), {"steps": steps})
    assert not steps


def test_in_the_middle_of_logging_it_waits_until_work_begins() -> None:
    steps: list[int] = []
    stop = Stop()
    with heard(stop):
        exec(compile(CODE, logging.__file__, "exec"), {"steps": steps})
        assert len(steps) == 2
        with pytest.raises(KeyboardInterrupt), stop.gently():
            steps.append(1)
    assert len(steps) == 2


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_one_that_was_ignored_is_heard_where_work_begins() -> None:
    class Deleted:
        def __del__(self) -> None:
            signal.raise_signal(signal.SIGINT)

    stop = Stop()
    with heard(stop):
        Deleted()
        with pytest.raises(KeyboardInterrupt), stop.gently():
            pass


def test_work_is_ended_gently_the_first_time_and_at_once_the_second() -> None:
    stop = Stop()
    with heard(stop), stop.gently():
        signal.raise_signal(signal.SIGINT)
        assert stop.asked
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGTERM)

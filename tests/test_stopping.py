"""A wish to stop is never lost."""

import signal

import pytest

from tune_kd.stopping import Stop, heard


def test_it_is_heard_at_once() -> None:
    with heard(Stop()), pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)


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
    with pytest.raises(KeyboardInterrupt):
        stop.look()

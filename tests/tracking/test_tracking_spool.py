import resource
import time
from pathlib import Path

import pytest

from tune_kd.errors import InputError, TuneKDError
from tune_kd.tracking.spool import EVENTS_FILE, Event, Spool, State, load


def read(spool: Spool) -> list[Event | None]:
    return [Event.of(line) for line, _ in spool.lines()]


def test_events_come_back_as_they_were_told(tmp_path: Path) -> None:
    events = [
        Event("a", 1.5, name="trial ä", status="RUNNING", params={"x": "1"}, tags={"t": "ü\n"}),
        Event("a", 2.5, step=3, metrics={"loss": 0.1 + 0.2}),
        Event("search", 9.0, files=["../report.html"], datasets=[["digits", "abc", "test"]]),
    ]
    spool = Spool(tmp_path)
    for event in events:
        spool.add(event)
    assert read(spool) == events
    first_end = next(offset for _, offset in spool.lines())
    assert [Event.of(line) for line, _ in spool.lines(first_end)] == events[1:]


def test_a_torn_last_line_is_cut_and_an_unreadable_one_skipped(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    spool.add(Event("a", 1.0))
    spool.close()
    with (tmp_path / EVENTS_FILE).open("ab") as stream:
        stream.write(b"\0\0\0\n" + b'{"key":"b","at":2.0,"na')
    spool = Spool(tmp_path)
    spool.add(Event("c", 3.0))
    assert read(spool) == [Event("a", 1.0), None, Event("c", 3.0)]


def test_a_full_disk_is_said_and_leaves_whole_lines_only(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    spool.add(Event("a", 1.0))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, ((tmp_path / EVENTS_FILE).stat().st_size + 10, limits[1]))
    try:
        with pytest.raises(TuneKDError, match="Make room"):
            spool.add(Event("b", 2.0, name="does not fit"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    spool.add(Event("c", 3.0))
    assert read(spool) == [Event("a", 1.0), Event("c", 3.0)]


def test_two_processes_cannot_deliver_the_same_folder(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    with pytest.raises(InputError, match="in use"):
        Spool(tmp_path)
    spool.close()
    Spool(tmp_path).close()


def test_state_is_replaced_whole_and_a_broken_one_means_tell_again(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    state = State("s1", "tests", "http://host", {"there": 17})
    spool.save(state)
    assert load(tmp_path) == state
    (tmp_path / "state.json").write_text('{"search": "s1"')
    assert load(tmp_path) is None


def test_telling_is_cheap(tmp_path: Path) -> None:
    """A report of twelve metrics; measured at 0.03 ms, with room here for a busy machine."""
    spool = Spool(tmp_path)
    values = {f"metric_{number}": number / 7 for number in range(12)}
    times = []
    for step in range(500):
        begin = time.perf_counter()
        spool.add(Event("a", 1.0, step=step, metrics=values))
        times.append(time.perf_counter() - begin)
    assert sorted(times)[250] < 0.001

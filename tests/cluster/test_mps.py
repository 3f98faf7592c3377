"""NVIDIA's server for cards that several processes share, here a script in its place that keeps what it is told."""

import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tune_kd.cluster import mps

Heard = Callable[[], list[str]]


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(mps.tempfile, "tempdir", str(tmp_path))
    monkeypatch.delenv(mps.PLACE, raising=False)
    return tmp_path


@pytest.fixture
def control(temporary: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Heard]:
    """Puts the script there, which serves a place once it was started for it; what it heard, a line each."""

    def put(quitting: str) -> Heard:
        folder = temporary / "bin"
        folder.mkdir()
        heard = folder / "heard"
        script = folder / mps.CONTROL
        script.write_text(
            f"""#!/bin/sh
place=${{{mps.PLACE}:-{folder}/usual}}
number=$place/{mps.NUMBER}
if [ "$1" = -d ]; then said=start; else read -r said; fi
echo "$said $place" >> {heard}
case $said in
start) setsid bash -c "exec -a {mps.CONTROL} sleep 600" & echo $! > "$number" ;;
quit*) {quitting} ;;
*) test -e "$number" ;;
esac
"""
        )
        script.chmod(0o755)
        monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
        return lambda: heard.read_text().splitlines()

    return put


ORDERLY = 'kill -9 "$(cat "$number")"; rm "$number"'


def test_processes_share_cards_through_a_server_that_ends_with_the_search(control: Callable[[str], Heard]) -> None:
    heard = control(ORDERLY)
    assert not mps.answers()
    with mps.served():
        place = os.environ[mps.PLACE]
        assert mps.answers()
        with mps.served():  # as in a second search
            assert os.environ[mps.PLACE] == place
    assert mps.PLACE not in os.environ
    assert not Path(place).exists()
    assert [line.split()[0] for line in heard() if not line.startswith("get")] == ["start", "quit"]
    assert f"quit -t 1 {place}" in heard()


@pytest.mark.parametrize("quitting", ["exit 1", "sleep 9"], ids=["refuses", "hangs"])
def test_one_that_does_not_end_is_killed(
    control: Callable[[str], Heard], monkeypatch: pytest.MonkeyPatch, quitting: str
) -> None:
    control(quitting)
    with mps.served():
        monkeypatch.setattr(mps, "_PATIENCE", 0.2)
        place = Path(os.environ[mps.PLACE])
        number = (place / mps.NUMBER).read_text().strip()
        assert Path("/proc", number).exists()
    assert not place.exists()
    assert not running(number)


def running(number: str) -> bool:
    """What is killed takes a moment to end, and nobody may be there to bury it."""
    stat = Path("/proc", number, "stat")
    for _ in range(100):
        if not stat.exists() or stat.read_text().split()[2] == "Z":
            return False
        time.sleep(0.02)
    return True


def test_one_that_does_not_start_is_done_without(temporary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = temporary / mps.CONTROL
    script.write_text("#!/bin/sh\nexit 1\n")
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{temporary}{os.pathsep}{os.environ['PATH']}")
    with mps.served():
        assert mps.PLACE not in os.environ
        assert not mps.answers()
    assert [each.name for each in temporary.iterdir()] == [mps.CONTROL]


def test_a_machine_without_it_has_none(temporary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(temporary))
    with mps.served():
        assert not mps.answers()
    assert not list(temporary.iterdir())


def test_what_a_killed_search_left_is_ended(control: Callable[[str], Heard], temporary: Path) -> None:
    control(ORDERLY)
    left = temporary / f"{mps._PREFIX}{gone()}-x"
    beside = temporary / f"{mps._PREFIX}{os.getpid()}-x"
    for place in (left, beside):
        place.mkdir()
        assert mps._control("-d", where={mps.PLACE: str(place)})
    numbers = [(place / mps.NUMBER).read_text().strip() for place in (left, beside)]
    with mps.served():
        assert not left.exists()
        assert [running(number) for number in numbers] == [False, True]
    mps._end(beside)
    assert not running(numbers[1])


def test_a_process_that_has_the_number_by_now_is_left_alone(control: Callable[[str], Heard], temporary: Path) -> None:
    control("exit 1")
    other = subprocess.Popen(["sleep", "600"], start_new_session=True)
    left = temporary / f"{mps._PREFIX}{gone()}-x"
    left.mkdir()
    (left / mps.NUMBER).write_text(f"{other.pid}\n")
    with mps.served():
        assert not left.exists()
        assert other.poll() is None
    other.kill()
    other.wait()


def gone() -> int:
    """The number of a process that has ended."""
    child = os.fork()
    if not child:
        os._exit(0)
    os.waitpid(child, 0)
    return child

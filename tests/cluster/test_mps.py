"""NVIDIA's server for cards that several processes share, here a script in its place that keeps what it is told."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tune_kd.cluster import mps

SERVING = 'touch "$place/serves"; while [ -e "$place/serves" ]; do sleep 0.01; done'

Heard = Callable[[], list[str]]


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(mps.tempfile, "tempdir", str(tmp_path))
    monkeypatch.delenv(mps.PLACE, raising=False)
    return tmp_path


@pytest.fixture
def control(temporary: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Heard]:
    """Puts the script there, which serves a place once it was started for it; what it heard, a line each."""

    def put(starting: str) -> Heard:
        folder = temporary / "bin"
        folder.mkdir()
        heard = folder / "heard"
        script = folder / mps.CONTROL
        script.write_text(
            f"""#!/bin/sh
place=${{{mps.PLACE}:-{folder}/usual}}
if [ "$1" = -f ]; then said=start; else read -r said; fi
echo "$said $place" >> {heard}
case $said in
start) {starting} ;;
quit*) rm "$place/serves" ;;
*) test -e "$place/serves" ;;
esac
"""
        )
        script.chmod(0o755)
        monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
        return lambda: heard.read_text().splitlines()

    return put


def test_processes_share_cards_through_a_server_that_ends_with_the_search(control: Callable[[str], Heard]) -> None:
    heard = control(SERVING)
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


def test_one_that_does_not_start_is_done_without(control: Callable[[str], Heard]) -> None:
    control("exit 1")
    with mps.served():
        assert mps.PLACE not in os.environ
        assert not mps.answers()


def test_one_that_does_not_end_is_ended(control: Callable[[str], Heard], monkeypatch: pytest.MonkeyPatch) -> None:
    control('echo $$ > "$place/../number"; touch "$place/serves"; while true; do sleep 0.05; done')
    monkeypatch.setattr(mps, "_PATIENCE", 1)
    with mps.served():
        place = Path(os.environ[mps.PLACE])
    assert not Path("/proc", (place.parent / "number").read_text().strip()).exists()


def test_a_machine_without_it_has_none(temporary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(temporary))
    with mps.served():
        assert not mps.answers()
    assert not list(temporary.iterdir())


def test_what_a_killed_search_left_is_ended(control: Callable[[str], Heard], temporary: Path) -> None:
    heard = control(SERVING)
    lives, dead = (temporary / f"{mps._PREFIX}{number}-x" for number in (os.getpid(), gone()))
    for place in (lives, dead):
        place.mkdir()
        (place / "serves").touch()
    with mps.served():
        assert not dead.exists()
        assert (lives / "serves").exists()
    assert f"quit -t 1 {dead}" in heard()
    assert f"quit -t 1 {lives}" not in heard()


def gone() -> int:
    """The number of a process that has ended."""
    child = os.fork()
    if not child:
        os._exit(0)
    os.waitpid(child, 0)
    return child

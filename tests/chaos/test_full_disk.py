"""A result folder on a disk that fills while the search runs."""

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chaos import checks
from tests.chaos.signs import Signs
from tests.chaos.world import QUICK, Search, wait_for


@pytest.fixture
def search(ray_address: str, tmp_path: Path) -> Iterator[Search]:
    """One whose results, but not what it prints, go to a disk of 32 MiB."""
    made = Search(tmp_path / "work", ray_address, f"sqlite:///{tmp_path / 'mlflow.db'}", QUICK)
    disk = made.folder.parent
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=32m", "none", disk], capture_output=True, check=False)
    if mounted.returncode != 0:
        pytest.skip("only root can make a small disk")
    yield made
    made.kill()
    subprocess.run(["umount", "-l", disk], check=True)


def fill(file: Path) -> None:
    with file.open("wb", buffering=0) as target, contextlib.suppress(OSError):
        while True:
            target.write(bytes(4096))


def test_a_disk_that_fills_ends_the_search_which_goes_on_when_there_is_room(search: Search) -> None:
    signs, filler = Signs(search), search.folder.parent / "other people's data"
    search.start()
    wait_for(lambda: signs.look() or signs.counts["reported"] >= 2, "two reports")
    fill(filler)
    assert search.wait() == 1, search.output
    assert "No space left on device" in search.output
    assert "--resume" in search.output
    assert "Traceback" not in search.output
    before = search.ledger.read_bytes()
    filler.unlink()
    search.start()
    assert search.wait() == 0, search.output
    left = checks.Left(search)
    checks.ledger_is_whole(left, [before])
    checks.rungs_follow(left, one_at_a_time=True)
    checks.nothing_unfinished(search.folder)

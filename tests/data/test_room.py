"""The room that decoded pictures take is taken at once, said, and left where there is none."""

import errno
import os
from pathlib import Path

import numpy as np
import pytest

from tune_kd.data import picture_cache
from tune_kd.data.picture_cache import PictureCache


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUNE_KD_CACHE", str(tmp_path / "cache"))


def test_the_disks_room_is_taken_before_a_pixel_is_written(tmp_path: Path) -> None:
    """A hole in a mapped file would kill whoever writes to it when the disk is full."""
    cache = PictureCache(tmp_path, 64)
    pixels = cache.room(100)
    (file,) = (tmp_path / ".tune_kd").glob("*.tmp")
    assert file.stat().st_blocks * 512 >= pixels.nbytes == 100 * 3 * 64 * 64
    cache.drop()


def test_where_a_disk_gives_none_the_next_place_is_taken_and_then_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given, full = os.posix_fallocate, [tmp_path / ".tune_kd"]

    def allocate(file: int, start: int, size: int) -> None:
        place = Path(os.readlink(f"/proc/self/fd/{file}")).parent
        if place in full:
            raise OSError(errno.ENOSPC, "No space left on device")
        given(file, start, size)

    monkeypatch.setattr(picture_cache.os, "posix_fallocate", allocate)
    cache = PictureCache(tmp_path, 8)
    assert Path(str(cache.room(5).filename)).parent == tmp_path / "cache"  # type: ignore[attr-defined]
    cache.drop()
    full.append(tmp_path / "cache")
    cache = PictureCache(tmp_path, 8)
    pixels = cache.room(5)
    assert not isinstance(pixels, np.memmap)
    assert "No space left" in (cache.keep([bytes(32)], pixels) or "")
    assert not list(tmp_path.rglob("*.tmp"))

"""The cache of a teacher's logits: exact, shared, and rebuilt when it is not what it should be."""

import os
from pathlib import Path

import numpy as np
import pytest

from tests.patience import processes
from tune_kd.data.sources import user_cache
from tune_kd.teacher.logits import CacheKey, LogitCache

SHAPE = (50, 4, 10)


@pytest.fixture(autouse=True)
def own_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUNE_KD_CACHE", str(tmp_path))


def cache(teacher: str = "t") -> LogitCache:
    found = LogitCache.open(CacheKey(teacher, "images", "views"), SHAPE)
    assert found is not None
    return found


def places(number: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(number)
    return random.permutation(50)[:20], random.integers(0, 4, 20)


def test_what_is_written_is_read_by_the_next_to_open_it() -> None:
    index, view = places(0)
    logits = np.random.default_rng(0).normal(size=(20, 10)).astype(np.float16)
    assert not cache().read(index, view)[1].any()
    cache().write(index, view, logits)
    found, known = cache().read(index, view)
    assert known.all()
    assert np.array_equal(found, logits)


def test_another_teacher_has_another_file() -> None:
    index, view = places(0)
    cache("one").write(index, view, np.ones((20, 10), np.float16))
    assert not cache("two").read(index, view)[1].any()


def test_a_truncated_file_is_made_anew() -> None:
    index, view = places(0)
    cache().write(index, view, np.ones((20, 10), np.float16))
    whole = next((user_cache() / "logits").glob("*.f16"))
    whole.write_bytes(whole.read_bytes()[:-1])
    assert not cache().read(index, view)[1].any()


def test_a_disk_without_room_means_no_cache() -> None:
    assert LogitCache.open(CacheKey("t", "i", "v"), (10**9, 162, 1000)) is None


@pytest.mark.parametrize("lost", [slice(None), slice(0, 1010), slice(3990, 3995)])
def test_marks_whose_logits_a_power_cut_took_are_worth_nothing(lost: slice) -> None:
    index, view = np.divmod(np.arange(200), 4)
    logits = value_of(index, view) + np.float16(1)
    cache().write(index, view, logits)
    file = next((user_cache() / "logits").glob("*.f16"))
    content = np.memmap(file, np.uint8, "r+")
    content[lost] = 0
    found, known = cache().read(index, view)
    assert not known.all()
    assert np.array_equal(found[known], logits[known])


def test_its_room_on_the_disk_is_taken_at_once() -> None:
    """A write to a hole of a mapped file on a full disk kills the process that writes."""
    cache()
    for file in (user_cache() / "logits").iterdir():
        assert file.stat().st_blocks * 512 >= file.stat().st_size


def fill(root: str, number: int) -> None:
    os.environ["TUNE_KD_CACHE"] = root
    index, view = places(number)
    cache().write(index, view, value_of(index, view))


def value_of(index: np.ndarray, view: np.ndarray) -> np.ndarray:
    return np.repeat((index * 4 + view)[:, None], 10, axis=1).astype(np.float16)


def test_several_processes_open_and_fill_it_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with processes().Pool(4) as pool:
        for attempt in range(10):
            root = str(tmp_path / f"{attempt}")
            pool.starmap(fill, [(root, number) for number in range(16)], chunksize=1)
            monkeypatch.setenv("TUNE_KD_CACHE", root)
            for number in range(16):
                index, view = places(number)
                found, known = cache().read(index, view)
                assert known.all()
                assert np.array_equal(found, value_of(index, view))

"""A disk that takes no more, or that a crash left with half a line."""

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tune_kd.errors import TuneKDError
from tune_kd.tuning.ledger_file import LedgerFile

LOG = {"op_code": 8, "worker_id": "w", "trial_id": 0, "user_attr": {"note": "x" * 50}}


@contextmanager
def room(size: int) -> Iterator[None]:
    """As if the disk were full behind so many bytes: the system writes what fits, then refuses."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_is_said_and_leaves_whole_lines_only(tmp_path: Path) -> None:
    path = tmp_path / "ledger.journal"
    file = LedgerFile(path)
    file.append_logs([LOG, LOG])
    before = path.read_bytes()
    with room(len(before) + 30), pytest.raises(TuneKDError, match="Make room, then go on with --resume"):
        file.append_logs([LOG])
    assert path.read_bytes() == before
    file.append_logs([LOG])
    assert list(file.read_logs(0)) == [LOG] * 3
    assert list(LedgerFile(path).read_logs(2)) == [LOG]


def test_half_a_line_is_dropped(tmp_path: Path) -> None:
    path = tmp_path / "ledger.journal"
    LedgerFile(path).append_logs([LOG])
    whole = path.read_bytes()
    path.write_bytes(whole + whole[:20])
    assert list(LedgerFile(path).read_logs(0)) == [LOG]
    assert path.read_bytes() == whole


@pytest.mark.parametrize("content", [b"hello\n", b'{"other": 1}\n', b"\x89PNG\r\n"])
def test_a_file_that_is_no_ledger_is_left_as_it_is(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "ledger.journal"
    path.write_bytes(content)
    with pytest.raises(TuneKDError, match="not a ledger of tune_kd"):
        LedgerFile(path)
    assert path.read_bytes() == content


def test_a_damaged_line_is_named(tmp_path: Path) -> None:
    path = tmp_path / "ledger.journal"
    LedgerFile(path).append_logs([LOG, LOG])
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0] + lines[1][:10] + b"\n")
    with pytest.raises(TuneKDError, match="line 2 of the ledger is damaged"):
        list(LedgerFile(path).read_logs(0))

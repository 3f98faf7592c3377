"""A result folder belongs to one search at a time."""

import os
import signal
from multiprocessing.synchronize import Event
from pathlib import Path

import pytest

from tests.patience import PATIENCE, processes
from tune_kd import names
from tune_kd.errors import InputError
from tune_kd.storage.folder import held


def hold(folder: Path, ready: Event) -> None:
    with held(folder, resume=False):
        ready.set()
        signal.pause()


def test_a_second_search_is_refused_until_the_first_is_gone_even_if_it_was_killed(tmp_path: Path) -> None:
    context = processes()
    ready = context.Event()
    other = context.Process(target=hold, args=(tmp_path, ready))
    other.start()
    assert ready.wait(PATIENCE)
    with pytest.raises(InputError, match="another search is running"), held(tmp_path, resume=False):
        pass
    assert other.pid is not None
    os.kill(other.pid, signal.SIGKILL)
    other.join()
    with held(tmp_path, resume=False):
        pass


def test_what_is_there_is_never_overwritten(tmp_path: Path) -> None:
    (tmp_path / names.LEDGER_FILE).touch()
    with pytest.raises(InputError, match=r"--resume.*another --name"), held(tmp_path, resume=False):
        pass
    with held(tmp_path, resume=True):
        pass


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "holiday.jpg").touch()
    with pytest.raises(InputError, match="not empty and holds no search"), held(tmp_path, resume=False):
        pass


def test_resume_needs_a_search(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no search in"), held(tmp_path / "nothing", resume=True):
        pass
    assert not (tmp_path / "nothing").exists()


def test_a_search_that_failed_before_it_began_can_be_begun_again(tmp_path: Path) -> None:
    (tmp_path / names.STUDY_FILE).touch()
    with held(tmp_path, resume=False):
        pass


def test_a_place_that_cannot_be_written_to_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot be written to"), held(tmp_path / "file" / "runs", resume=False):
        pass

"""The log says what was given up and why, once per cause, also what workers have to say."""

import logging
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from tests.test_options import parse
from tune_kd import log, names
from tune_kd.errors import StorageError
from tune_kd.storage import mirror
from tune_kd.storage.mirror import Mirror
from tune_kd.storage.stores import Storage
from tune_kd.teacher.guide import Guide


def lines(folder: Path) -> list[str]:
    path = folder / names.LOG_FILE
    return path.read_text().splitlines() if path.exists() else []


def test_each_cause_stands_there_once(tmp_path: Path) -> None:
    with log.recorded(tmp_path):
        for place in ("a", "b", "a", "a"):
            logging.getLogger("tune_kd.somewhere").warning("given up: %s", place)
        logging.getLogger("tune_kd.somewhere").info("a detail")
    assert [line.rpartition(": ")[2] for line in lines(tmp_path)] == ["a", "b"]
    logging.getLogger("tune_kd.somewhere").warning("after the end")
    assert len(lines(tmp_path)) == 2


def test_a_search_of_which_nothing_was_given_up_has_no_log(tmp_path: Path) -> None:
    with log.recorded(tmp_path):
        pass
    assert lines(tmp_path) == []


def test_verbosely_details_stand_there_and_on_the_screen(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert parse(["-v"]).verbose
    with log.recorded(tmp_path, verbose=True):
        logging.getLogger("tune_kd.somewhere").debug("a detail")
    assert len(lines(tmp_path)) == 1
    assert "a detail" in capsys.readouterr().err


def test_what_a_worker_has_to_say_arrives_once(tmp_path: Path) -> None:
    log.keep()
    for _ in range(3):
        logging.getLogger("tune_kd.teacher").warning("no neighbours")
    said = log.taken()
    assert log.taken() == ""
    with log.recorded(tmp_path):
        log.told(said)
        log.told(said)
    assert len(lines(tmp_path)) == 1
    assert "tune_kd.teacher: no neighbours" in lines(tmp_path)[0]


class Broken:
    """Neighbours of whom nothing comes."""

    def ask(self, cache: str) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        raise ConnectionError("the network is gone")

    def offer(self, cache: str, block: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None: ...


def test_an_exchange_of_logits_that_fails_is_no_secret(tmp_path: Path) -> None:
    with log.recorded(tmp_path):
        Guide._take(object.__new__(Guide), Broken(), SimpleNamespace(name="cache"))  # type: ignore[arg-type]
    assert "ConnectionError: the network is gone" in lines(tmp_path)[0]


def test_a_ledger_that_cannot_be_copied_is_no_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / names.LEDGER_FILE).write_text("line\n")
    copying = Mirror(Storage.at(str(tmp_path / "there")), tmp_path)

    def fail(self: Mirror) -> None:
        self._stop.set()
        raise StorageError("no room")

    monkeypatch.setattr(Mirror, "_copy", fail)
    monkeypatch.setattr(mirror, "FIRST_SECONDS", 0.0)
    with log.recorded(tmp_path):
        copying._run()
    assert "no room" in lines(tmp_path)[0]

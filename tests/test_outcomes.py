"""Why a search ends early: three causes, three outcomes, and MLflow is told KILLED only where it is true."""

import json
import signal
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

import tune_kd
from tests.test_api import STUDY
from tune_kd import names
from tune_kd.errors import TakenOver, TeacherFailed
from tune_kd.storage import mirror
from tune_kd.storage.stores import Storage
from tune_kd.tracking import PARENT

LONG = {"budget.epochs": 400, "budget.first_rung": 100, "train.epoch_images": 32}


class AtSecondReport:
    """Does something once, when the search is well under way; after that epochs come slowly."""

    def __init__(self, do: Callable[[], object]) -> None:
        self._do = do
        self._reports = 0

    def reported(self, entry: Any, metrics: Mapping[str, float]) -> None:
        self._reports += 1
        if self._reports == 2:
            self._do()
        elif self._reports > 2:
            time.sleep(0.05)


def search(where: Path, **more: Any) -> tune_kd.Result:
    store = f"sqlite:///{where / 'mlflow.db'}"
    return tune_kd.search(STUDY, out=where / "it", quiet=True, tracking_uri=store, name="it", **more)


def told(where: Path) -> list[str]:
    """What MLflow is told of the search's own run, in order."""
    events = map(json.loads, (where / "it" / "mlflow" / "events.jsonl").read_text().splitlines())
    return [event["status"] for event in events if event["key"] == PARENT and "status" in event]


def test_ctrl_c_is_a_keyboard_interrupt_that_says_how_to_go_on(ray_address: str, tmp_path: Path) -> None:
    presses = AtSecondReport(lambda: signal.raise_signal(signal.SIGINT))
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt, match="--resume"):
        search(tmp_path, settings=LONG, callbacks=[presses])
    assert told(tmp_path) == ["RUNNING", "KILLED"]
    assert signal.getsignal(signal.SIGINT) is before
    assert not (tmp_path / "it" / names.VERDICT_FILE).exists()


def test_taken_over_by_another_machine_it_lets_go_and_closes_nothing(
    ray_address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mirror, "FIRST_SECONDS", 0.05)
    monkeypatch.setattr(mirror, "SECONDS", 0.05)
    shared = str(tmp_path / "shared")
    takes = AtSecondReport(lambda: Storage.at(shared, "it").marked())
    with pytest.raises(TakenOver, match="go on there"):
        search(tmp_path, settings=LONG, callbacks=[takes], storage=shared)
    assert told(tmp_path) == ["RUNNING"]


def test_without_a_teacher_the_search_has_failed(ray_address: str, tmp_path: Path) -> None:
    with pytest.raises(TeacherFailed, match="refuses to learn"):
        search(tmp_path, settings=LONG | {"teacher.model": "tests.failing:teacher"})
    assert told(tmp_path) == ["RUNNING", "FAILED"]


def test_a_callback_that_fails_ends_the_search_with_its_own_error(ray_address: str, tmp_path: Path) -> None:
    def fail() -> None:
        raise ZeroDivisionError("in a callback")

    with pytest.raises(ZeroDivisionError):
        search(tmp_path, settings=LONG, callbacks=[AtSecondReport(fail)])
    assert told(tmp_path) == ["RUNNING", "FAILED"]

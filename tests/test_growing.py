"""The report while a search runs: there with the first report, right, rarely written, and never in the way."""

import threading
import time
import urllib.error
import urllib.request
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tune_kd import growing, names, plan
from tune_kd.errors import InputError
from tune_kd.growing import Growing
from tune_kd.space.load import load
from tune_kd.summary import serving

STUDY = load("quickstart", ["budget.trials=4", "conditions.data.size=[100]"])
PLAN = plan.make(STUDY)
EMPTY: Any = SimpleNamespace(entries=lambda arm: iter(()), all_finals=lambda: iter(()))


def entry(number: int, arm: int = 0, final: bool = False, alpha: float = 0.25) -> Any:
    return SimpleNamespace(id=number, arm=PLAN.arms[arm], final=final, config={"kd.alpha": alpha, "train.lr": 0.1})


def wait_for(condition: Any) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.01)


def report(here: Growing, number: int, epoch: int, value: float, **more: Any) -> None:
    here.reported(entry(number, **more), {names.EPOCH: epoch, names.VAL_ACCURACY: value})


def begun(file: Path, ledger: Any = EMPTY) -> Growing:
    return Growing(PLAN, ledger, file, "first", lambda: "3 of 16 trials begun")


def test_it_is_there_with_the_first_report_and_grows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(growing, "SECONDS", 0.05)
    file = tmp_path / names.REPORT_FILE
    with begun(file) as here:
        here.started(entry(1))
        assert not file.exists()
        report(here, 1, 1, 0.5)
        wait_for(file.exists)
        first = file.read_text()
        assert "50.0" in first
        assert "kd.alpha 0.25" in first
        assert 'data-renew="30"' in first
        assert "no verdict before its finals" in first
        report(here, 2, 1, 0.75, alpha=0.5)
        wait_for(lambda: "75.0" in file.read_text())
        assert "kd.alpha 0.5" in file.read_text()
        assert "3 of 16 trials begun" in file.read_text()
    last = file.read_text()
    assert "has stopped before its verdict" in last
    assert 'data-renew="30"' not in last


def test_an_epoch_that_is_done_again_is_drawn_once(tmp_path: Path) -> None:
    here = begun(tmp_path / "r.html")
    for epoch, value in ((1, 0.1), (2, 0.2), (3, 0.3), (2, 0.25)):
        report(here, 1, epoch, value)
    assert here._arms()[0].curves == [[0.1, 0.25]]


def test_a_search_that_goes_on_shows_what_was_before(tmp_path: Path) -> None:
    before = SimpleNamespace(intermediate_values={2: 0.4, 1: 0.3}, state=SimpleNamespace(is_finished=lambda: True))
    ledger = SimpleNamespace(
        entries=lambda arm: iter([(entry(7), before)] if arm.number == 0 else ()),
        all_finals=lambda: iter([(entry(9, final=True), before)]),
    )
    arm = begun(tmp_path / "r.html", ledger)._arms()[0]
    assert (arm.asked, arm.best, arm.finals, arm.curves) == (1, 0.4, 1, [[0.3, 0.4]])


def test_it_is_written_rarely_and_holds_up_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written, gate = [], threading.Event()

    def slow(file: Path, content: bytes) -> None:
        written.append(file)
        gate.wait(60)

    monkeypatch.setattr(growing, "replace", slow)
    with begun(tmp_path / "r.html") as here:
        report(here, 1, 1, 0.1)
        wait_for(lambda: written)
        for epoch in range(2, 2000):  # reports go on while a page is being written
            report(here, 1, epoch, 0.1)
        assert len(written) == 1
        gate.set()
    assert len(written) <= 2


def test_a_page_that_cannot_be_kept_ends_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with begun(tmp_path / "no" / "folder" / "r.html") as here:
        report(here, 1, 1, 0.1)
        wait_for(lambda: caplog.records)
    assert "could not be written" in caplog.text


def test_served_on_loopback_and_nothing_else_of_the_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"there is no report\.html"):
        serving.server(tmp_path, 0)
    (tmp_path / names.REPORT_FILE).write_text("<p>hello")
    (tmp_path / names.LEDGER_FILE).write_text("secret")
    with serving.server(tmp_path, 0) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        here = f"http://127.0.0.1:{server.server_address[1]}"
        for place in ("/", f"/{names.REPORT_FILE}"):
            with urllib.request.urlopen(here + place, timeout=30) as answer:
                assert (answer.read(), answer.headers["Cache-Control"]) == (b"<p>hello", "no-store")
        for place in (f"/{names.LEDGER_FILE}", "/../report.html", "/x"):
            with pytest.raises(urllib.error.HTTPError):
                urllib.request.urlopen(here + place, timeout=30)
        with pytest.raises(InputError, match="another port"):
            serving.server(tmp_path, server.server_address[1])
        server.shutdown()

"""Servers that are down, drivers that are killed: in the end the store holds every point once."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.tracking.stores import ROOT, ReadRuns, Server, Start, finish, points, run_python, wait_for
from tune_kd.tracking.__main__ import main

EPOCHS = 6
TRIALS = 15
DRIVER = f"""
import sys, time
from pathlib import Path
from tune_kd.tracking import SearchInfo, Tracker
search = SearchInfo("s1", "a search")
tracker = Tracker.start(uri=sys.argv[1], experiment="tests", search=search, spool=Path(sys.argv[2]))
for trial in range({TRIALS}):
    key = f"t{{trial}}"
    tracker.trial_started(key, name=key, params={{"lr": 0.1}}, tags={{}})
    for epoch in range(1, {EPOCHS} + 1):
        tracker.metrics(key, {{"val_accuracy": epoch / 10}}, epoch, time.time())
    tracker.trial_ended(key, state="COMPLETE", stop_reason="", ended=time.time(), metrics={{}})
    time.sleep(float(sys.argv[3]))
outcome = tracker.finish(status="FINISHED", metrics={{}}, tags={{}}, artifacts=[], seconds=60)
assert (outcome.waiting, outcome.refused) == (0, 0), outcome
"""
GONE = (
    "Connection refused",
    "Remote end closed connection without response",
    "Connection reset by peer",
    "Connection broken",
)
EXPECTED = {(f"t{trial}", "val_accuracy", epoch) for trial in range(TRIALS) for epoch in range(1, EPOCHS + 1)}


def test_a_killed_driver_loses_nothing_and_doubles_nothing(tmp_path: Path, uri: str, read_runs: ReadRuns) -> None:
    """Killed while it delivers; the next process tells everything from the start, as from a ledger, at other times."""
    spool = tmp_path / "out" / "mlflow"
    command = [sys.executable, "-c", DRIVER, uri, str(spool), "0.15"]
    driver = subprocess.Popen(command, env={**os.environ, "PYTHONPATH": str(ROOT)}, stdout=subprocess.DEVNULL)
    wait_for(lambda: len(points(tmp_path / "mlflow.db")) > 10)
    driver.send_signal(signal.SIGKILL)
    driver.wait()
    assert len(points(tmp_path / "mlflow.db")) < len(EXPECTED)
    done = run_python(DRIVER, tmp_path, uri, str(spool), "0")
    assert (done.returncode, done.stderr) == (0, "")
    counts = points(tmp_path / "mlflow.db")
    assert counts.keys() == EXPECTED
    assert set(counts.values()) == {1}
    assert {run.info.status for run in read_runs().values()} == {"FINISHED"}


def test_a_server_down_at_the_start_and_in_the_middle(
    tmp_path: Path, uri: str, start: Start, read_runs: ReadRuns, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    server = Server(tmp_path)
    tracker = start(uri=server.address, say=said.append)

    def train(key: str) -> None:
        tracker.trial_started(key, name=key, params={"lr": 0.1}, tags={})
        for epoch in range(1, EPOCHS + 1):
            tracker.metrics(key, {"val_accuracy": epoch / 10}, epoch, time.time())
        tracker.trial_ended(key, state="COMPLETE", stop_reason="", ended=time.time(), metrics={})

    train("t0")
    wait_for(lambda: tracker.problem)
    server.start()
    try:
        wait_for(lambda: not tracker.problem)
        train("t1")
        wait_for(lambda: len(points(tmp_path / "mlflow.db")) == 2 * EPOCHS)
        server.kill()
        train("t2")
        wait_for(lambda: tracker.problem)
        outcome = finish(tracker, seconds=0.5)
        assert outcome.waiting >= EPOCHS
        assert outcome.reason.startswith(GONE)
    finally:
        server.kill()
    # Delivered past the server, which is another address for the same store: it is told all of it a second time.
    monkeypatch.setattr(sys, "argv", ["deliver", outcome.command.split()[-1], "--tracking-uri", uri])
    assert main() == 0
    counts = points(tmp_path / "mlflow.db")
    assert counts.keys() == {
        (f"t{trial}", "val_accuracy", epoch) for trial in range(3) for epoch in range(1, EPOCHS + 1)
    }
    assert set(counts.values()) == {1}
    assert {run.info.status for run in read_runs().values()} == {"FINISHED"}
    assert [text.partition(" points")[0] for text in said] == [
        f"The tracking store http://***@127.0.0.1:{server.port} does not take our",
        f"The tracking store http://***@127.0.0.1:{server.port} answers again; all",
        f"The tracking store http://***@127.0.0.1:{server.port} does not take our",
    ]
    written = [path.read_text() for path in (tmp_path / "out" / "mlflow").glob("*.json*")]
    assert "hush" not in "".join([*said, *written])


def test_delivering_later_says_what_is_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], start: Start
) -> None:
    monkeypatch.setattr(sys, "argv", ["deliver", str(tmp_path)])
    assert main() == 2
    assert "holds nothing for MLflow" in capsys.readouterr().err
    finish(start(uri="http://127.0.0.1:9"), seconds=0)
    monkeypatch.setattr(sys, "argv", ["deliver", str(tmp_path / "out"), "--seconds", "1"])
    assert main() == 1
    assert "2 records still wait: Connection refused" in capsys.readouterr().err

"""What the store holds after a search, on real SQLite stores."""

import json
import math
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.entities import Metric, Param, RunTag

from tests.tracking.stores import FirstSearch, ReadRuns, Start, finish, points
from tune_kd.errors import InputError
from tune_kd.tracking import PARENT, SearchInfo, Tracker
from tune_kd.tracking.runs import MAX_BYTES, batches


def test_a_first_search_makes_the_store_whole_and_says_nothing(first_search: FirstSearch) -> None:
    assert first_search.printed == ""
    assert sorted(path.name for path in first_search.folder.iterdir()) == ["mlflow.db", "out"]


def test_parent_and_children_are_as_mlflow_users_expect(
    tmp_path: Path, uri: str, start: Start, read_runs: ReadRuns
) -> None:
    (tmp_path / "report.html").write_text("the answer")
    (tmp_path / "figures").mkdir()
    (tmp_path / "figures" / "gain.png").write_bytes(b"png")
    search = SearchInfo(
        id="s1",
        name="digits, quick",
        params={"budget.epochs": 27, "teacher": "x" * 900},
        tags={"mode": "search"},
        note="Does it help? See http://me:hush@host/",
        dataset="digits",
        digests={"teacher": "aa11", "test": "bb22"},
        commit="deadbeef",
    )
    tracker = start(search=search)
    tracker.trial_started("t1", name="distilled 1", params={"kd.alpha": 0.5}, tags={"tune_kd.arm": "distilled"})
    tracker.metrics("t1", {"val_accuracy": 0.5, "best_val_accuracy": 0.5}, 1, 1000.0)
    tracker.metrics("t1", {"val_accuracy": 0.25, "best_val_accuracy": 0.5}, 2, 1001.5)
    tracker.trial_ended("t1", state="COMPLETE", stop_reason="", ended=1002.0, metrics={"seconds": 2.0})
    outcome = finish(
        tracker,
        metrics={"gain": 0.1},
        tags={"word": "helps"},
        artifacts=[tmp_path / "report.html", tmp_path / "figures"],
    )
    assert (outcome.waiting, outcome.refused, outcome.command) == (0, 0, "")

    runs = read_runs()
    parent, child = runs[PARENT], runs["t1"]
    assert {tracker.parent_run_id, tracker.run_ids["t1"]} == {parent.info.run_id, child.info.run_id}
    assert (parent.info.status, parent.info.run_name) == ("FINISHED", "digits, quick")
    assert parent.data.metrics == {"gain": 0.1}
    assert parent.data.params["budget.epochs"] == "27"
    assert parent.data.params["teacher"] == "x" * 499 + "…"
    tags = parent.data.tags
    assert tags["mlflow.note.content"] == "Does it help? See http://***@host/"
    assert (tags["mlflow.source.git.commit"], tags["mode"], tags["word"]) == ("deadbeef", "search", "helps")
    inputs = [(i.dataset.name, i.dataset.digest, i.tags[0].value) for i in parent.inputs.dataset_inputs]
    assert sorted(inputs) == [("digits", "aa11", "teacher"), ("digits", "bb22", "test")]
    files = tmp_path / "mlartifacts" / "tests" / parent.info.run_id / "artifacts"
    assert (files / "report.html").read_text() == "the answer"
    assert (files / "figures" / "gain.png").is_file()
    assert (files / "params" / "teacher.txt").read_text() == "x" * 900

    assert (child.info.status, child.info.run_name, child.info.end_time) == ("FINISHED", "distilled 1", 1002000)
    assert child.data.params == {"kd.alpha": "0.5"}
    assert child.data.metrics == {"val_accuracy": 0.25, "best_val_accuracy": 0.5, "seconds": 2.0}
    assert child.data.tags["mlflow.parentRunId"] == parent.info.run_id
    assert (child.data.tags["tune_kd.search"], child.data.tags["tune_kd.arm"]) == ("s1", "distilled")
    history = MlflowClient(uri).get_metric_history(child.info.run_id, "val_accuracy")
    assert [(m.step, m.value, m.timestamp) for m in history] == [(1, 0.5, 1000000), (2, 0.25, 1001500)]


def test_statuses_are_honest(start: Start, read_runs: ReadRuns) -> None:
    tracker = start()
    for key in ("pruned", "failed", "going"):
        tracker.trial_started(key, name=key, params={}, tags={})
    tracker.metrics("failed", {"val_accuracy": 0.5, "train_loss": math.nan}, 3, 1000.0)
    tracker.trial_ended("pruned", state="PRUNED", stop_reason="rung 3", ended=1001.0, metrics={})
    tracker.trial_ended("failed", state="FAIL", stop_reason="loss is nan", ended=1002.0, metrics={})
    finish(tracker, "KILLED")
    runs = read_runs()
    assert {key: run.info.status for key, run in runs.items()} == {
        PARENT: "KILLED",
        "pruned": "FINISHED",
        "failed": "FAILED",
        "going": "KILLED",
    }
    assert runs["pruned"].data.tags["stop_reason"] == "rung 3"
    assert runs["pruned"].data.tags["tune_kd.state"] == "PRUNED"
    assert runs["failed"].data.tags["stop_reason"] == "loss is nan"
    assert runs["failed"].data.tags["diverged"] == "train_loss is nan at step 3"
    assert runs["failed"].data.metrics == {"val_accuracy": 0.5}


def test_a_resumed_search_goes_on_in_the_same_runs(tmp_path: Path, start: Start, read_runs: ReadRuns) -> None:
    tracker = start()
    for key in ("done", "going"):
        tracker.trial_started(key, name=key, params={"lr": 0.1}, tags={})
        tracker.metrics(key, {"val_accuracy": 0.5}, 1, 1000.0)
    tracker.trial_ended("done", state="COMPLETE", stop_reason="", ended=1001.0, metrics={})
    finish(tracker, "KILLED", metrics={"gain": 0.1})
    before = read_runs()

    announced: dict[str, str] = {}
    tracker = start(on_run_id=announced.__setitem__, search=SearchInfo("s1", "a search", {"epochs": 9}))
    for key in ("done", "going"):  # All that the ledger knows, told again; epoch 1 was trained and timed twice.
        tracker.trial_started(key, name=key, params={"lr": 0.1}, tags={})
        tracker.metrics(key, {"val_accuracy": 0.5}, 1, 2000.0)
    tracker.metrics("going", {"val_accuracy": 0.75}, 2, 2001.0)
    for key in ("done", "going"):
        tracker.trial_ended(key, state="COMPLETE", stop_reason="", ended=2002.0, metrics={})
    outcome = finish(tracker, metrics={"gain": 0.2})

    after = read_runs()
    assert outcome.refused == 0
    assert {key: run.info.run_id for key, run in after.items()} == announced
    assert announced == {key: run.info.run_id for key, run in before.items()}
    assert {run.info.status for run in after.values()} == {"FINISHED"}
    assert after["done"].info.end_time == 1001000
    assert after[PARENT].data.params["epochs"] == "3"
    assert after[PARENT].data.tags["tune_kd.changed.epochs"] == "9"
    assert after[PARENT].data.metrics == {"gain": 0.2}
    counts = points(tmp_path / "mlflow.db")
    assert set(counts.values()) == {1}
    assert counts.keys() == {
        ("done", "val_accuracy", 1),
        ("going", "val_accuracy", 1),
        ("going", "val_accuracy", 2),
        (PARENT, "gain", 0),
        (PARENT, "gain", 1),
    }


def test_a_training_that_had_ended_goes_on_in_its_run(tmp_path: Path, start: Start, read_runs: ReadRuns) -> None:
    """Its points stay once each, even if the search that opened it again is killed."""

    def tell(tracker: Tracker, steps: int) -> None:
        tracker.trial_started("t1", name="distilled 1", params={}, tags={})
        for step in range(1, steps + 1):
            tracker.metrics("t1", {"val_accuracy": step / 10}, step, 1000.0 + step)

    def end(tracker: Tracker) -> None:
        tracker.trial_ended("t1", state="COMPLETE", stop_reason="", ended=1010.0, metrics={})

    first = start()
    tell(first, 2)
    end(first)
    finish(first)
    for steps, ends in ((3, False), (4, True), (4, True)):
        again = start()
        again.reopen(["t1"])
        tell(again, steps)
        if ends:
            end(again)
        finish(again)
        assert read_runs()["t1"].info.status == ("FINISHED" if ends else "KILLED")
        assert points(tmp_path / "mlflow.db") == {("t1", "val_accuracy", step): 1 for step in range(1, steps + 1)}


def test_another_or_an_emptied_store_is_told_the_whole_search(
    tmp_path: Path, uri: str, first_search: FirstSearch, start: Start, read_runs: ReadRuns
) -> None:
    tracker = start()
    tracker.trial_started("t1", name="t1", params={}, tags={})
    tracker.metrics("t1", {"val_accuracy": 0.5}, 1, 1000.0)
    tracker.trial_ended("t1", state="COMPLETE", stop_reason="", ended=1001.0, metrics={})
    finish(tracker)
    other = tmp_path / "other.db"
    other.write_bytes((first_search.folder / "mlflow.db").read_bytes())
    finish(start(uri=f"sqlite:///{other}"))
    assert read_runs(f"sqlite:///{other}")["t1"].info.status == "FINISHED"
    assert points(other) == points(tmp_path / "mlflow.db")


def test_one_bad_item_does_not_take_others_along(start: Start, read_runs: ReadRuns) -> None:
    tracker = start()
    tracker.trial_started("t1", name="t1", params={"lr": 0.1, "not; a name": 1}, tags={})
    tracker.metrics("t1", {"val_accuracy": 0.5, "not; a metric": 0.5, "val_loss": 1.5}, 1, 1000.0)
    outcome = finish(tracker, artifacts=[Path("no such file")])
    run = read_runs()["t1"]
    assert run.data.metrics == {"val_accuracy": 0.5, "val_loss": 1.5}
    assert run.data.params == {"lr": "0.1"}
    assert (outcome.waiting, outcome.refused) == (0, 3)
    assert outcome.reason == f"{Path('no such file').absolute()} is not there any more"


def test_a_run_made_by_a_call_we_gave_up_on_is_removed(uri: str, start: Start, read_runs: ReadRuns) -> None:
    tracker = start()
    tracker.trial_started("t1", name="t1", params={}, tags={})
    tracker.metrics("t1", {"val_accuracy": 0.5}, 1, 1000.0)
    finish(tracker, "KILLED")
    client = MlflowClient(uri)
    right = read_runs()["t1"]
    late = client.create_run(right.info.experiment_id, tags={"tune_kd.search": "s1", "tune_kd.key": "t1"})
    finish(start(), "KILLED")
    assert read_runs()["t1"].info.run_id == right.info.run_id
    assert client.get_run(late.info.run_id).info.lifecycle_stage == "deleted"


def test_a_folder_of_another_search_is_refused(start: Start) -> None:
    finish(start())
    with pytest.raises(InputError, match="of the search 's1', not of 's2'"):
        start(search=SearchInfo("s2", "another"))


def test_a_deleted_experiment_is_named(uri: str, start: Start) -> None:
    finish(start())
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name("tests")
    assert experiment is not None
    client.delete_experiment(experiment.experiment_id)
    outcome = finish(start(), seconds=2)
    assert outcome.waiting == 2
    assert "'tests' was deleted" in outcome.reason
    assert "mlflow experiments restore" in outcome.reason


def test_batches_keep_to_mlflows_limits_and_to_the_order() -> None:
    items = [
        *(Param(f"p{number}", "v") for number in range(250)),
        *(RunTag(f"t{number}", "ä" * 5000) for number in range(150)),
        *(Metric(f"m{number % 7}", 0.5, 1, number) for number in range(2500)),
    ]
    cut = list(batches(items))
    assert [item for batch in cut for item in batch] == items
    for batch in cut:
        assert len(batch) <= 1000
        assert sum(isinstance(item, Param) for item in batch) <= 100
        assert sum(isinstance(item, RunTag) for item in batch) <= 100
        assert len(json.dumps([[item.key, item.value] for item in batch])) <= MAX_BYTES < 1_000_000
    assert len(cut) < 12

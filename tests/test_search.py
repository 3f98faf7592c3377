"""Whole searches with the command itself: a real Ray, a real ledger, a real MLflow store."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd
import pytest

from tests.patience import PATIENCE
from tune_kd import names

STUDY = """
study: tiny
question: Does it work?
seed: 1
data: {dataset: digits, drawn: 200, evaluate_on: [scanned], teacher_on: [scanned]}
teacher: {model: digits_student, epochs: 3, train: {lr: 0.01, batch_size: 64}}
student: {model: digits_student_tiny}
train: {batch_size: 32, epoch_images: 200}
conditions: {data.source: [drawn, scanned]}
search:
  kd.alpha: {uniform: [0.1, 1.0]}
  train.lr: {loguniform: [0.001, 0.05]}
first: [{kd.alpha: 0.9, train.lr: 0.01}]
budget: {trials: 3, epochs: 4, first_rung: 1, complete: 1, repeats: 2}
# What `auto` decides depends on what else the machine does meanwhile.
precision: fp32
# One at a time on the two processors of the tests' Ray, so that everything must be the same twice.
resources: {cpu: 2}
"""


@dataclass(frozen=True)
class Ran:
    folder: Path
    code: int
    output: str
    depots: int = 0

    @property
    def trials(self) -> pd.DataFrame:
        return pd.read_parquet(self.folder / names.TRIALS_FILE)

    @property
    def finals(self) -> pd.DataFrame:
        return pd.read_parquet(self.folder / names.FINALS_FILE)

    @property
    def verdict(self) -> dict:
        return json.loads((self.folder / names.VERDICT_FILE).read_text())


def command(address: str, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "tune_kd.search", *arguments, "--address", address]


def search(where: Path, address: str, *arguments: str) -> Ran:
    (where / "tiny.yaml").write_text(STUDY)
    done = subprocess.run(
        command(address, *arguments),
        cwd=where,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        stdin=subprocess.DEVNULL,
    )
    folders = sorted((where / "runs").glob("*"))
    return Ran(folders[-1] if folders else where, done.returncode, done.stdout + done.stderr)


@pytest.fixture(scope="module")
def ran(ray_address: str, tmp_path_factory: pytest.TempPathFactory) -> Ran:
    before = depots()
    found = search(tmp_path_factory.mktemp("first"), ray_address, "tiny.yaml")
    return replace(found, depots=depots() - before)


def depots() -> int:
    """How many depots for logits there have been so far."""
    from ray._private.state import actors

    return sum(actor["ActorClassName"] == "Depot" for actor in actors().values())


def test_it_ends_well_and_says_where_everything_is(ran: Ran) -> None:
    assert ran.code == 0, ran.output
    for word in ("teacher", "scratch", "distilled", "gain", names.REPORT_FILE, "mlflow ui", "python -m tune_kd.search"):
        assert word in ran.output
    assert "Traceback" not in ran.output
    assert ran.folder.name.startswith("tiny-")


def test_on_a_cluster_it_has_a_depot_for_logits(ran: Ran) -> None:
    assert ran.depots == 1


def test_the_folder_holds_what_it_should(ran: Ran) -> None:
    held = {path.name for path in ran.folder.iterdir()}
    assert held >= {
        names.STUDY_FILE,
        names.LEDGER_FILE,
        names.TRIALS_FILE,
        names.FINALS_FILE,
        names.VERDICT_FILE,
        names.EXAMPLES_FILE,
        names.REPORT_FILE,
        names.MODEL_DIR,
        names.CHECKPOINT_DIR,
    }


def test_the_tables_hold_every_trial_and_final(ran: Ran) -> None:
    trials, finals = ran.trials, ran.finals
    assert sorted(trials["number"]) == list(range(12))
    assert set(trials["state"]) <= {names.COMPLETE, names.PRUNED}
    assert (trials["epochs"] == trials["curve"].map(len)).all()
    assert trials["value"].equals(trials["curve"].map(max).rename("value"))
    assert (trials.loc[trials["state"] == names.PRUNED, names.STOP_REASON] != "").all()
    assert (trials["mlflow_run_id"] != "").all()
    assert trials["mlflow_run_id"].is_unique
    assert set(trials["cell.data.source"]) == {"drawn", "scanned"}
    pairs = finals.groupby("cell.data.source")["seed"].apply(list)
    assert all(len(seeds) == 4 and len(set(seeds)) == 2 for seeds in pairs)
    assert finals[names.TEST_ACCURACY].between(0, 1).all()


def test_the_verdict_is_computed_from_the_finals(ran: Ran) -> None:
    for cell in ran.verdict["cells"]:
        rows = ran.finals[ran.finals["cell.data.source"] == cell["cell"]["data.source"]]
        for arm in (names.DISTILLED, names.SCRATCH):
            mean = rows.loc[rows["arm"] == arm, names.TEST_ACCURACY].mean()
            assert cell[arm]["mean"] == pytest.approx(mean)
        assert cell["gain"]["mean"] == pytest.approx(cell[names.DISTILLED]["mean"] - cell[names.SCRATCH]["mean"])
    assert ran.verdict["teacher"][names.TEST_ACCURACY] > 0.8


def test_phases_add_up_to_no_more_than_the_clock(ran: Ran) -> None:
    """The teacher is made while the search runs, and its time is not counted twice."""
    facts = ran.verdict["facts"]
    assert list(facts["phases"]) == ["start", "teacher", "search"]
    assert min(facts["phases"].values()) > 0
    assert sum(facts["phases"].values()) <= facts["seconds"] + 0.5


def test_mlflow_has_a_parent_and_a_child_for_each_training(ran: Ran) -> None:
    check_mlflow(ran)


def check_mlflow(ran: Ran) -> None:
    """Every reported value is there exactly once, in one run a training, under one parent."""
    import mlflow

    client = mlflow.MlflowClient(f"sqlite:///{ran.folder.parent.parent / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("tune_kd")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id], max_results=100)
    parents = [run for run in runs if "mlflow.parentRunId" not in run.data.tags]
    children = {run.info.run_id: run for run in runs if "mlflow.parentRunId" in run.data.tags}
    assert len(parents) == 1
    assert set(children) == {*ran.trials["mlflow_run_id"], *ran.finals["mlflow_run_id"]}
    assert {run.info.status for run in runs} == {"FINISHED"}
    for row in ran.trials.itertuples():
        points = client.get_metric_history(row.mlflow_run_id, names.VAL_ACCURACY)
        assert [point.value for point in sorted(points, key=lambda p: p.step)] == pytest.approx(list(row.curve))
        run = children[row.mlflow_run_id]
        assert run.data.metrics[names.BEST_VAL_ACCURACY] == pytest.approx(row.value)
        assert set(run.data.params) == ({"kd.alpha", "train.lr"} if row.arm == names.DISTILLED else {"train.lr"})
        assert run.data.tags.get("stop_reason", "") == row.stop_reason
    champion = client.get_model_version_by_alias("tiny", "champion")
    assert champion.run_id == parents[0].info.run_id
    assert {file.path for file in client.list_artifacts(parents[0].info.run_id)} >= {
        names.REPORT_FILE,
        names.VERDICT_FILE,
    }


def test_the_winner_works_without_this_package(ran: Ran, tmp_path: Path) -> None:
    from PIL import Image
    from sklearn.datasets import load_digits

    digits = load_digits()
    for k in range(5):
        Image.fromarray((digits.images[k] * 15.9).astype("uint8")).save(tmp_path / f"{k}.png")
    script = ran.folder / names.MODEL_DIR / "predict.py"
    pictures = [str(tmp_path / f"{k}.png") for k in range(5)]
    done = subprocess.run(
        [sys.executable, "-P", str(script), *pictures], cwd=tmp_path, capture_output=True, text=True, timeout=PATIENCE
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == 5
    assert sum(f"{k}.png: {digits.target[k]} " in line for k, line in enumerate(lines)) >= 2


def test_the_champion_can_teach_the_next_search(ran: Ran, ray_address: str) -> None:
    taught = search(
        ran.folder.parent.parent, ray_address, "tiny.yaml", "--name", "taught", "--quiet",
        "--set", "teacher={model: digits_student_tiny, checkpoint: 'models:/tiny@champion'}",
        "--set", "budget={trials: 1, epochs: 1, repeats: 1}", "--set", "precision=auto",
    )  # fmt: skip
    assert taught.code == 0, taught.output
    verdict = json.loads((ran.folder.parent / "taught" / names.VERDICT_FILE).read_text())
    model = json.loads((ran.folder / names.MODEL_DIR / "model.json").read_text())
    assert verdict["teacher"][names.TEST_ACCURACY] == pytest.approx(model["test_accuracy"])
    decided = verdict["facts"]["precision"]["decided"]
    assert {"training.digits_student_tiny", "running.digits_student_tiny"} == set(decided)


def test_a_folder_with_a_search_is_refused_with_the_commands_that_would_be_right(ran: Ran, ray_address: str) -> None:
    again = search(ran.folder.parent.parent, ray_address, "tiny.yaml", "--name", ran.folder.name)
    assert again.code == 2
    assert "--resume" in again.output
    assert "--name" in again.output


def test_a_finished_search_can_be_extended(ran: Ran, ray_address: str, tmp_path: Path) -> None:
    import shutil

    shutil.copytree(ran.folder, tmp_path / "runs" / "more")
    grown = ("--set", "budget.trials=4", "--set", "budget.epochs=6")
    more = search(tmp_path, ray_address, "--name", "more", "--resume", *grown, "--quiet")
    assert more.code == 0, more.output
    assert len(more.trials) == 16
    assert set(more.trials.loc[more.trials["state"] == names.COMPLETE, "epochs"]) == {6}
    assert set(more.finals["epochs"]) == {6}
    before = ran.trials.set_index("number")["value"]
    assert (more.trials.set_index("number")["value"].loc[before.index] >= before).all()


def test_a_changed_study_is_refused_with_the_difference(ran: Ran, ray_address: str) -> None:
    where = ran.folder.parent.parent
    changed = search(where, ray_address, "--name", ran.folder.name, "--resume", "--set", "train.batch_size=64")
    assert changed.code == 2
    assert "train.batch_size: 32 → 64" in changed.output


def test_epochs_do_not_grow_under_a_schedule_that_is_planned_to_the_end(tmp_path: Path) -> None:
    (tmp_path / "tiny.yaml").write_text(STUDY)
    folder = tmp_path / "runs" / "it"
    folder.mkdir(parents=True)
    (folder / names.STUDY_FILE).write_text(
        STUDY.replace("search:", "search:\n  train.schedule: {choice: [step, cosine]}")
    )
    grown = search(tmp_path, "127.0.0.1:1", "--name", "it", "--resume", "--set", "budget.epochs=6")
    assert grown.code == 2
    assert "budget.epochs cannot grow from 4 to 6 with train.schedule: cosine" in grown.output


def check_same(one: Ran, other: Ran) -> None:
    """Suggestions, stops, finals and verdict."""
    told = ["number", "arm", "state", "stop_reason", "seed", "value", "config.kd.alpha", "config.train.lr"]
    pd.testing.assert_frame_equal(one.trials[told], other.trials[told])
    assert [list(curve) for curve in one.trials["curve"]] == [list(curve) for curve in other.trials["curve"]]
    assert one.finals[names.TEST_ACCURACY].tolist() == other.finals[names.TEST_ACCURACY].tolist()
    judged = [[(cell["word"], cell["gain"]) for cell in ran.verdict["cells"]] for ran in (one, other)]
    assert judged[0] == judged[1]


def test_ctrl_c_keeps_everything_and_the_printed_command_goes_on_as_if_nothing_had_been(
    ran: Ran, ray_address: str, tmp_path: Path
) -> None:
    (tmp_path / "tiny.yaml").write_text(STUDY)
    process = subprocess.Popen(
        command(ray_address, "tiny.yaml", "--name", "broken"),
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    ledger = tmp_path / "runs" / "broken" / names.LEDGER_FILE
    deadline = time.time() + PATIENCE
    while not (ledger.exists() and ledger.read_bytes().count(b'"intermediate_value"') >= 6):
        assert time.time() < deadline
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM if sys.platform == "linux" else signal.SIGINT)
    output, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130, output
    line = next(line.strip() for line in output.splitlines() if "--resume" in line)
    words = line.split()
    done = subprocess.run(
        [sys.executable, *words[1:]],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    resumed = Ran(ledger.parent, 0, "")
    facts = resumed.verdict["facts"]
    before = facts["phases"][names.EARLIER]
    assert 0 < before < facts["seconds"] < before + 240
    check_same(resumed, ran)
    check_mlflow(resumed)


def test_when_every_trial_of_an_arm_fails_the_reasons_are_counted(ran: Ran, ray_address: str, tmp_path: Path) -> None:
    settings = ["conditions=null", "train.optimizer=sgd", "first=[]", "search={train.lr: {choice: [1.0e+30]}}"]
    failed = search(tmp_path, ray_address, "tiny.yaml", *[word for s in settings for word in ("--set", s)])
    assert failed.code == 1
    # The teacher is none of them, and the first search has trained it.
    assert "taken from an earlier search: teacher (trained " in failed.output
    assert "3 × the training loss became" in failed.output or "3 × the validation loss became" in failed.output
    assert "Traceback" not in failed.output
    assert set(failed.trials["state"]) == {names.FAIL}


def test_an_address_nobody_answers_is_a_mistake_of_the_user(tmp_path: Path) -> None:
    wrong = search(tmp_path, "127.0.0.1:1", "tiny.yaml")
    assert wrong.code == 2
    assert "--address 127.0.0.1:1" in wrong.output
    assert "Traceback" not in wrong.output


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--list"], ["quickstart"]),
        (["tiny.yaml", "--plan"], ["12 trials", "8 finals", "Nothing was run", "drawn"]),
    ],
)
def test_what_runs_nothing(arguments: list[str], words: list[str], tmp_path: Path) -> None:
    (tmp_path / "tiny.yaml").write_text(STUDY)
    done = subprocess.run(
        [sys.executable, "-m", "tune_kd.search", *arguments],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert done.returncode == 0, done.stderr
    for word in words:
        assert word in done.stdout
    assert os.listdir(tmp_path) == ["tiny.yaml"]


def test_ctrl_c_before_anything_is_begun(tmp_path: Path) -> None:
    """While Ray starts, which takes seconds."""
    search = subprocess.Popen(
        [sys.executable, "-m", "tune_kd.search", "quickstart", "--name", "early"],
        cwd=tmp_path,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    while not (tmp_path / "runs" / "early").exists():
        assert search.poll() is None
        time.sleep(0.05)
    time.sleep(1.5)
    search.send_signal(signal.SIGINT)
    said = search.communicate(timeout=PATIENCE)[0]
    assert search.returncode == names.INTERRUPTED
    assert "The same command begins again" in said
    assert "Traceback" not in said

"""Searches sent to a real cluster that asks for a token, through the jobs server, with the command itself."""

import json
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.cluster.conftest import Head
from tests.patience import PATIENCE
from tune_kd import names
from tune_kd.cluster import submission
from tune_kd.errors import InputError
from tune_kd.options import parse

pytestmark = pytest.mark.slow

STUDY = """
study: sent
data: {dataset: digits, drawn: 200, evaluate_on: [scanned], teacher_on: [scanned]}
teacher: {model: digits_student, epochs: 2, train: {lr: 0.01, batch_size: 64}}
student: {model: digits_student_tiny}
train: {batch_size: 32, epoch_images: 200}
search: {kd.alpha: {uniform: [0.1, 1.0]}}
budget: {trials: 2, epochs: 2, first_rung: 1, complete: 1, repeats: 2}
"""


def run(head: Head, where: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    (where / "sent.yaml").write_text(STUDY)
    return subprocess.run(
        [sys.executable, "-m", "tune_kd.search", "--submit", head.address, *words],
        cwd=where, env=head.environment | environment, capture_output=True, text=True, timeout=PATIENCE,
    )  # fmt: skip


@pytest.fixture(scope="module")
def sent(head: Head, tmp_path_factory: pytest.TempPathFactory) -> subprocess.CompletedProcess[str]:
    where = tmp_path_factory.mktemp("sent")
    return run(head, where, "sent.yaml", "--name", "one", "--set", "budget.trials=3", MLFLOW_TRACKING_PASSWORD="hush")


def test_a_submitted_search_is_watched_to_its_end(sent: subprocess.CompletedProcess[str], head: Head) -> None:
    assert sent.returncode == 0, sent.stdout + sent.stderr
    assert "one is submitted to" in sent.stdout
    assert "gain" in sent.stdout
    results = head.home / "tune_kd" / "runs" / "one"
    assert str(results / names.REPORT_FILE) in sent.stdout
    verdict = json.loads((results / names.VERDICT_FILE).read_text())
    assert verdict["study"] == "sent"
    assert verdict["counts"]["trials"] == 6
    assert (head.home / "tune_kd" / "mlflow.db").exists()


def test_secrets_are_neither_said_nor_in_the_command(sent: subprocess.CompletedProcess[str], head: Head) -> None:
    assert "hush" not in sent.stdout + sent.stderr
    found = asked(head, "job = client.get_job_info('one'); print('hush' in job.entrypoint, job.entrypoint)")
    assert found.startswith("False python -m tune_kd.search study.yaml --name one")
    assert (
        asked(head, "print(client.get_job_info('one').runtime_env['env_vars']['MLFLOW_TRACKING_PASSWORD'])") == "hush"
    )


def asked(head: Head, program: str) -> str:
    """What Ray's own client says."""
    start = f"from ray.job_submission import JobSubmissionClient\nclient = JobSubmissionClient('{head.address}')\n"
    done = subprocess.run(
        [sys.executable, "-c", start + program], env=head.environment, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def test_it_goes_on_there_and_its_mistakes_have_the_same_code(
    sent: subprocess.CompletedProcess[str], head: Head, tmp_path: Path
) -> None:
    again = run(head, tmp_path, "sent.yaml", "--name", "one")
    assert again.returncode == 2
    assert "--resume" in again.stderr
    less = run(head, tmp_path, "--name", "one", "--resume", "--set", "budget.trials=1")
    assert less.returncode == 2, less.stdout
    assert "budget.trials: 3 → 1" in less.stdout
    more = run(head, tmp_path, "--name", "one", "--resume", "--set", "budget.trials=4", "--quiet")
    assert more.returncode == 0, more.stdout + more.stderr
    status = run(head, tmp_path, "--status", "one")
    assert "succeeded, exit code 0" in status.stdout


def test_a_search_is_left_alone_listed_and_stopped(head: Head, tmp_path: Path) -> None:
    begun = run(
        head, tmp_path, "sent.yaml", "--name", "long", "--detach",
        "--set", "budget.epochs=5000", "--set", "budget.first_rung=2000",
    )  # fmt: skip
    assert begun.returncode == 0, begun.stdout + begun.stderr
    assert "--logs long" in begun.stdout
    ledger = head.home / "tune_kd" / "runs" / "long" / names.LEDGER_FILE
    deadline = time.time() + PATIENCE
    while not (ledger.exists() and b'"intermediate_value"' in ledger.read_bytes()):
        assert time.time() < deadline, run(head, tmp_path, "--logs", "long", "--detach").stdout
        time.sleep(0.2)
    listed = run(head, tmp_path, "--list-running")
    assert listed.returncode == 0, listed.stdout + listed.stderr
    assert "long" in listed.stdout
    assert "of 4 trials begun" in listed.stdout
    assert "running" in run(head, tmp_path, "--status", "long").stdout
    watching = subprocess.Popen(
        [sys.executable, "-m", "tune_kd.search", "--submit", head.address, "--logs", "long"],
        env=head.environment, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert watching.stdout is not None
    watching.stdout.readline()
    watching.send_signal(signal.SIGINT)
    said = watching.communicate(timeout=PATIENCE)[0]
    assert watching.returncode == 130
    assert "goes on without you" in said
    assert "--stop long" in said
    stopped = run(head, tmp_path, "--stop", "long")
    assert stopped.returncode == 0
    assert "--resume" in stopped.stdout
    logs = run(head, tmp_path, "--logs", "long")
    assert logs.returncode == 130
    assert "Stopped. Everything so far is kept." in logs.stdout


def test_the_storage_goes_along_but_no_key_and_no_path_that_means_nothing_there() -> None:
    address = "s3://bucket/kept?region=here"
    given = parse(["--submit", "http://head:8265", "--resume", "--storage", address])
    words = shlex.split(submission._command("one", None, given))
    assert words[words.index("--storage") + 1] == address
    submission._check_storage(address)
    for wrong, word in (("s3://key:word@bucket/kept", "no keys may stand"), ("kept", "whole path")):
        with pytest.raises(InputError, match=word) as caught:
            submission._check_storage(wrong)
        assert "key:word" not in str(caught.value)


def test_ray_job_submit_works_as_well(head: Head, tmp_path: Path) -> None:
    (tmp_path / "sent.yaml").write_text(STUDY)
    done = subprocess.run(
        [sys.executable, "-m", "ray.scripts.scripts", "job", "submit", "--address", head.address,
         "--working-dir", str(tmp_path), "--", "python", "-m", "tune_kd.search", "sent.yaml", "--name", "byhand",
         "--set", "budget.trials=1", "--quiet"],
        env=head.environment, capture_output=True, text=True, timeout=PATIENCE,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert (head.home / "tune_kd" / "runs" / "byhand" / names.VERDICT_FILE).exists()


@pytest.mark.parametrize(
    ("environment", "word"),
    [({"RAY_AUTH_TOKEN": "f" * 64}, "not the cluster's"), ({"RAY_AUTH_MODE": "disabled"}, "asks for a token")],
)
def test_without_the_right_token_nobody_gets_in(
    head: Head, tmp_path: Path, environment: dict[str, str], word: str
) -> None:
    refused = run(head, tmp_path, "--status", "one", **environment)
    assert refused.returncode == 2, refused.stderr
    assert word in refused.stderr
    assert "RAY_AUTH_TOKEN" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_an_unknown_search_is_told_from_the_known(
    sent: subprocess.CompletedProcess[str], head: Head, tmp_path: Path
) -> None:
    unknown = run(head, tmp_path, "--stop", "oen")
    assert unknown.returncode == 2
    assert "Did you mean 'one'?" in unknown.stderr

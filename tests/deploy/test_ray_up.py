"""A laptop and two hosts: `ray up deploy/local.yaml`, a search through the Jobs API, a host that goes, `ray down`."""

import json
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from tests.deploy import hosts
from tests.deploy.hosts import Host
from tune_kd import names

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
TEMPLATE = ROOT / "deploy" / "local.yaml"
UNIT = ROOT / "deploy" / "mlflow.service"

TUNNEL_SECONDS = 60
JOIN_SECONDS = 180
SEARCH_SECONDS = 400
DOWN_SECONDS = 120

REPORT = b'"intermediate_value"'
"""What each report leaves in a ledger."""
JOBS = "http://127.0.0.1:8265"

STUDY = """
study: cluster
question: Does it work on two hosts?
seed: 1
data: {dataset: digits, drawn: 200, evaluate_on: [scanned], teacher_on: [scanned], source: scanned}
teacher: {model: digits_student, epochs: 3, train: {lr: 0.01, batch_size: 64}}
student: {model: "seen:student"}
train: {batch_size: 32, epoch_images: 200}
search: {kd.alpha: {uniform: [0.1, 1.0]}, train.lr: {loguniform: [0.001, 0.05]}}
budget: {trials: 9, epochs: 9, first_rung: 3, complete: 3, repeats: 2}
resources: {cpu: 1, gpu: 0.5}
"""

SEEN = '''
"""A student that writes down where it is built, and takes its time, so that a host can go in the middle."""
import json
import os
import time

import ray

from tune_kd.models.registry import build

def student(classes, in_shape):
    context = ray.get_runtime_context() if ray.is_initialized() else None
    if context and context.get_actor_id():
        seen = {"host": os.uname().nodename, "node": context.get_node_id(), "gpus": len(ray.get_gpu_ids())}
        with open(os.environ["SEEN"], "a") as file:
            file.write(json.dumps(seen) + "\\n")
        time.sleep(3)
    return build("digits_student_tiny", classes=classes, in_shape=in_shape)
'''

ASK = """
import sys, urllib.request
request = urllib.request.Request(sys.argv[1], headers={"Authorization": sys.argv[2]})
print(urllib.request.urlopen(request, timeout=20).read().decode())
"""


@dataclass
class Cluster:
    laptop: Host
    head: Host
    worker: Host
    config: Path
    folder: Path

    def ray(self, *words: str, timeout: float = 120) -> str:
        """A command of Ray's, given in the checkout on the laptop."""
        done = self.laptop.run("ray", *words, timeout=timeout, where=ROOT)
        assert done.returncode == 0, done.stdout
        return done.stdout

    def api(self, path: str) -> Any:
        """What Ray's dashboard says, through the tunnel and with the token."""
        done = self.ask(path, (self.laptop.home / ".ray" / "auth_token").read_text().strip())
        assert done.returncode == 0, done.stdout
        return json.loads(done.stdout)

    def ask(self, path: str, token: str) -> subprocess.CompletedProcess[str]:
        return self.laptop.run("python", "-c", ASK, f"http://127.0.0.1:8265{path}", f"Bearer {token}")

    def alive(self) -> dict[str, str]:
        """The nodes by their addresses."""
        listed = self.api("/api/v0/nodes")["data"]["result"]["result"]
        return {node["node_ip"]: node["node_id"] for node in listed if node["state"] == "ALIVE"}


def wait(what: str, seconds: float, found: Callable[[], Any]) -> Any:
    started = time.monotonic()
    while not (value := found()):
        assert time.monotonic() - started < seconds, f"waited {seconds:.0f} s for {what}"
        time.sleep(3)
    print(f"{what}: {time.monotonic() - started:.1f} s")
    return value


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    if reason := hosts.missing():
        pytest.skip(f"no hosts can be made here: {reason}")
    folder = tmp_path_factory.mktemp("hosts")
    key = hosts.new_key(folder)
    with hosts.network(folder) as (network, cleanup):
        head, worker = (network.add(cleanup, name, key) for name in ("head", "worker"))
        laptop = network.add(cleanup, "laptop")
        config = folder / "local.yaml"
        config.write_text(yaml.safe_dump(filled_in(head, worker, key)))
        for host in (head, worker):
            hosts.virtual_environment(host.home / "tune_kd-venv")
            # There is nothing to download from.
            (host.home / ".config" / "pip").mkdir(parents=True)
            (host.home / ".config" / "pip" / "pip.conf").write_text(
                "[install]\nno-index = yes\nno-build-isolation = no\n"
            )
        hosts.virtual_environment(laptop.home / "venv")
        (laptop.home / ".bashrc").write_text(f"export PATH={laptop.home}/venv/bin:$PATH RAY_AUTH_MODE=token\n")
        made = Cluster(laptop, head, worker, config, folder)
        up(made, cleanup)
        yield made


def filled_in(head: Host, worker: Host, key: Path) -> dict[str, Any]:
    """The file that ships, with this cluster's addresses, and two GPUs that are not there."""
    config: dict[str, Any] = yaml.safe_load(TEMPLATE.read_text(encoding="utf-8"))
    config["provider"] |= {"head_ip": head.address, "worker_ips": [worker.address]}
    config["auth"] = {"ssh_user": "root", "ssh_private_key": str(key)}
    for kind in ("head", "worker"):
        starts = config[f"{kind}_start_ray_commands"]
        config[f"{kind}_start_ray_commands"] = [line.replace("ray start", "ray start --num-gpus=2") for line in starts]
    return config


def up(made: Cluster, cleanup: ExitStack) -> None:
    """The README's commands."""
    made.ray("get-auth-token", "--generate")
    print(made.ray("up", "-y", str(made.config), timeout=240))
    start_mlflow(made, cleanup)
    tunnel = made.laptop.command("env", "-C", str(ROOT), "ray", "attach", str(made.config), "-p", "8265", "-p", "5000")
    background(cleanup, tunnel, made.folder / "tunnel.log", stdin=subprocess.PIPE)
    for port in (8265, 5000):
        opened = ("bash", "-c", f"exec 3<>/dev/tcp/127.0.0.1/{port}")
        wait(f"the tunnel's port {port}", TUNNEL_SECONDS, lambda words=opened: made.laptop.run(*words).returncode == 0)


def start_mlflow(made: Cluster, cleanup: ExitStack) -> None:
    """As systemd would, which a namespace has not."""
    unit = UNIT.read_text(encoding="utf-8").replace("%h", str(made.head.home))
    lines = [line.partition("=")[::2] for line in unit.splitlines() if not line.startswith("#")]
    settings = [value for name, value in lines if name == "Environment"]
    for before in (value for name, value in lines if name == "ExecStartPre"):
        assert made.head.run(*before.split()).returncode == 0
    start = next(value for name, value in lines if name == "ExecStart")
    background(cleanup, made.head.command("env", *settings, *start.split()), made.folder / "mlflow.log")


def background(cleanup: ExitStack, command: list[str], log: Path, stdin: int = subprocess.DEVNULL) -> None:
    file = cleanup.enter_context(log.open("w"))
    process = subprocess.Popen(command, stdin=stdin, stdout=file, stderr=file)
    cleanup.callback(process.wait)
    cleanup.callback(process.kill)


def test_a_cluster_of_two_hosts_from_ray_up_to_ray_down(cluster: Cluster) -> None:
    nodes = wait("the worker to join", JOIN_SECONDS, lambda: (n := cluster.alive()) and len(n) == 2 and n)
    assert set(nodes) == {cluster.head.address, cluster.worker.address}
    assert "403" in cluster.ask("/api/jobs/", "somebody-else-s-token-" + "0" * 40).stdout
    out = submit(cluster)
    seen = cluster.folder / "seen"
    ledger = out / names.LEDGER_FILE

    def under_way() -> bool:
        assert not ended(cluster), cluster.ray("job", "logs", "--address", JOBS, "search")
        return len({each["host"] for each in read(seen)}) == 2 and ledger.read_bytes().count(REPORT) >= 12

    wait("trials on both hosts", SEARCH_SECONDS, under_way)
    cluster.worker.cut_off()
    status = wait("the search to end", SEARCH_SECONDS, lambda: ended(cluster))
    assert status["status"] == "SUCCEEDED", cluster.ray("job", "logs", "--address", JOBS, "search")

    assert set(cluster.alive()) == {cluster.head.address}
    assert {each["node"] for each in read(seen)} == set(nodes.values())
    assert {each["gpus"] for each in read(seen)} == {1}, "each training has a share of one GPU"
    check_results(out, cluster.head.home / "mlflow" / "mlflow.db")
    check_down(cluster)


def submit(cluster: Cluster) -> Path:
    job, out = cluster.folder / "job", cluster.folder / "out"
    job.mkdir()
    (job / "two_hosts.yaml").write_text(STUDY)
    (job / "seen.py").write_text(SEEN)
    environment = {"env_vars": {"SEEN": str(cluster.folder / "seen")}}
    search = ["two_hosts.yaml", "--address", "auto", "--tracking-uri", "http://127.0.0.1:5000", "--out", str(out)]
    options = ["--no-wait", "--submission-id", "search", "--runtime-env-json", json.dumps(environment)]
    address = ["--address", JOBS, "--working-dir", str(job)]
    cluster.ray("job", "submit", *address, *options, "--", "python", "-m", "tune_kd.search", *search)
    return out


def read(path: Path) -> list[dict[str, Any]]:
    """One line for each training begun."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def ended(cluster: Cluster) -> dict[str, Any] | None:
    job: dict[str, Any] = cluster.api("/api/jobs/search")
    return job if job["status"] in ("SUCCEEDED", "FAILED", "STOPPED") else None


def check_results(out: Path, store: Path) -> None:
    """Nothing was lost with the host: every training ended, and MLflow has each of its points once."""
    import mlflow

    trials, finals = (pd.read_parquet(out / name) for name in (names.TRIALS_FILE, names.FINALS_FILE))
    assert len(trials) == 18
    assert set(trials["state"]) == {names.COMPLETE, names.PRUNED}
    assert len(finals) == 4
    assert json.loads((out / names.VERDICT_FILE).read_text())["cells"][0]["gain"]["mean"] is not None
    client = mlflow.MlflowClient(f"sqlite:///{store}")
    experiment = client.get_experiment_by_name("tune_kd")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id], max_results=100)
    assert {run.info.status for run in runs} == {"FINISHED"}
    children = {run.info.run_id for run in runs if "mlflow.parentRunId" in run.data.tags}
    assert children == {*trials["mlflow_run_id"], *finals["mlflow_run_id"]}
    for row in [*trials.itertuples(), *finals.itertuples()]:
        points = client.get_metric_history(str(row.mlflow_run_id), names.VAL_ACCURACY)
        assert [point.step for point in sorted(points, key=lambda p: p.step)] == list(range(1, len(row.curve) + 1))
        assert sorted(point.value for point in points) == pytest.approx(sorted(row.curve))


def check_down(cluster: Cluster) -> None:
    """Ray has gone from the host that can be reached, and no training goes on on the one that was cut off.

    Ray's own daemons there end by themselves at some time, and nobody can tell them to.
    """
    cluster.ray("down", "-y", str(cluster.config))
    wait("Ray to go", DOWN_SECONDS, lambda: not any(map(is_ray, cluster.head.processes().values())))
    wait("trainings to go", DOWN_SECONDS, lambda: not any(map(is_training, cluster.worker.processes().values())))


def is_training(line: str) -> bool:
    return line.startswith("ray::") and "Agent" not in line


def is_ray(line: str) -> bool:
    return "ray" in line and "sshd" not in line

"""deploy/slurm.sh on two hosts: its own commands, with stand-ins for `scontrol` and `srun` only."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

from tests.deploy import hosts
from tests.deploy.hosts import Host
from tests.deploy.test_ray_up import SEEN, is_ray, wait
from tune_kd import names

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
SECONDS = 400

STUDY = """
study: slurm
question: Does it work in an allocation?
seed: 1
data: {dataset: digits, drawn: 100, evaluate_on: [scanned], teacher_on: [scanned], source: scanned}
teacher: {model: digits_student, epochs: 2, train: {lr: 0.01, batch_size: 64}}
student: {model: "seen:student"}
train: {batch_size: 32, epoch_images: 100}
search: {train.lr: {loguniform: [0.001, 0.05]}}
budget: {trials: 3, epochs: 2, early_stopping: none, repeats: 2}
resources: {cpu: 1, gpu: 0}
"""

SCONTROL = """#!/bin/bash
[ "$1 $2 $3" = "show hostnames node-[a-b]" ] && printf 'node-a\\nnode-b\\n'
"""

# As in SLURM, a step has the job's environment and folder, runs on the node it names, and ends with its `srun`.
SRUN = """#!/bin/bash
[ "$1 $2" = "--nodes=1 --ntasks=1" ] || {{ echo "srun: $*" >&2; exit 1; }}
shift 2
if [ "$1" = "--cpus-per-task=1" ]; then shift
elif [ "$3" != hostname ]; then echo "a step without its processors: $*" >&2; exit 1; fi
[ "$1" = "-w" ] || {{ echo "srun: $*" >&2; exit 1; }}
node=$2; shift 2
[ "$node" = "$(hostname)" ] && exec "$@"
exec ssh -tt -q -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -i {key} root@{address} \\
    "$(export -p); cd $PWD; exec $(printf '%q ' "$@")"
"""


@pytest.fixture
def nodes(tmp_path: Path) -> Iterator[tuple[Host, Host]]:
    if reason := hosts.missing():
        pytest.skip(f"no hosts can be made here: {reason}")
    key = hosts.new_key(tmp_path)
    with hosts.network(tmp_path) as (network, cleanup):
        first, second = (network.add(cleanup, name, key) for name in ("node-a", "node-b"))
        venv = first.home / "venv"
        hosts.virtual_environment(venv)
        for name, text in (("scontrol", SCONTROL), ("srun", SRUN.format(key=key, address=second.address))):
            (venv / "bin" / name).write_text(text)
            (venv / "bin" / name).chmod(0o755)
        work = tmp_path / "work"
        work.mkdir()
        (work / "two_nodes.yaml").write_text(STUDY)
        (work / "seen.py").write_text(SEEN)
        yield first, second


def batch(first: Host, *words: str) -> subprocess.Popen[str]:
    """As `sbatch` starts it: on the first node, in the folder, with what SLURM says of the job."""
    work = first.home.parent / "work"
    job = {"SLURM_JOB_NODELIST": "node-[a-b]", "SLURM_JOB_ID": "7", "SLURM_CPUS_PER_TASK": "1"}
    own = {"PATH": f"{first.home}/venv/bin:{hosts.SYSTEM_PATH}", "PYTHONPATH": f"{ROOT}:{work}", "SEEN": f"{work}/seen"}
    told = [f"{name}={value}" for name, value in (job | own).items()]
    command = first.command("env", "-C", str(work), *told, str(ROOT / "deploy/slurm.sh"), "two_nodes.yaml", *words)
    log = (work / "log").open("a")
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, text=True)


def ended(process: subprocess.Popen[str], log: Path) -> int:
    """Its code, once it has ended."""
    try:
        return process.wait(SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        raise AssertionError(log.read_text()) from None


def test_a_search_in_an_allocation_is_stopped_in_time_goes_on_and_leaves_nothing(nodes: tuple[Host, Host]) -> None:
    first, _ = nodes
    work = first.home.parent / "work"
    log, seen, out = work / "log", work / "seen", work / "runs" / "first"
    process = batch(first, "--name", "first")

    def on_both() -> bool:
        assert process.poll() is None, log.read_text()
        found = {json.loads(line)["host"] for line in seen.read_text().splitlines()} if seen.exists() else set()
        return found == {"node-a", "node-b"}

    wait("trials on both nodes", SECONDS, on_both)
    # SLURM's signal goes to the script alone (B:TERM).
    script = next(pid for pid, line in first.processes().items() if line.startswith("/bin/bash") and "slurm.sh" in line)
    subprocess.run(["kill", "-TERM", str(script)], check=True)
    assert ended(process, log) == names.INTERRUPTED, log.read_text()
    assert "To go on" in log.read_text()

    assert ended(batch(first, "--name", "first", "--resume"), log) == 0, log.read_text()
    assert len(pd.read_parquet(out / names.TRIALS_FILE)) == 6
    assert len(pd.read_parquet(out / names.FINALS_FILE)) == 4
    assert json.loads((out / names.VERDICT_FILE).read_text())["cells"][0]["word"]
    for host in nodes:
        wait(f"Ray to go from {host.name}", 60, lambda host=host: not any(map(is_ray, host.processes().values())))

"""deploy/slurm.sh, by its own commands, on two nodes that are this machine: SLURM's programs are stood in for."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from tune_kd import names

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "deploy" / "slurm.sh"
# Options of srun stand before the command; the second node needs an address of its own on one machine.
SRUN = """#!/bin/bash
while [ "${1#-}" != "$1" ]; do [ "$1" = -w ] && shift; shift; done
[ "$1" = hostname ] && { echo "127.0.0.1"; exit; }
exec "$@"
"""
SCONTROL = "#!/bin/bash\nprintf 'one\\ntwo\\n'\n"


def test_the_script_is_bash_and_stops_nobody_elses_ray() -> None:
    text = SCRIPT.read_text(encoding="utf-8")
    assert subprocess.run(["bash", "-n", str(SCRIPT)]).returncode == 0
    assert "ray stop" not in text
    assert os.access(SCRIPT, os.X_OK)


def test_the_compose_file_hands_no_password_out_and_listens_on_loopback() -> None:
    found = yaml.safe_load((ROOT / "deploy" / "compose.yaml").read_text(encoding="utf-8"))
    services = found["services"]
    assert services["database"]["environment"]["POSTGRES_PASSWORD"].startswith("${POSTGRES_PASSWORD:?")
    assert all(port.startswith("127.0.0.1:") for port in services["mlflow"]["ports"])
    pins = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    version = next(pin for pin in pins if pin.startswith("mlflow=="))
    assert version in services["mlflow"]["command"]


@pytest.mark.slow
def test_a_search_on_an_allocation_of_two_nodes(tmp_path: Path) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, text in (("srun", SRUN), ("scontrol", SCONTROL)):
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    home = tmp_path / "home"
    home.mkdir()
    slurm = {"SLURM_JOB_NODELIST": "n[1-2]", "SLURM_JOB_ID": str(os.getpid()), "SLURM_CPUS_PER_TASK": "1"}
    paths = {"PATH": f"{programs}:{os.environ['PATH']}", "HOME": str(home), "TUNE_KD_STORAGE": str(tmp_path / "kept")}
    small = ["budget={trials: 2, epochs: 2, repeats: 2, confirm: 0}", "conditions.data.size=[100]", "teacher.epochs=2"]
    settings = [word for setting in small for word in ("--set", setting)]
    out = tmp_path / "run"
    command = ["bash", str(SCRIPT), "quickstart", *settings, "--out", str(out), "--tracking-uri",
               f"sqlite:///{tmp_path}/mlflow.db"]  # fmt: skip
    done = subprocess.run(
        command, cwd=ROOT, env=os.environ | slurm | paths, capture_output=True, text=True, timeout=900
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert len(json.loads((out / names.VERDICT_FILE).read_text())["cells"]) == 2
    assert shutil.which("ray")

"""deploy/slurm.sh and deploy/compose.yaml without SLURM and Docker; `tests/cluster/test_slurm.py` runs the script."""

import os
import subprocess
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "deploy" / "slurm.sh"


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

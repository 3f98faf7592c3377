"""What lies in deploy/ and cluster.yaml is what Ray, KubeRay and systemd will take."""

import configparser
import copy
import re
import subprocess
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

ROOT = Path(__file__).parents[2]
CLUSTERS = ("cluster.yaml", "deploy/local.yaml")
RAYJOB = ROOT / "deploy" / "rayjob.yaml"


def loaded(name: str) -> dict[str, Any]:
    config: dict[str, Any] = yaml.safe_load((ROOT / name).read_text(encoding="utf-8"))
    return config


def check(config: dict[str, Any]) -> None:
    """As `ray up` does it: defaults filled in, then its schema and its own rules."""
    from ray.autoscaler._private.util import prepare_config, validate_config

    validate_config(prepare_config(copy.deepcopy(config)))


@pytest.mark.parametrize("name", CLUSTERS)
def test_ray_takes_the_cluster_file(name: str) -> None:
    check(loaded(name))


def test_ray_refuses_a_cluster_file_with_a_misspelt_key() -> None:
    with pytest.raises(jsonschema.ValidationError, match="idle_timeout"):
        check(loaded("cluster.yaml") | {"idle_timeout": 5})


def test_the_cloud_cluster_has_a_head_and_gpu_workers_on_spot_machines() -> None:
    config = loaded("cluster.yaml")
    types = config["available_node_types"]
    worker = types["worker"]
    assert config["head_node_type"] == "head"
    assert worker["node_config"]["InstanceMarketOptions"] == {"MarketType": "spot"}
    assert 0 <= worker["min_workers"] <= worker["max_workers"] <= config["max_workers"]
    assert config["idle_timeout_minutes"] > 0
    assert config["rsync_exclude"]


@pytest.mark.parametrize("name", CLUSTERS)
def test_every_node_gets_the_whole_package_the_pins_and_the_token(name: str) -> None:
    config = loaded(name)
    mounts = config["file_mounts"]
    needed = {"tune_kd", "search_spaces", "pyproject.toml", "constraints.txt", "README.md", "LICENSE"}
    assert {local for remote, local in mounts.items() if remote.startswith("~/tune_kd/")} >= needed
    assert all((ROOT / local).exists() for local in mounts.values() if not local.startswith("~"))
    assert mounts["~/.ray/auth_token"] == "~/.ray/auth_token"
    installs = [line for line in config["setup_commands"] if "pip install" in line]
    assert installs
    assert all("-c ~/tune_kd/constraints.txt" in line for line in installs)


@pytest.mark.parametrize("name", CLUSTERS)
@pytest.mark.parametrize("kind", ["head", "worker"])
def test_every_node_starts_ray_with_token_authentication(name: str, kind: str) -> None:
    commands = loaded(name)[f"{kind}_start_ray_commands"]
    start = next(line for line in commands if "ray start" in line)
    assert re.match(r"export .*RAY_AUTH_MODE=token.*; *ray start ", start)


def test_the_two_clusters_differ_only_where_their_machines_do() -> None:
    cloud, local = (loaded(name) for name in CLUSTERS)
    for key in ("file_mounts", "rsync_exclude"):
        assert cloud[key] == local[key]
    assert set(local["setup_commands"]) <= set(cloud["setup_commands"])


def test_kuberay_takes_the_job() -> None:
    schema = yaml.safe_load((Path(__file__).parent / "rayjob_schema.yaml").read_text(encoding="utf-8"))
    job = loaded("deploy/rayjob.yaml")
    jsonschema.Draft202012Validator(schema).validate(job)
    job["spec"]["rayClusterSpec"]["workerGroupSpecs"][0]["maxReplica"] = 1
    with pytest.raises(jsonschema.ValidationError, match="maxReplica"):
        jsonschema.Draft202012Validator(schema).validate(job)


def test_the_job_runs_the_version_of_ray_that_is_pinned() -> None:
    pinned = re.search(r"^ray==(\S+)$", (ROOT / "constraints.txt").read_text(encoding="utf-8"), re.MULTILINE)
    assert pinned
    assert loaded("deploy/rayjob.yaml")["spec"]["rayClusterSpec"]["rayVersion"] == pinned[1]
    assert f"FROM rayproject/ray:{pinned[1]}-" in (ROOT / "deploy" / "Dockerfile").read_text(encoding="utf-8")


def test_the_job_s_command_is_one() -> None:
    from tune_kd import options

    words = loaded("deploy/rayjob.yaml")["spec"]["entrypoint"].split()
    assert words[:3] == ["python", "-m", "tune_kd.search"]
    given = options.parse(words[3:])
    assert given.address == "auto"


def test_mlflow_keeps_to_this_machine_a_database_and_a_folder_for_files() -> None:
    unit = configparser.RawConfigParser(strict=False, interpolation=None)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    text = (ROOT / "deploy" / "mlflow.service").read_text(encoding="utf-8")
    unit.read_string(text)
    assert set(unit.sections()) == {"Unit", "Service", "Install"}
    settings = dict(re.findall(r"^Environment=(\w+)=(.*)$", text, re.MULTILINE))
    assert settings["MLFLOW_HOST"] == "127.0.0.1"
    assert settings["MLFLOW_BACKEND_STORE_URI"].startswith("sqlite:///%h/")
    assert settings["MLFLOW_ARTIFACTS_DESTINATION"].startswith("%h/")
    assert unit["Service"]["ExecStart"].endswith("mlflow server")


def test_the_script_is_one_that_bash_understands() -> None:
    subprocess.run(["bash", "-n", str(ROOT / "deploy" / "mlflow.sh")], check=True)

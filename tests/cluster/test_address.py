"""Where a search finds its cluster, and what is said where there is none."""

from pathlib import Path

import pytest

from tests.cluster.conftest import free_port
from tune_kd.cluster import address, parcel
from tune_kd.errors import InputError
from tune_kd.search import main
from tune_kd.space.load import load


@pytest.mark.parametrize(
    ("value", "found"), [(None, None), ("", None), ("10.0.0.1:6379", "10.0.0.1:6379"), ("http://head:8265", None)]
)
def test_the_environment_names_the_cluster(monkeypatch: pytest.MonkeyPatch, value: str | None, found: str) -> None:
    monkeypatch.delenv(address.RAY_ADDRESS, raising=False)
    if value is not None:
        monkeypatch.setenv(address.RAY_ADDRESS, value)
    assert address.own_cluster() == found


def test_a_job_leaves_its_results_in_its_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    assert address.working_folder() == tmp_path
    monkeypatch.setenv(address.IN_JOB, "{}")
    assert address.working_folder() == Path.home() / "tune_kd"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--submit", "ray://head:10001"], ["--submit ray://head:10001", "http://HOST:8265"]),
        (["--submit", "127.0.0.1:NOBODY"], ["nobody answers", "dashboard"]),
        (["--submit", "a:1", "--address", "b:1"], ["--submit and --address"]),
        (["--stop", "x"], ["--stop", "--submit ADDR"]),
        (["--detach"], ["--detach", "--submit ADDR"]),
        (["--nodes", "2"], ["--plan"]),
        (["--plan", "--gpus-per-node", "2"], ["--nodes N"]),
        (["--list-running"], ["--address", "--submit"]),
    ],
)
def test_mistakes_are_answered(
    arguments: list[str], words: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(address.RAY_ADDRESS, raising=False)
    nobody = str(free_port())
    assert main([word.replace("NOBODY", nobody) for word in arguments]) == 2
    said = capsys.readouterr().err
    for word in words:
        assert word in said


def test_a_server_that_is_none_of_rays_is_no_jobs_server(ray_address: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--submit", ray_address, "--status", "x"]) == 2
    assert "no jobs server of Ray answers there" in capsys.readouterr().err


def test_the_parcel_holds_what_the_job_needs_and_no_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine.py").write_text("def model(classes, in_shape): ...")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    parcel.pack(tmp_path / "parcel", load("quickstart", ["student.model=mine:model"]))
    held = {path.name for path in (tmp_path / "parcel").iterdir()}
    assert held == {"tune_kd", "mine.py", "study.yaml"}
    assert (tmp_path / "parcel" / "tune_kd" / "search_spaces" / "quickstart.yaml").exists()
    assert not list((tmp_path / "parcel").rglob("__pycache__"))
    assert load(tmp_path / "parcel" / "study.yaml").student.model == "mine:model"


@pytest.mark.parametrize("setting", ["teacher.checkpoint=mine.pt", "data={dataset: folder, root: photos}"])
def test_paths_that_mean_nothing_there_are_refused(setting: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="on the cluster"):
        parcel.pack(tmp_path / "parcel", load("quickstart", ["conditions=null", "data.evaluate_on=null", setting]))


def test_only_named_variables_go_along(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "a")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://old")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "b")
    plain = parcel.environment("http://new", [])
    assert plain["MLFLOW_TRACKING_URI"] == "http://new"
    assert plain["MLFLOW_TRACKING_TOKEN"] == "a"
    assert "AWS_SECRET_ACCESS_KEY" not in plain
    assert parcel.environment(None, ["AWS_SECRET_ACCESS_KEY"])["AWS_SECRET_ACCESS_KEY"] == "b"
    with pytest.raises(InputError, match="--env NO_SUCH"):
        parcel.environment(None, ["NO_SUCH"])

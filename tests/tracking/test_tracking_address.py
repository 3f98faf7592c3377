from pathlib import Path

import pytest

from tune_kd.errors import InputError
from tune_kd.tracking.address import redact, resolve


@pytest.mark.parametrize(
    ("uri", "said"),
    [
        ("htp://host:5000", "Did you mean 'http'?"),
        ("ftp://host/x", "knows no 'ftp://'"),
        ("http://", "has no host"),
        ("http://host:99999", "between 1 and 65535"),
        ("http://host:0", "between 1 and 65535"),
        ("mlruns", "no longer writes to plain folders"),
        ("file:///tmp/mlruns", "Give sqlite:////tmp/mlruns/mlflow.db"),
        ("sqlite://", "names no file"),
        ("sqlite:///:memory:", "names no file"),
        ("sqlite:////no/such/folder/mlflow.db", "the folder /no/such/folder is not there"),
        ("sqlite:///notes.txt", "is not an SQLite database"),
        ("sqlite:////proc/version", "cannot be"),
    ],
)
def test_an_address_that_cannot_be_right_is_the_users_mistake(
    uri: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "notes.txt").write_text("these are notes, not a database")
    with pytest.raises(InputError) as error:
        resolve(uri)
    assert said in str(error.value)
    assert uri.removeprefix("file://") in str(error.value)


def test_the_default_is_where_a_plain_mlflow_ui_looks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    address = resolve(None)
    assert (address.database, address.artifacts) == (tmp_path / "mlflow.db", tmp_path / "mlartifacts")
    assert address.command == f"mlflow ui --backend-store-uri sqlite:///{tmp_path}/mlflow.db"
    table = "/#/experiments/1/runs?workflowType=machine_learning&viewStateShareKey=tune_kd-abc"
    assert address.page("1", "abc") == f"http://127.0.0.1:5000{table}"
    assert address.page("", "abc") == "http://127.0.0.1:5000"


def test_the_environment_is_heard_and_a_relative_file_made_absolute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://from.environment")
    assert resolve(None).uri == "http://from.environment"
    assert resolve("sqlite:///other.db").database == tmp_path / "other.db"


def test_passwords_are_never_shown() -> None:
    address = resolve("http://me:pass@word@host:5000/")
    assert address.uri == "http://me:pass@word@host:5000/"
    assert address.shown == "http://***@host:5000/"
    assert address.page("1", "abc").startswith("http://***@host:5000/#/experiments/1/runs?")
    assert address.command == ""
    assert redact("postgresql://h/db?user=me&password=hush&x=1") == "postgresql://h/db?user=me&password=***&x=1"
    with pytest.raises(InputError) as error:
        resolve("htp://me:hush@host")
    assert "hush" not in str(error.value)

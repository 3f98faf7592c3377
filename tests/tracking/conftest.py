"""Real MLflow stores. A fresh one costs seconds of migrations, so one is made per session and then copied."""

import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run

from tests.tracking.stores import FirstSearch, ReadRuns, Start, run_python
from tune_kd.tracking import SearchInfo, Tracker

FIRST_SEARCH = """
import sys
from pathlib import Path
from tune_kd.tracking import SearchInfo, Tracker
assert not {"mlflow", "torch", "ray"} & set(sys.modules)
tracker = Tracker.start(uri=None, experiment="first", search=SearchInfo("first", "first"), spool=Path("out"))
outcome = tracker.finish(status="FINISHED", metrics={}, tags={}, artifacts=[], seconds=120)
assert (outcome.waiting, outcome.refused, tracker.page.partition("#")[0]) == (0, 0, "http://127.0.0.1:5000/"), outcome
"""


@pytest.fixture(scope="session")
def first_search(tmp_path_factory: pytest.TempPathFactory) -> FirstSearch:
    folder = tmp_path_factory.mktemp("fresh")
    done = run_python(FIRST_SEARCH, folder)
    assert done.returncode == 0, done.stderr
    return FirstSearch(folder, done.stdout + done.stderr)


@pytest.fixture
def uri(first_search: FirstSearch, tmp_path: Path) -> str:
    """An SQLite store of this test's own."""
    shutil.copyfile(first_search.folder / "mlflow.db", tmp_path / "mlflow.db")
    return f"sqlite:///{tmp_path / 'mlflow.db'}"


@pytest.fixture
def start(tmp_path: Path, uri: str) -> Start:
    """A tracker of the same search each time, as a resume opens it."""

    def starter(**changes: object) -> Tracker:
        plain = {
            "uri": uri,
            "experiment": "tests",
            "search": SearchInfo("s1", "a search", {"epochs": 3}),
            "spool": tmp_path / "out" / "mlflow",
        }
        return Tracker.start(**{**plain, **changes})  # type: ignore[arg-type]

    return starter


@pytest.fixture
def read_runs(uri: str) -> ReadRuns:
    """The search's runs as the store has them, by key; a second run of one key is an error."""

    def read(address: str = uri) -> Mapping[str, Run]:
        client = MlflowClient(address, address)
        experiment = client.get_experiment_by_name("tests")
        assert experiment is not None
        runs = list(client.search_runs([experiment.experiment_id], max_results=1000))
        keys = [run.data.tags["tune_kd.key"] for run in runs]
        assert len(keys) == len(set(keys)), sorted(keys)
        return dict(zip(keys, runs, strict=True))

    return read

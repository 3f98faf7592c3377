"""A results folder of the version before doors (`ab85358`): it is loaded, reported, and gone on with.

It was made by a search of two trials an arm and four finals; its tables, ledger, verdict and the checkpoints that a
longer search needs are packed in `folders/before.tar.xz`.
"""

import json
import tarfile
from pathlib import Path

import pandas as pd
import pytest

import tune_kd
from tune_kd import names, summary

PACKED = Path(__file__).parent / "folders" / "before.tar.xz"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    where = tmp_path_factory.mktemp("before")
    with tarfile.open(PACKED) as packed:
        packed.extractall(where, filter="data")
    return where / "before"


def test_it_is_loaded(folder: Path) -> None:
    result = tune_kd.load(folder)
    raw = json.loads((folder / names.VERDICT_FILE).read_text())["cells"][0]
    assert result.verdict.cells[0].gain.mean == raw["gain"]["mean"]
    assert len(result.trials) == len(result.finals) == 4
    assert result.study.budget.trials == 2


def test_it_is_reported_with_the_same_numbers(folder: Path) -> None:
    before = json.loads((folder / names.VERDICT_FILE).read_text())
    now = summary.write(folder)
    for cell, known in zip(now["cells"], before["cells"], strict=True):
        for arm in (names.DISTILLED, names.SCRATCH):
            assert (cell[arm]["mean"], cell[arm]["values"]) == (known[arm]["mean"], known[arm]["values"])
        assert cell["gain"]["mean"] == known["gain"]["mean"]
    assert (folder / names.REPORT_FILE).exists()


def test_it_is_gone_on_with(folder: Path, ray_address: str) -> None:
    before = tune_kd.load(folder).trials.set_index("number")
    result = tune_kd.load(folder).extend(trials=3, quiet=True, tracking_uri=f"sqlite:///{folder.parent / 'mlflow.db'}")
    after = result.trials.set_index("number")
    # An arm of which nothing is searched has no trials any more; those that it had stay.
    assert after["arm"].value_counts().to_dict() == {names.DISTILLED: 3, names.SCRATCH: 2}
    told = ["arm", "state", "value", "epochs"]
    pd.testing.assert_frame_equal(after.loc[before.index, told], before[told])
    assert {len(rows) for _, rows in result.finals.groupby("arm")} == {2}
    assert not result.model().training
    # Its images were split before near-duplicates were looked for.
    assert result.study.data.duplicates == "keep"

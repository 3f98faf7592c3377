"""A search that begins with what an earlier one found best."""

from pathlib import Path

import pandas as pd
import pytest

from tune_kd.errors import InputError
from tune_kd.space.load import dump, load

STUDY = """
study: warm
search:
  kd.alpha: {uniform: [0.1, 1.0]}
  train.lr: {loguniform: [0.001, 0.1]}
  train.batch_size: {choice: [32, 64]}
first: {from: FOLDER}
"""


def trial(value: float, arm: str = "distilled", state: str = "COMPLETE", **config: object) -> dict[str, object]:
    settings = {f"config.{key.replace('__', '.')}": setting for key, setting in config.items()}
    return {"arm": arm, "state": state, "value": value, "cell.data.size": 100} | settings


def study(folder: Path, *rows: dict[str, object]) -> str:
    pd.DataFrame(rows).to_parquet(folder / "trials.parquet")
    return STUDY.replace("FOLDER", str(folder))


def test_the_best_of_each_arm_and_cell_are_tried_first(tmp_path: Path) -> None:
    rows = [
        trial(0.8, kd__alpha=0.5, train__lr=0.01, train__batch_size="64"),
        trial(0.9, kd__alpha=0.7, train__lr=0.02, train__batch_size="32"),
        trial(0.99, state="PRUNED", kd__alpha=0.1, train__lr=0.05, train__batch_size="32"),
        trial(0.7, "scratch", kd__alpha=None, train__lr=0.03, train__batch_size="64"),
        trial(0.6, train__lr=0.05, train__batch_size="64") | {"cell.data.size": 400},
    ]
    first = load(study(tmp_path, *rows)).first
    assert first == (
        {"kd.alpha": 0.7, "train.lr": 0.02, "train.batch_size": 32},
        {"train.lr": 0.03, "train.batch_size": 64},
        {"train.lr": 0.05, "train.batch_size": 64},
    )


def test_the_control_is_given_as_many(tmp_path: Path) -> None:
    """Settings that differ only in how they distil are one to it."""
    rows = [
        trial(0.9, kd__alpha=0.7, train__lr=0.02),
        trial(0.8, kd__alpha=0.3, train__lr=0.02) | {"cell.data.size": 400},
        trial(0.7, "scratch", kd__alpha=None, train__lr=0.02),
    ]
    assert load(study(tmp_path, *rows)).first == ({"kd.alpha": 0.7, "train.lr": 0.02},)


def test_what_this_study_does_not_search_is_left_out(tmp_path: Path) -> None:
    found = load(study(tmp_path, trial(0.9, kd__alpha=0.7, train__lr=5.0, train__momentum=0.5, train__batch_size=128)))
    assert found.first == ({"kd.alpha": 0.7},)


def test_the_stored_study_has_the_settings_themselves(tmp_path: Path) -> None:
    found = load(study(tmp_path, trial(0.9, kd__alpha=0.7, train__lr=0.02, train__batch_size=32)))
    (tmp_path / "trials.parquet").unlink()
    assert load(dump(found)) == found


def test_a_folder_without_results_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"first\.from = .*has no trials\.parquet.*results folder"):
        load(STUDY.replace("FOLDER", str(tmp_path)))
    with pytest.raises(InputError, match="nothing else"):
        load(STUDY.replace("{from: FOLDER}", "{from: a, kd.alpha: 0.5}"))

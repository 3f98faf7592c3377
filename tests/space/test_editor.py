"""The JSON Schema of the study file: up to date, named by every study, and right about what is right and wrong."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from tune_kd.space import editor
from tune_kd.space.load import shipped, studies_folder

jsonschema = pytest.importorskip("jsonschema")
STUDIES = sorted(studies_folder().glob("*.yaml"))


@pytest.fixture(scope="module")
def check() -> Any:
    schema = json.loads(editor.place().read_text(encoding="utf-8"))
    jsonschema.Draft7Validator.check_schema(schema)
    return jsonschema.Draft7Validator(schema)


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_every_shipped_study_names_it_and_passes(path: Path, check: Any) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.splitlines()[0] == f"{editor.LINE}{editor.FILE}"
    assert [error.message for error in check.iter_errors(yaml.safe_load(text))] == []


def test_all_studies_are_looked_at() -> None:
    assert {path.stem for path in STUDIES} == {name for name, _ in shipped()}


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"study": "s", "budgets": {}},
        {"study": "s", "budget": {"trials": 0}},
        {"study": "s", "train": {"optimizer": "adamm"}},
        {"study": "s", "search": {"kd.alpha": {"unifrom": [0, 1]}}},
        {"study": "s", "search": {"kd.alpha": {"uniform": [0, 1, 2]}}},
        {"study": "s", "search": {"budget.trials": {"int": [1, 2]}}},
        {"study": "s", "conditions": {"data.size": 100}},
        {"study": "s", "conditions": {"data.size": [-1]}},
        {"study": "s", "first": {"kd.alpha": 1}},
        {"study": "s", "teacher": {"normalize": {"mean": "much"}}},
    ],
)
def test_what_is_wrong_is_underlined(wrong: dict[str, Any], check: Any) -> None:
    assert list(check.iter_errors(wrong))


@pytest.mark.parametrize(
    "right",
    [
        {"study": "s", "search": {"kd": {"alpha": {"uniform": [0, 1]}}, "train.lr": 0.1}},
        {"study": "s", "search": {"kd.rest_weight": {"uniform": [1, 2], "when": {"kd.method": "dkd"}}}},
        {"study": "s", "conditions": {"data.size": [100, "all"]}, "first": None},
        {"study": "s", "teacher": {"normalize": {"mean": [0.5], "std": [0.25]}}},
    ],
)
def test_what_is_right_passes(right: dict[str, Any], check: Any) -> None:
    assert [error.message for error in check.iter_errors(right)] == []

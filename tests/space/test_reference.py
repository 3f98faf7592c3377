"""What is told about the keys of a study: every key, with an example that is right."""

from typing import Any

import pytest
import yaml

from tune_kd.space import datasets, reference
from tune_kd.space.load import load
from tune_kd.space.schema import Data

KEYS = tuple(reference.every_key())
"""Fails where keys.yaml says nothing of a key: add a line there."""


def test_no_key_is_told_of_that_is_none() -> None:
    told = yaml.safe_load(reference.KEYS.read_text(encoding="utf-8"))
    assert set(told) - {key.name for key in KEYS} == set()


@pytest.mark.parametrize("key", KEYS, ids=lambda key: key.name)
def test_every_key_is_told_of_in_words(key: reference.Key) -> None:
    assert len(key.means.split()) >= 3, "add what it means to keys.yaml"
    assert key.means[0].islower() or not key.means[0].isalpha()
    assert not key.means.endswith(".")
    assert "another type" not in key.allowed


REQUIRED = {"folder": {"root": "images"}, "table": {"file": "photos.csv"}}
"""What a data set of a kind cannot do without."""


@pytest.mark.parametrize("key", [key for key in KEYS if key.name not in ("conditions", "search", "first", "published")],
                         ids=lambda key: key.name)  # fmt: skip
def test_every_example_is_a_value_of_its_key(key: reference.Key) -> None:
    wanted = yaml.safe_load(str(key.example))
    found = value_of(key.name, load("# a study\n" + yaml.safe_dump(study_with(key.name, wanted))))
    assert (list(found) if isinstance(found, tuple) else found) == wanted


def study_with(name: str, value: Any) -> dict[str, Any]:
    """A study in which the key means something."""
    raw: dict[str, Any] = {"study": "s"}
    if name == "data.weight":
        raw["data"] = {"source": "scanned+drawn"}
    if name in ("teacher.tune", "teacher.head_lr"):
        raw["teacher"] = {"pretrained": True}
    if name == "teacher.ema":
        raw["teacher"] = {"checkpoint": "weights.pt"}
    if name == "kd.momentum_gap":
        raw["train"] = {"optimizer": "sgd"}
    if name.startswith("kd.teachers"):
        raw["teachers"] = [{"model": "digits_student"}]
    *sections, leaf = name.split(".")
    if sections == ["data"] and leaf not in Data.model_fields:
        kind = datasets.owners(leaf)[0]
        raw["data"] = {"dataset": kind} | REQUIRED.get(kind, {})
    here = raw
    for part in sections:
        here = here.setdefault(part, {})
    here[leaf] = value
    return raw


def value_of(name: str, study: Any) -> Any:
    for part in name.split("."):
        study = getattr(study, part)
    return study

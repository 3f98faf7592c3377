"""A study's modes: which is chosen, what it changes, and what is left of it once loaded."""

import pytest

from tune_kd.errors import InputError
from tune_kd.space.domains import Grid, Uniform
from tune_kd.space.load import dump, load

EXAMPLE = """\
study: example
data: {split: {test: 0.3}}
conditions: {data.size: [100, all]}
search:
  kd.alpha: {uniform: [0.1, 1]}
  train.lr: {loguniform: [1e-4, 1e-1]}
first: [{kd.alpha: 0.9}]
modes:
  replicate:
    conditions: null
    search: null
    search.kd.temperature: {grid: [1, 2]}
    first: null
    kd: {alpha: 0.25}
    data: {split: {validation: 100}}
    budget.repeats: 3
  fixed: {train.lr: 0.01, search: {kd: {alpha: {uniform: [0, 0.5]}}}, first: []}
  "data.dataset=cifar10": {conditions.data.size: [800]}
"""


def test_without_a_mode_the_study_stands_as_written() -> None:
    plain = EXAMPLE.partition("modes:")[0]
    assert load(EXAMPLE) == load(EXAMPLE, ["mode=search"]) == load(plain)
    assert load(EXAMPLE).mode == "search"


def test_a_mode_replaces_removes_and_leaves_the_rest() -> None:
    study = load(EXAMPLE, ["mode=replicate"])
    assert (study.mode, study.conditions, study.first) == ("replicate", {}, ())
    assert study.search == {"kd.temperature": Grid((1.0, 2.0))}
    assert (study.kd.alpha, study.budget.repeats) == (0.25, 3)
    assert (study.data.split.test, study.data.split.validation) == (0.3, 100)


def test_a_key_that_a_mode_fixes_is_no_longer_searched() -> None:
    study = load(EXAMPLE, ["mode=fixed"])
    assert study.train.lr == 0.01
    assert study.search == {"kd.alpha": Uniform(0, 0.5)}


def test_the_file_may_name_its_mode_and_an_override_decides() -> None:
    named = f"mode: replicate\n{EXAMPLE}"
    assert load(named) == load(EXAMPLE, ["mode=replicate"])
    assert load(named, ["mode=search"]) == load(EXAMPLE)
    assert load(EXAMPLE, ["mode=fixed", "mode=replicate"]).mode == "replicate"


def test_overrides_come_after_the_mode_wherever_they_stand() -> None:
    study = load(EXAMPLE, ["kd.alpha=0.7", "mode=replicate", "search.kd.temperature.grid=[8]"])
    assert (study.kd.alpha, study.search["kd.temperature"]) == (0.7, Grid((8.0,)))


def test_a_mode_named_like_an_override_comes_with_it() -> None:
    study = load(EXAMPLE, ["data.dataset = cifar10"])
    assert (study.mode, study.data.dataset, study.conditions) == ("search", "cifar10", {"data.size": (800,)})
    both = load(EXAMPLE, ["mode=replicate", "data.dataset=cifar10"])
    assert (both.mode, both.conditions, both.kd.alpha) == ("replicate", {"data.size": (800,)}, 0.25)
    assert load(EXAMPLE, ["data.dataset=cifar100"]).conditions == {"data.size": (100, "all")}
    with pytest.raises(InputError, match=r"Modes of this study: search, replicate, fixed\.$"):
        load(EXAMPLE, ["mode=data.dataset=cifar10"])


def test_a_study_written_out_keeps_the_name_of_its_mode() -> None:
    study = load(EXAMPLE, ["mode=replicate"])
    text = dump(study)
    assert "modes" not in text
    assert load(text) == load(text, ["mode=replicate"]) == study
    with pytest.raises(InputError, match=r'mode = "search": no such mode. Modes of this study: replicate\.'):
        load(text, ["mode=search"])

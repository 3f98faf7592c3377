"""What a study makes of itself: rungs, cells, arms, suggestions, grids and the settings of a trial."""

import itertools
import pickle
import subprocess
import sys

import optuna
import pytest
from optuna.trial import FixedTrial

from tune_kd.errors import InputError
from tune_kd.names import DISTILLED, SCRATCH
from tune_kd.space.load import load
from tune_kd.space.schema import SEARCHABLE
from tune_kd.space.study import RARE, Study, cells, constants, grid_points, resolve, searched_keys, suggest, varying

optuna.logging.set_verbosity(optuna.logging.WARNING)

EXAMPLE = """
study: example
conditions:
  data.source: [drawn, drawn+scanned]
  data: {size: [100, all]}
search:
  kd.rest_weight: {uniform: [0.5, 8], when: {kd.method: [dkd]}}
  kd.method: {choice: [kd, dkd]}
  kd: {alpha: {uniform: [0.1, 1.0]}}
  train.lr: {loguniform: [1e-4, 1e-1]}
  train.batch_size: {int: [16, 130], step: 16}
  train.warmup_epochs: {int: [1, 3], log: true, when: {kd.method: dkd}}
  train.nesterov: true
  data.weight: {uniform: [0.2, 0.8]}
first: [{kd.alpha: 0.9}]
"""


@pytest.fixture(scope="module")
def study() -> Study:
    return load(EXAMPLE)


def ask(study: Study, arm: str, cell: dict[str, object], count: int = 20) -> list[dict[str, object]]:
    sampler = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    return [suggest(study, arm, cell, sampler.ask()) for _ in range(count)]


def test_cells_are_every_combination_in_order(study: Study) -> None:
    assert cells(study) == (
        {"data.source": "drawn", "data.size": 100},
        {"data.source": "drawn", "data.size": "all"},
        {"data.source": "drawn+scanned", "data.size": 100},
        {"data.source": "drawn+scanned", "data.size": "all"},
    )
    assert cells(load("study: x\n")) == ({},)


def test_searched_keys_put_parents_first_and_scratch_has_no_distillation(study: Study) -> None:
    shared = ("train.lr", "train.batch_size", "train.warmup_epochs", "data.weight")
    assert searched_keys(study, DISTILLED) == ("kd.method", "kd.rest_weight", "kd.alpha", *shared)
    assert searched_keys(study, SCRATCH) == shared


def test_suggestions_are_whole_valid_and_conditional(study: Study) -> None:
    even, plain = cells(study)[2], cells(study)[0]
    for config in ask(study, DISTILLED, even):
        assert set(config) == set(varying(study)) == SEARCHABLE - set(RARE) | {"kd.target_weight", "kd.rest_weight"}
        assert config["train.nesterov"] is True
        assert config["train.batch_size"] in range(16, 129, 16)
        assert all(study.search[key].contains(config[key]) for key in ("kd.alpha", "train.lr", "data.weight"))
        if config["kd.method"] == "kd":
            assert config["kd.rest_weight"] == study.kd.rest_weight
            assert config["train.warmup_epochs"] == study.train.warmup_epochs
        else:
            assert study.search["kd.rest_weight"].contains(config["kd.rest_weight"])
            assert config["train.warmup_epochs"] in (1, 2, 3)
        assert resolve(study, config).data.weight == config["data.weight"]
    assert {config["data.weight"] for config in ask(study, DISTILLED, plain)} == {None}


def test_control_searches_the_same_dimensions_but_those_of_distillation(study: Study) -> None:
    trial = FixedTrial({"train.lr": 0.01, "train.batch_size": 32, "train.warmup_epochs": 2, "data.weight": 0.5})
    config = suggest(study, SCRATCH, cells(study)[2], trial)
    assert set(trial.params) == set(searched_keys(study, SCRATCH))
    assert {key: value for key, value in config.items() if key.startswith("kd.")} == {
        key: getattr(study.kd, key.removeprefix("kd.")) for key in varying(study) if key.startswith("kd.")
    }


def test_same_seed_same_suggestions(study: Study) -> None:
    assert ask(study, DISTILLED, cells(study)[0], 5) == ask(study, DISTILLED, cells(study)[0], 5)


def test_grid_points_are_the_product_less_what_does_not_count() -> None:
    grid = load(
        "study: x\nconditions: {kd.method: [kd, dkd]}\nbudget: {trials: 6}\nsearch:\n"
        "  kd.alpha: {grid: [0.1, 0.9]}\n  kd.rest_weight: {grid: [1, 4, 8], when: {kd.method: dkd}}\n"
        "  train.lr: {uniform: [0.1, 1]}\n"
    )
    product = tuple({"kd.alpha": a, "kd.rest_weight": w} for a, w in itertools.product((0.1, 0.9), (1.0, 4.0, 8.0)))
    assert grid_points(grid, DISTILLED) == product
    assert grid_points(grid, DISTILLED, {"kd.method": "dkd"}) == product
    assert grid_points(grid, DISTILLED, {"kd.method": "kd"}) == ({"kd.alpha": 0.1}, {"kd.alpha": 0.9})
    assert grid_points(grid, SCRATCH) == ()


def test_a_grid_that_hangs_on_a_grid_branches() -> None:
    grid = load(
        "study: x\nsearch:\n  kd.rest_weight: {grid: [1, 8], when: {kd.method: dkd}}\n"
        "  kd.method: {grid: [kd, dkd]}\nbudget: {trials: 3}\n"
    )
    assert grid_points(grid, DISTILLED) == (
        {"kd.method": "kd"},
        {"kd.method": "dkd", "kd.rest_weight": 1.0},
        {"kd.method": "dkd", "kd.rest_weight": 8.0},
    )


def test_grid_points_are_what_an_enqueued_trial_gets() -> None:
    grid = load("study: x\nsearch: {kd.alpha: {grid: [0, 1]}, data.size: {grid: [5, all]}}\n")
    sampler = optuna.create_study()
    for point in grid_points(grid, DISTILLED):
        sampler.enqueue_trial(point)
    tried = [suggest(grid, DISTILLED, {}, sampler.ask()) for _ in range(4)]
    assert [(config["kd.alpha"], config["data.size"]) for config in tried] == [(0, 5), (0, "all"), (1, 5), (1, "all")]


def test_conditional_constants_apply_when_they_count() -> None:
    fixed = load(
        "study: x\nsearch: {kd.temperature: {constant: 2, when: {kd.alpha: [0.5]}}, kd.alpha: {choice: [0.5, 1]}}\n"
    )
    temperatures = {
        alpha: suggest(fixed, DISTILLED, {}, FixedTrial({"kd.alpha": alpha}))["kd.temperature"] for alpha in (0.5, 1.0)
    }
    assert temperatures == {0.5: 2.0, 1.0: fixed.kd.temperature}
    assert searched_keys(fixed, DISTILLED) == ("kd.alpha",)


def test_resolve_gives_typed_settings_and_nothing_left_to_vary(study: Study) -> None:
    config = constants(study) | {"kd.alpha": 1, "data.size": 100, "student.model": "digits_teacher"}
    own = resolve(study, config)
    assert (own.kd.alpha, own.data.size, own.student.model) == (1.0, 100, "digits_teacher")
    assert (own.train, own.budget, own.seed) == (study.train.model_copy(update={"nesterov": True}), study.budget, 0)
    assert not own.conditions
    assert not own.search
    assert constants(own) == config
    with pytest.raises(InputError, match=r"kd\.alpha = 3: not allowed. Allowed: a number from 0 to 1"):
        resolve(study, {"kd.alpha": 3})
    with pytest.raises(InputError, match=r"kd\.alhpa = 1: unknown key"):
        resolve(study, {"kd.alhpa": 1})


def test_cifar_needs_no_root() -> None:
    assert load("study: x\ndata: {dataset: cifar10}\n").data.root is None
    assert load("study: x\ndata: {dataset: cifar10, root: /images}\n").data.root == "/images"


def test_a_study_travels_to_workers_and_never_changes(study: Study) -> None:
    assert pickle.loads(pickle.dumps(study)) == study
    with pytest.raises(ValueError, match="frozen"):
        study.seed = 5


def test_reading_a_study_needs_no_heavy_library() -> None:
    code = "import sys, tune_kd.space.load; print({'ray', 'mlflow', 'optuna', 'torch'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"

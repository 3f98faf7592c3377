"""The studies that ship: each loads in every mode, and in replicate mode is what its source did."""

import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from optuna.trial import FixedTrial

from tune_kd import plan
from tune_kd.data.splits import Splits
from tune_kd.errors import InputError
from tune_kd.models import build
from tune_kd.names import DISTILLED, SCRATCH
from tune_kd.preparation import Prepared, check
from tune_kd.space.augmentations import mixes
from tune_kd.space.designs import levels
from tune_kd.space.load import dump, load, shipped, studies_folder
from tune_kd.space.study import Study, cells, constants, searched_keys, suggest

FIVE = ("multi_source", "cifar100_resnet32x4", "cifar10_keras_cnn", "cifar10_tiny_cnn", "cifar10_tutorial")
CUT = "data.dataset=cifar10"
RUNS = [(name, mode) for name in FIVE for mode in (["mode=search"], ["mode=replicate"])]
RUNS += [("multi_source", ["mode=search", CUT]), ("multi_source", ["mode=replicate", CUT])]


@pytest.fixture(params=RUNS, ids=lambda run: " ".join([run[0], *run[1]]))
def study(request: pytest.FixtureRequest) -> Study:
    name, settings = request.param
    return load(name, settings)


def test_all_five_ship() -> None:
    assert {*FIVE, "quickstart", "methods", "patient"} == {name for name, _ in shipped()}


def test_it_survives_being_written(study: Study) -> None:
    assert load(dump(study)) == study


def test_every_model_builds_for_its_images(study: Study) -> None:
    classes = 100 if study.data.dataset == "cifar100" else 10
    for name in {study.teacher.model, *levels(study, "student.model")}:
        build(str(name), classes=classes, in_shape=(3, 32, 32))


def test_both_arms_are_tuned_or_neither(study: Study) -> None:
    assert study.control
    distilled, scratch = searched_keys(study, DISTILLED), searched_keys(study, SCRATCH)
    if study.mode == "search":
        assert {"kd.temperature", "train.lr", "train.weight_decay"} <= set(distilled)
        assert len({"kd.alpha", "kd.weight"} & set(distilled)) == 1
        assert set(scratch) == {key for key in distilled if not key.startswith("kd.")}
        assert study.first
    else:
        assert distilled == scratch == ()
        assert plan.make(study).trials == 0


@pytest.mark.parametrize(
    ("name", "settings", "cells", "arms", "trials"),
    [
        ("multi_source", [], 18, 36, 648),
        ("multi_source", ["mode=replicate"], 54, 108, 0),
        ("multi_source", [CUT], 15, 30, 540),
        ("multi_source", ["mode=replicate", CUT], 45, 90, 0),
        ("cifar100_resnet32x4", [], 1, 2, 54),
        ("cifar100_resnet32x4", ["mode=replicate"], 16, 17, 0),
        ("cifar10_keras_cnn", ["mode=replicate"], 1, 2, 0),
        ("cifar10_tiny_cnn", [], 3, 6, 108),
        ("cifar10_tiny_cnn", ["mode=replicate"], 1, 2, 0),
        ("cifar10_tutorial", ["mode=replicate"], 2, 3, 0),
        ("methods", [], 18, 20, 360),
        ("patient", [], 2, 4, 36),
    ],
)
def test_the_plan(name: str, settings: list[str], cells: int, arms: int, trials: int) -> None:
    todo = plan.make(load(name, settings))
    assert (len(todo.cells), len(todo.arms), todo.trials) == (cells, arms, trials)


def test_a_patient_teacher_is_imitated_and_nothing_else() -> None:
    """Both networks on the same views, of images mixed and not mixed, for longer than any other study on digits."""
    study = load("patient", [])
    assert constants(study)["kd.alpha"] == 1
    assert [mixes(kind) for kind in study.conditions["augment.kind"]] == [False, True]
    assert study.budget.epochs > max(load(name, []).budget.epochs for name in ("quickstart", "methods"))
    text = (studies_folder() / "patient.yaml").read_text()
    asked = [line for line in text.splitlines() if line.startswith("#") and "--set" in line]
    settings = [word for line in asked for word in shlex.split(line[1:])]
    given = [settings[at + 1] for at, word in enumerate(settings) if word == "--set" and "…" not in settings[at + 1]]
    cifar = load("patient", [each for each in given if "epoch_images" not in each])
    assert (cifar.data.dataset, cifar.conditions["augment.kind"]) == ("cifar10", ("crop_flip", "crop_flip+mixup"))


SGD = {
    "train.optimizer": "sgd", "train.lr": 0.1, "train.momentum": 0.0, "train.weight_decay": 5e-4,
    "train.schedule": "step",
    "train.step_epochs": 30, "train.gamma": 0.2, "train.batch_size": 128, "augment.kind": "crop_flip",
}  # fmt: skip
TINY = {
    "kd.alpha": 0.7, "kd.temperature": 4.0, "train.optimizer": "adam", "train.lr": 1e-3, "train.weight_decay": 1e-4,
    "train.schedule": "step", "train.step_epochs": 5, "train.gamma": 0.5, "train.batch_size": 128,
    "augment.kind": "crop_flip",
}  # fmt: skip
TUTORIAL = {
    "kd.alpha": 0.25, "train.optimizer": "adam", "train.lr": 1e-3, "train.weight_decay": 0.0,
    "train.schedule": "constant", "train.batch_size": 128, "augment.kind": "none",
}  # fmt: skip
KERAS = {
    "kd.alpha": 0.2, "kd.temperature": 10.0, "augment.kind": "crop_flip+rotation", "train.optimizer": "adam",
    "train.lr": 1e-3, "train.batch_size": 64, "train.weight_decay": 2e-4, "train.decay": "convolutions",
    "train.schedule": "plateau", "train.patience": 5,
}  # fmt: skip
RECIPES: dict[str, tuple[dict[str, Any], int]] = {
    "cifar100_resnet32x4": (SGD, 100),
    "cifar10_keras_cnn": (KERAS, 25),
    "cifar10_tiny_cnn": (TINY, 15),
    "cifar10_tutorial": (TUTORIAL, 10),
}


@pytest.mark.parametrize("name", RECIPES)
def test_replicate_is_the_sources_recipe(name: str) -> None:
    study = load(name, ["mode=replicate"])
    wanted, epochs = RECIPES[name]
    fixed = constants(study)
    assert {key: fixed[key] for key in wanted} == wanted
    assert (study.budget.epochs, study.teacher.epochs) == (epochs, epochs)
    assert study.budget.repeats == 5
    for key in ("optimizer", "lr", "schedule", "batch_size"):
        assert getattr(study.teacher.train, key) == getattr(study.train, key)
    assert study.teacher.augment == study.augment
    assert study.data.overlap
    # A plateau is one of the validation loss; elsewhere all images train.
    assert study.data.split.validation == (5000 if study.train.schedule == "plateau" else 0)
    assert study.train.keep == study.teacher.train.keep == "last"
    assert fixed["data.size"] == fixed["data.source"] == "all"


def test_standardized_logits_are_searched_where_their_paper_found_them_best() -> None:
    """With .1 of cross-entropy beside 9 of theirs, at T 2: no alpha says that."""
    searching = [load(name, []) for name in ("cifar100_resnet32x4", "cifar10_tiny_cnn")]
    for study in searching:
        best = {"kd.weight": 9.0, "kd.ce_weight": 0.1, "kd.temperature": 2.0, "kd.standardize": True}
        assert all(study.search[key].contains(value) for key, value in best.items())
        assert any(best.items() <= dict(point).items() for point in study.first)
        assert "kd.alpha" not in study.search


def test_the_grid_of_cifar100() -> None:
    study = load("cifar100_resnet32x4", ["mode=replicate"])
    assert study.conditions == {"kd.alpha": (0.25, 0.5, 0.75, 1.0), "kd.temperature": (1.0, 2.0, 4.0, 8.0)}
    assert [dict(row.cell) for row in study.published] == [{"kd.alpha": 0.75, "kd.temperature": 4.0}]


@pytest.mark.parametrize("mode", ["search", "replicate"])
def test_cifar100_asks_for_its_teachers_file_and_can_do_without(mode: str, tmp_path: Path) -> None:
    settings = [f"mode={mode}", f"teacher.checkpoint={tmp_path / 'none.pth'}"]
    asking = load("cifar100_resnet32x4", settings)
    images = np.zeros((8, 3, 32, 32), np.uint8)
    splits = Splits(images, np.zeros(8, np.int64), ("a",) * 100, *[np.arange(8)] * 3, {"all": np.arange(8)}, {})
    prepared = Prepared(splits, (0.5,) * 3, (0.25,) * 3, ())
    with pytest.raises(InputError, match=r"there is no file .*none.pth(.|\n)*teacher.checkpoint=null trains one"):
        check(plan.make(asking), prepared)
    assert load("cifar100_resnet32x4", [f"mode={mode}", "teacher.checkpoint=null"]).teacher.checkpoint is None


@pytest.mark.parametrize(
    ("name", "figures"),
    [
        ("cifar100_resnet32x4", [(0.7833, 0.5372, 0.5639)]),
        # Its "distilled student" is its teacher, so it stands in the note alone.
        ("cifar10_keras_cnn", [(0.89, 0.79, None)]),
        ("cifar10_tiny_cnn", [(0.8313, 0.7270, 0.7086)]),
        (
            "cifar10_tutorial",
            [(0.7510, 0.6986, 0.7080), (None, 0.7031, 0.7071), (None, 0.7031, 0.7218), (0.7443, 0.6951, 0.7189)],
        ),
    ],
)
def test_published_figures(name: str, figures: list[tuple[float | None, ...]]) -> None:
    for mode in ("search", "replicate"):
        rows = load(name, [f"mode={mode}"]).published
        assert [(row.teacher, row.scratch, row.distilled) for row in rows] == figures


def test_the_swapped_arguments_are_told() -> None:
    (row,) = load("cifar10_keras_cnn", []).published
    assert "Distiller(teacher, student)" in row.note


def test_students_of_multi_source_never_see_the_teachers_images_and_are_tested_on_real_ones() -> None:
    for settings, teacher, real in (([], "cifar10", ("google", "bing")), ([CUT], "words4", ("words1", "words2"))):
        study = load("multi_source", settings)
        assert (study.data.teacher_on, study.data.evaluate_on) == ((teacher,), real)
        assert not any(teacher in source for source in study.conditions["data.source"])
        assert study.conditions["data.size"] == (800, 4000, 8000)
    assert load("multi_source", [CUT]).data.root is None


def test_what_only_methods_that_were_taken_out_know_is_not_searched() -> None:
    fewer = load("methods", ["conditions.kd.method=[kd, at]"])
    assert "kd.rld_rest" in searched_keys(load("methods", []), DISTILLED)
    searched = searched_keys(fewer, DISTILLED)
    assert searched == ("kd.weight", "kd.temperature", "train.lr", "train.weight_decay")
    for cell in cells(fewer):
        assert set(searched) <= set(suggest(fewer, DISTILLED, cell, FixedTrial(dict(fewer.first[0]))))

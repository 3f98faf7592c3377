"""Students of several sizes: each is one of its own, with its own cost, and sees the teacher's view at its size."""

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.tuning.played import Play
from tune_kd import names
from tune_kd.errors import InputError
from tune_kd.space.designs import called, designs, front_models
from tune_kd.space.load import load
from tune_kd.space.study import cells, resolve, suggest
from tune_kd.summary import front
from tune_kd.training.costs import costs
from tune_kd.training.images import Images

SIDES = "search.student.image_size={choice: [8, 16]}"
MODELS = "search.student.model={choice: [resnet8, digits_student]}"
BOTH = ("objectives=[accuracy,macs]", SIDES, MODELS)
EVERY = ("resnet8 at 8 px", "resnet8 at 16 px", "digits_student at 8 px", "digits_student at 16 px")


def test_a_student_is_called_by_its_model_and_by_its_size_where_that_varies() -> None:
    assert tuple(designs(load("quickstart", [SIDES, MODELS]))) == EVERY
    assert tuple(designs(load("quickstart", ["student.image_size=16", MODELS]))) == ("resnet8", "digits_student")
    assert called({"student.model": "a", "student.image_size": float("nan")}) == "a"


def test_a_constant_size_is_no_part_of_a_trials_settings() -> None:
    study = load("quickstart", ["student.image_size=16"])
    config = suggest(study, names.DISTILLED, cells(study)[0], _First())
    assert names.STUDENT_SIDE not in config
    assert resolve(study, config).student.image_size == 16


@pytest.mark.parametrize("when", ["{student.model: [resnet8]}", "{student.model: resnet8}"])
def test_a_size_that_hangs_on_the_model_goes_with_that_alone(when: str) -> None:
    study = load("quickstart", [f"search.student.image_size={{choice: [16], when: {when}}}", MODELS])
    assert tuple(designs(study)) == ("resnet8 at 16 px", "digits_student")


def test_a_front_is_of_models_at_sizes_and_each_costs_its_own() -> None:
    study = load("quickstart", BOTH)
    assert front_models(study) == EVERY
    found = costs(study, 10, lambda side: (1, side or 8, side or 8))
    assert tuple(found) == EVERY
    assert found["resnet8 at 16 px"] == pytest.approx(4 * found["resnet8 at 8 px"], rel=0.01)
    assert front_models(load("quickstart", ["objectives=[accuracy,macs]", SIDES])) != ()
    assert front_models(load("quickstart", [MODELS])) == ()


def test_each_student_of_a_front_is_tried(tmp_path: Path) -> None:
    play = Play(tmp_path, *BOTH, "conditions=null", "first=[]", "budget.trials=6")
    play.run()
    for arm in play.plan.arms:
        assert {called(entry.config) for entry, _ in play.ledger.entries(arm)} == set(EVERY)


def test_with_sizes_as_conditions_a_cell_tries_its_own(tmp_path: Path) -> None:
    sides = "conditions={student.image_size: [8, 16]}"
    play = Play(tmp_path, "objectives=[accuracy,macs]", sides, MODELS, "first=[]", "budget.trials=4")
    play.run()
    for arm in play.plan.arms:
        side = arm.cell[names.STUDENT_SIDE]
        asked = {called(entry.config) for entry, _ in play.ledger.entries(arm)}
        assert asked == {f"resnet8 at {side} px", f"digits_student at {side} px"}


def test_points_of_a_front_are_told_apart_by_their_size() -> None:
    pandas = pytest.importorskip("pandas")
    rows = [{"config.student.model": "resnet8", "config.student.image_size": side, "cost": side} for side in (8, 16, 8)]
    found = front.students(pandas.DataFrame(rows))
    assert {name: (own["student.image_size"], row["cost"]) for name, (own, row) in found.items()} == {
        "resnet8 at 8 px": (8, 8),
        "resnet8 at 16 px": (16, 16),
    }


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("search.student.image_size={int: [8, 32]}", "chosen from a list"),
        ("search.student.image_size={choice: [8, null]}", "told apart"),
        ("conditions={student.image_size: [8, null]}", "told apart"),
        ("search.student.image_size={choice: [2, 8]}", "a whole number from 4 to 1024"),
    ],
)
def test_what_cannot_be_a_size_is_refused(setting: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        load("quickstart", [setting])


def test_at_each_size_a_student_sees_the_teachers_view() -> None:
    """Each is the other, resized: a crop is cut once, at the images' own size."""
    rough = np.random.default_rng(0).integers(0, 256, (4, 3, 8, 8), dtype=np.uint8)
    pixels = torch.from_numpy(rough.repeat(8, 2).repeat(8, 3))
    images = Images(pixels, torch.zeros(4, dtype=torch.long), (0.0,) * 3, (1.0,) * 3, 2)
    views = pixels.roll((3, -5), (2, 3))
    whole = images.inputs(views)
    for side in (16, 32):
        seen = images.seen(images.mean, images.std, side).inputs(views)
        assert seen.shape == (4, 3, side, side)
        step = 64 // side
        blocks = whole.unfold(2, step, step).unfold(3, step, step).mean((-1, -2))
        assert torch.corrcoef(torch.stack([seen.flatten(), blocks.flatten()]))[0, 1] > 0.97


class _First:
    """A trial that takes the first of what it may."""

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float:
        return low

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1, log: bool = False) -> int:
        return low

    def suggest_categorical(self, name: str, choices: "list[object]") -> object:
        return choices[0]

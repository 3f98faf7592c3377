"""A teacher that knows no more than chance, or says other classes than it means, is found out, and the cause is the
one that was built in."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from tune_kd.models import registry
from tune_kd.models.network import head_of
from tune_kd.space.load import load
from tune_kd.teacher import making
from tune_kd.teacher.doubts import _Looked, _order, doubts
from tune_kd.teacher.making import Teacher
from tune_kd.training.images import Images

CLASSES = ("ant", "bee", "cat", "dog", "eel")
ALL = torch.arange(250)


class Brightness(nn.Module):
    """Knows the class by how bright the middle of a picture is, in 0…1, if it is of the size that it was made for."""

    def __init__(self, classes: int, side: int) -> None:
        super().__init__()
        self.side = side
        self.body = nn.Linear(1, 8, bias=False)
        self.head = nn.Linear(8, classes)

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        level = pictures.mean((1, 2, 3)) if pictures.shape[-1] >= self.side else torch.zeros(len(pictures))
        steps = torch.arange(self.head.out_features) / self.head.out_features + 0.1
        near = -((level[:, None] - steps) ** 2) * 100
        return near @ self.head.weight[:, : self.head.out_features].t()


@pytest.fixture
def data() -> Images:
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(250) % 5
    level = ((labels / 5 + 0.1) * 255).view(-1, 1, 1, 1) + torch.randint(-8, 8, (250, 3, 64, 64), generator=generator)
    return Images(level.clamp(0, 255).to(torch.uint8), labels, (0.5,) * 3, (0.29,) * 3, 5)


@pytest.fixture
def teacher() -> Teacher:
    registry.give({"brightness": lambda classes, in_shape: Brightness(classes, 64)})
    model = Brightness(5, 64)
    weights = model.state_dict() | {"head.weight": torch.eye(5, 8)}
    return Teacher("brightness", weights, (0.0,) * 3, (1.0,) * 3, (3, 64, 64), 5)


def test_one_that_knows_its_classes_is_left_alone(teacher: Teacher, data: Images) -> None:
    assert doubts(teacher, data, ALL, CLASSES) is None


def test_another_order_of_classes_is_offered_and_mends_it(teacher: Teacher, data: Images, tmp_path: Path) -> None:
    mixed = torch.tensor([3, 0, 4, 1, 2])
    wrong = replace(teacher, weights={**teacher.weights, "head.weight": teacher.weights["head.weight"][mixed]})
    said = doubts(wrong, data, ALL, CLASSES)
    assert said is not None
    assert "0.0% of the time" in said
    assert "teacher.classes: [dog, ant, eel, bee, cat]; then it is right 100.0%" in said
    torch.save(dict(wrong.weights), tmp_path / "wrong.pt")
    study = load("study: x\n", ["teacher.model=brightness", f"teacher.checkpoint={tmp_path / 'wrong.pt'}",
                                "teacher.classes=[dog, ant, eel, bee, cat]",
                                "teacher.normalize={mean: [0.0, 0.0, 0.0], std: [1.0, 1.0, 1.0]}"])  # fmt: skip
    assert doubts(making.load(study, tmp_path / "wrong.pt", data, CLASSES), data, ALL, CLASSES) is None


def test_an_order_that_is_right_in_part_is_found_out_as_well(teacher: Teacher, data: Images) -> None:
    """Three of five classes take each other's places; two in five answers are right, far more than by chance."""
    mixed = torch.tensor([0, 2, 3, 1, 4])
    wrong = replace(teacher, weights={**teacher.weights, "head.weight": teacher.weights["head.weight"][mixed]})
    said = doubts(wrong, data, ALL, CLASSES)
    assert said is not None
    assert "it is right 40.0% of the time. The likeliest cause: the order of its classes" in said
    assert "teacher.classes: [ant, cat, dog, bee, eel]; then it is right 100.0%" in said


@pytest.mark.parametrize("labelled", [0.5, 0.8])
def test_a_mediocre_teacher_is_left_alone(teacher: Teacher, data: Images, labelled: float) -> None:
    generator = torch.Generator().manual_seed(1)
    right = torch.rand(250, generator=generator) < labelled
    labels = torch.where(right, data.labels, torch.randint(5, (250,), generator=generator))
    assert doubts(teacher, replace(data, labels=labels), ALL, CLASSES) is None


@pytest.mark.parametrize("classes", [2, 10, 100])
def test_no_order_is_offered_where_there_is_none(classes: int) -> None:
    """Teachers of every quality, which take some classes for others as networks do, or say one class for ever."""
    rng, names = np.random.default_rng(0), tuple(map(str, range(classes)))
    for accuracy in np.linspace(0.55 if classes == 2 else 0.3, 1, 100):
        labels = rng.integers(classes, size=256)
        alike = (labels + 1) // 2 * 2 % classes if rng.random() < 0.5 else rng.integers(classes, size=256)
        said = np.where(rng.random(256) < accuracy, labels, alike)
        assert _order(_Looked(said, labels, classes), names) is None
        crowded = np.where(rng.random(256) < 0.6, 1, labels)
        assert _order(_Looked(np.zeros(256, dtype=np.int64), crowded, classes), names) is None


def test_another_size_is_named(teacher: Teacher, data: Images) -> None:
    said = doubts(replace(teacher, shape=(3, 32, 32)), data, ALL, CLASSES)
    assert said is not None
    assert "right 20.0% of the time, as chance is. The likeliest cause: the size of its images" in said
    assert "Set teacher.image_size: 64; then it is right 100.0%" in said


def test_another_normalisation_is_named(teacher: Teacher, data: Images) -> None:
    wrong = replace(teacher, mean=(9.0,) * 3, std=(1.0,) * 3)
    near = replace(data, mean=(0.0,) * 3, std=(1.0,) * 3)
    said = doubts(wrong, near, ALL, CLASSES)
    assert said is not None
    assert "the normalisation of its images. Set teacher.normalize: dataset; then it is right 100.0%" in said


def test_where_nothing_helps_it_says_so(teacher: Teacher, data: Images) -> None:
    broken = replace(teacher, weights={**teacher.weights, "head.weight": torch.zeros(5, 8)})
    said = doubts(broken, data, ALL, CLASSES)
    assert said is not None
    assert "Neither another order of classes" in said


def test_the_head_is_what_has_an_output_for_each_class() -> None:
    assert head_of(Brightness(5, 8), 5) == ("head.weight", "head.bias")

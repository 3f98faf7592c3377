"""A teacher that knows no more than chance is found out, and the cause is the one that was built in."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from tune_kd.models import registry
from tune_kd.models.network import head_of
from tune_kd.space.load import load
from tune_kd.teacher import making
from tune_kd.teacher.doubts import doubts
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
        level = (
            pictures[:, :, : self.side // 2].mean((1, 2, 3))
            if pictures.shape[-1] >= self.side
            else pictures[:, 0, 0, 0]
        )
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

"""What the tests on a GPU train: small networks, made images, a teacher whose weights are drawn."""

import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from tune_kd import names
from tune_kd.data.views import Views
from tune_kd.models import build
from tune_kd.space import methods
from tune_kd.space.load import load
from tune_kd.space.study import Study
from tune_kd.teacher.guide import Guide
from tune_kd.teacher.making import Teacher
from tune_kd.training.images import Images
from tune_kd.training.train import Job, train

CPU, GPU = torch.device("cpu"), torch.device("cuda")
METHODS = tuple(methods.METHODS)
TIME = (names.SECONDS, names.IMAGES_PER_SECOND)
CLASSES, SHAPE, BATCH, TRAIN, VALIDATION = 10, (1, 8, 8), 16, 640, 100
_numbers = itertools.count()

STUDY = f"""
study: on_a_gpu
question: The same?
student: {{model: digits_student}}
teacher: {{model: digits_teacher}}
train: {{lr: 0.003, batch_size: {BATCH}, schedule: cosine}}
augment: {{kind: crop_flip, pad: 1}}
search: {{kd.alpha: {{uniform: [0.1, 1.0]}}}}
budget: {{trials: 3, epochs: 6}}
precision: fp32
"""


def study(*settings: str) -> Study:
    return load(STUDY, settings)


def images(shape: tuple[int, int, int] = SHAPE, number: int = TRAIN + VALIDATION) -> Images:
    """A pattern a class, under noise."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(number) % CLASSES
    patterns = torch.randint(0, 120, (CLASSES, *shape), generator=generator)
    noise = torch.randint(0, 136, (number, *shape), generator=generator)
    return Images((patterns[labels] + noise).byte(), labels, (0.5,) * shape[0], (0.25,) * shape[0], CLASSES)


def teacher() -> Teacher:
    torch.manual_seed(7)
    module = build("digits_teacher", classes=CLASSES, in_shape=SHAPE)
    return Teacher("digits_teacher", module.state_dict(), (0.5,), (0.25,), SHAPE, CLASSES)


def guide(settings: Study, data: Images, name: str = "") -> Guide:
    """With a cache of its own, unless it is named."""
    return Guide.of(teacher(), data, name or f"own {next(_numbers)}", Views.of(settings.augment, settings.seed))


def curve(
    settings: Study, data: Images, guided: Any, saved: Path, until: int, reported: int = 0
) -> tuple[nn.Module, list[Mapping[str, float]]]:
    rows: list[dict[str, float]] = []
    train_index = torch.arange(TRAIN)
    job = Job(settings, train_index, torch.arange(TRAIN, TRAIN + VALIDATION), 1, until, reported)
    model = train(job, data, guided, rows.append, saved)
    assert model is not None
    return model, [{key: value for key, value in row.items() if key not in TIME} for row in rows]


def without_chance(model: nn.Module) -> nn.Module:
    """Dropout draws other numbers on another device."""
    for module in model.modules():
        if isinstance(module, nn.Dropout | nn.Dropout1d | nn.Dropout2d):
            module.p = 0.0
    return model

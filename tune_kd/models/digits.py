"""Models for 8x8 digits: a teacher that learns them nearly perfectly, and students too small to."""

from torch import nn

from tune_kd.models.layout import ImageShape
from tune_kd.models.pieces import pooled, relu


def _conv(inside: int, outside: int) -> list[nn.Module]:
    return [nn.Conv2d(inside, outside, 3, padding=1, bias=False), nn.BatchNorm2d(outside), relu()]


def digits_teacher(*, classes: int, in_shape: ImageShape) -> nn.Module:
    features = 64 * (in_shape[1] // 4) * (in_shape[2] // 4)
    return nn.Sequential(
        *_conv(in_shape[0], 32),
        *pooled(_conv(32, 32)),
        *_conv(32, 64),
        *pooled(_conv(64, 64)),
        nn.Flatten(),
        nn.Dropout(0.3),
        nn.Linear(features, 128),
        relu(),
        nn.Linear(128, classes),
    )


def _student(first: int, second: int, hidden: int, classes: int, in_shape: ImageShape) -> nn.Module:
    features = second * (in_shape[1] // 4) * (in_shape[2] // 4)
    return nn.Sequential(
        *pooled([nn.Conv2d(in_shape[0], first, 3, padding=1), relu()]),
        *pooled([nn.Conv2d(first, second, 3, padding=1), relu()]),
        nn.Flatten(),
        nn.Linear(features, hidden),
        relu(),
        nn.Linear(hidden, classes),
    )


def digits_student(*, classes: int, in_shape: ImageShape) -> nn.Module:
    return _student(8, 16, 64, classes, in_shape)


def digits_student_tiny(*, classes: int, in_shape: ImageShape) -> nn.Module:
    return _student(4, 8, 24, classes, in_shape)

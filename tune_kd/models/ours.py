"""The studies' own networks."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final

from torch import Tensor, nn

from tune_kd.errors import InputError, did_you_mean
from tune_kd.models import cnn, digits, resnet
from tune_kd.models.layout import ImageShape
from tune_kd.models.network import Inputs, Pretrained


@dataclass(frozen=True)
class Entry:
    """How to make a model, and the smallest height and width that survive its pools."""

    make: Callable[..., nn.Module]
    smallest: int = 1


MODELS: Final[Mapping[str, Entry]] = {
    **{f"resnet{depth}": Entry(partial(resnet.resnet, depth=depth)) for depth in (8, 14, 20, 32, 44, 56, 110)},
    **{f"resnet{depth}x4": Entry(partial(resnet.resnet_x4, depth=depth)) for depth in (8, 32)},
    **{f"resnet{depth}_a": Entry(partial(resnet.resnet_a, depth=depth)) for depth in (20, 32, 44, 56, 110)},
    "cnn4": Entry(cnn.cnn4, smallest=8),
    "keras_teacher": Entry(cnn.keras_teacher, smallest=8),
    "keras_student": Entry(cnn.keras_student, smallest=8),
    "tiny_teacher": Entry(cnn.tiny_teacher),
    "tiny_student": Entry(cnn.tiny_student, smallest=8),
    "deepnn": Entry(cnn.deepnn, smallest=4),
    "lightnn": Entry(cnn.lightnn, smallest=4),
    "digits_teacher": Entry(digits.digits_teacher, smallest=4),
    "digits_student": Entry(digits.digits_student, smallest=4),
    "digits_student_tiny": Entry(digits.digits_student_tiny, smallest=4),
}


def build(name: str, classes: int, in_shape: ImageShape) -> nn.Module:
    if name not in MODELS:
        raise InputError(
            f"unknown model '{name}' (student.model or teacher.model).{did_you_mean(name, MODELS)} "
            f"Allowed: {', '.join(MODELS)}; torchvision.<classifier>; timm.<network> or hf-hub:<owner>/<name>; "
            "or your own as module:function."
        )
    entry = MODELS[name]
    if min(in_shape[1:]) < entry.smallest:
        raise InputError(
            f"model '{name}' needs images of at least {entry.smallest} x {entry.smallest} pixels; "
            f"these are {shown(in_shape)}. Choose a larger data.image_size or another model."
        )
    return entry.make(classes=classes, in_shape=in_shape)


def states(classes: int, in_shape: ImageShape) -> dict[str, Mapping[str, Tensor]]:
    """Names and shapes of the weights of every network that takes such images."""
    return {
        name: entry.make(classes=classes, in_shape=in_shape).state_dict()
        for name, entry in MODELS.items()
        if min(in_shape[1:]) >= entry.smallest
    }


def inputs(name: str) -> Inputs | None:
    return None


def pretrained(name: str, wanted: bool | str) -> Pretrained:
    raise InputError(
        f"model '{name}' has no pretrained weights of its own (pretrained: {wanted}). Name a file of weights, take a "
        "network of timm or torchvision, or leave `pretrained` out."
    )


def shown(in_shape: ImageShape) -> str:
    channels, height, width = in_shape
    return f"{channels} x {height} x {width} (channels x height x width)"

"""Models by name: the studies' own, torchvision's classifiers, and a user's `module:function`."""

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from types import ModuleType
from typing import Final

import torch
from torch import nn

from tune_kd.errors import InputError, did_you_mean
from tune_kd.models import cnn, digits, resnet

Shape = tuple[int, int, int]

TORCHVISION: Final = "torchvision."


@dataclass(frozen=True)
class Entry:
    """How to make a model, and the smallest height and width that survive its pools."""

    make: Callable[..., nn.Module]
    smallest: int = 1


_MODELS: Final[Mapping[str, Entry]] = {
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


def names() -> tuple[str, ...]:
    return tuple(_MODELS)


def build(name: str, *, classes: int, in_shape: Shape) -> nn.Module:
    """A new model, its weights drawn from torch's global seed."""
    if name.startswith(TORCHVISION):
        return _from_torchvision(name, classes, in_shape)
    if ":" in name:
        return _from_user(name, classes, in_shape)
    return _own(name, in_shape).make(classes=classes, in_shape=in_shape)


def check(name: str, *, classes: int, in_shape: Shape) -> None:
    """Refuse early what a trial could not train: an unknown name, images that the model cannot take."""
    if name in _MODELS:
        _own(name, in_shape)
        return
    with torch.random.fork_rng(devices=[]), torch.no_grad():  # a check must not change what is trained afterwards
        model = build(name, classes=classes, in_shape=in_shape).eval()
        try:
            logits = model(torch.zeros(2, *in_shape))
        except Exception as error:
            raise InputError(
                f"model '{name}' does not take images of shape {_shown(in_shape)}: {error}. "
                "Choose a larger data.image_size or another model."
            ) from error
    if not isinstance(logits, torch.Tensor) or logits.shape != (2, classes):
        got = f"shape {tuple(logits.shape)}" if isinstance(logits, torch.Tensor) else f"a {type(logits).__name__}"
        raise InputError(
            f"model '{name}' must return one tensor of logits, (images, classes): "
            f"for 2 images and {classes} classes it returned {got}, not shape (2, {classes})."
        )


def _shown(in_shape: Shape) -> str:
    channels, height, width = in_shape
    return f"{channels} x {height} x {width} (channels x height x width)"


def _own(name: str, in_shape: Shape) -> Entry:
    if name not in _MODELS:
        raise InputError(
            f"unknown model '{name}' (student.model or teacher.model).{did_you_mean(name, _MODELS)} "
            f"Allowed: {', '.join(_MODELS)}; or torchvision.<classifier>; or your own as module:function."
        )
    entry = _MODELS[name]
    if min(in_shape[1:]) < entry.smallest:
        raise InputError(
            f"model '{name}' needs images of at least {entry.smallest} x {entry.smallest} pixels; "
            f"these are {_shown(in_shape)}. Choose a larger data.image_size or another model."
        )
    return entry


def _from_torchvision(name: str, classes: int, in_shape: Shape) -> nn.Module:
    from torchvision import models  # takes seconds: only those who ask for it pay

    wanted = name.removeprefix(TORCHVISION)
    known = models.list_models(module=models)
    if wanted not in known:
        raise InputError(
            f"unknown torchvision classifier '{wanted}' in model '{name}'.{did_you_mean(wanted, known)} "
            f"Allowed: {', '.join(known)}."
        )
    if in_shape[0] != 3:
        raise InputError(
            f"model '{name}' takes images of 3 channels; these are {_shown(in_shape)}. "
            f"Choose another model, for example one of: {', '.join(_MODELS)}."
        )
    extra = {"aux_logits": False, "init_weights": True} if wanted in ("googlenet", "inception_v3") else {}
    model: nn.Module = models.get_model(wanted, weights=None, num_classes=classes, **extra)
    return model


def _from_user(name: str, classes: int, in_shape: Shape) -> nn.Module:
    module_name, _, function_name = name.partition(":")
    module = _import(name, module_name)
    function = getattr(module, function_name, None)
    if not callable(function):
        there = [key for key, value in vars(module).items() if callable(value) and not key.startswith("_")]
        raise InputError(
            f"model '{name}': {module_name} has no function '{function_name}'.{did_you_mean(function_name, there)} "
            "Write module:function; it is called with classes=... and in_shape=(channels, height, width)."
        )
    try:
        model = function(classes=classes, in_shape=in_shape)
    except Exception as error:
        raise InputError(
            f"model '{name}': calling {function_name}(classes={classes}, in_shape={in_shape}) failed with "
            f"{type(error).__name__}: {error}"
        ) from error
    if not isinstance(model, nn.Module):
        raise InputError(f"model '{name}' must return a torch.nn.Module, not a {type(model).__name__}.")
    return model


def _import(name: str, module_name: str) -> ModuleType:
    try:
        return importlib.import_module(module_name)
    except Exception as error:  # whatever the user's file raises while it is imported
        raise InputError(
            f"model '{name}': cannot import '{module_name}': {type(error).__name__}: {error}. "
            "Start from the folder that holds it, or put that folder on PYTHONPATH."
        ) from error

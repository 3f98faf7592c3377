"""A user's own network as `module:function`."""

import importlib
from types import ModuleType

from torch import nn

from tune_kd.errors import InputError, did_you_mean
from tune_kd.models import ours
from tune_kd.models.layout import ImageShape
from tune_kd.models.network import Inputs, Pretrained


def build(name: str, classes: int, in_shape: ImageShape) -> nn.Module:
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


def inputs(name: str) -> Inputs | None:
    return None


def pretrained(name: str, wanted: bool | str) -> Pretrained:
    return ours.pretrained(name, wanted)


def _import(name: str, module_name: str) -> ModuleType:
    try:
        return importlib.import_module(module_name)
    except Exception as error:  # whatever the user's file raises while it is imported
        raise InputError(
            f"model '{name}': cannot import '{module_name}': {type(error).__name__}: {error}. "
            "Start from the folder that holds it, or put that folder on PYTHONPATH."
        ) from error

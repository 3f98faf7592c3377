"""Networks by name, a line for each family, with weights or without.

A family is a module with three functions: `build` makes a network, `pretrained` finds weights of it, `inputs` says how
these want their pictures.
"""

import importlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import torch
from torch import nn

from tune_kd.errors import InputError
from tune_kd.models import fitting, ours, weight_files
from tune_kd.models.layout import ImageShape
from tune_kd.models.network import Inputs, Pretrained, Start, head_of
from tune_kd.space.schema import names_a_file

FAMILIES: Final[Mapping[str, str]] = {
    "torchvision.": "tune_kd.models.torchvision_networks",
    "timm.": "tune_kd.models.timm_networks",
    "hf-hub:": "tune_kd.models.timm_networks",
}
"""By what a name begins with. Other names with a colon are a user's functions, and those without are our own."""

_GIVEN: dict[str, Callable[..., nn.Module]] = {}


def give(factories: Mapping[str, Callable[..., nn.Module]]) -> None:
    """Networks made in Python, under names of their own, in this process: called with classes=… and in_shape=…."""
    _GIVEN.update(factories)


def names() -> tuple[str, ...]:
    return tuple(ours.MODELS)


def build(name: str, *, classes: int, in_shape: ImageShape) -> nn.Module:
    """A new model, its weights drawn from torch's global seed."""
    if name in _GIVEN:
        return _GIVEN[name](classes=classes, in_shape=in_shape)
    made: nn.Module = _family(name).build(name, classes, in_shape)
    return made


def inputs(name: str) -> Inputs | None:
    """How the network's own pretrained weights want their pictures, where it has any."""
    found: Inputs | None = None if name in _GIVEN else _family(name).inputs(name)
    return found


def start(name: str, wanted: bool | str, *, classes: int, in_shape: ImageShape, ema: bool = False) -> Start | None:
    """Weights to begin with: a file's, or the network's own by name or `true`. Other classes get a new head."""
    if wanted is False:
        return None
    found = _from_file(name, str(wanted), ema) if names_a_file(wanted) else _family(name).pretrained(name, wanted)
    with torch.random.fork_rng(devices=[]):
        model = build(name, classes=classes, in_shape=in_shape)
    own, head = model.state_dict(), head_of(model, classes)
    weights, problems = fitting.fitted(own, found.weights)
    fresh = [key for key in head if key not in weights or weights[key].shape != own[key].shape]
    if fresh:
        weights, problems = fitting.fitted(own, found.weights, new=head)
    if problems:
        fits = fitting.it_fits(found.weights, ours.states(classes, in_shape))
        raise InputError(
            f"model '{name}': the weights of {found.where} are not of this network: {'; '.join(problems)}.{fits} "
            "Name the network that they were trained as."
        )
    told = Path(found.where).name if Path(found.where).is_file() else found.where
    told += f", with a new head for {classes} classes" if fresh else ""
    return Start(weights, found.inputs, head, bool(fresh), told)


def lasts(name: str) -> bool:
    """Whether the name says which network it is, today and tomorrow: that of a user's own function does not."""
    return name not in _GIVEN and (":" not in name or name.startswith(tuple(FAMILIES)))


def check(name: str, *, classes: int, in_shape: ImageShape) -> None:
    """Refuse early what a trial could not train: an unknown name, images that the model cannot take."""
    with torch.random.fork_rng(devices=[]), torch.no_grad():  # a check must not change what is trained afterwards
        model = build(name, classes=classes, in_shape=in_shape).eval()
        if name in ours.MODELS:
            return
        try:
            logits = model(torch.zeros(2, *in_shape))
        except Exception as error:
            raise InputError(
                f"model '{name}' does not take images of shape {ours.shown(in_shape)}: {error}. "
                "Choose a larger data.image_size or another model."
            ) from error
    if not isinstance(logits, torch.Tensor) or logits.shape != (2, classes):
        got = f"shape {tuple(logits.shape)}" if isinstance(logits, torch.Tensor) else f"a {type(logits).__name__}"
        raise InputError(
            f"model '{name}' must return one tensor of logits, (images, classes): "
            f"for 2 images and {classes} classes it returned {got}, not shape (2, {classes})."
        )


def _family(name: str) -> Any:
    for prefix, module in FAMILIES.items():
        if name.startswith(prefix):
            return importlib.import_module(module)
    return importlib.import_module("tune_kd.models.own_function") if ":" in name else ours


def _from_file(name: str, wanted: str, ema: bool) -> Pretrained:
    """A file's weights; a network that a search of ours exported brings its own normalisation."""
    path = Path(wanted).expanduser()
    content = weight_files.read(path)
    return Pretrained(weight_files.weights_of(content, path, ema), inputs(name), str(path))

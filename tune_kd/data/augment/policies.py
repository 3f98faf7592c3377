"""Policies: which of many operations a picture goes through, and how much of each, by chance."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final

import torch
from torch import Tensor

from tune_kd.data.augment import colours
from tune_kd.data.augment.geometry import Chance, matrix, turning, warped
from tune_kd.space.schema import Augment

STEPS: Final = 30
"""An amount is one of so many steps from nothing to the most, as both papers have it."""

ROUNDS: Final = 2
STEP: Final = 9
"""RandAugment: operations one after the other, each at this step."""


@dataclass(frozen=True)
class Operation:
    """`apply` takes the pictures and an amount for each. An amount is written at no step and at the last one, for
    TrivialAugment (its wide space) and for RandAugment; a signed one goes either way."""

    apply: Callable[[Tensor, Tensor], Tensor]
    wide: tuple[float, float] = (0.0, 0.0)
    usual: tuple[float, float] = (0.0, 0.0)
    signed: bool = True


def _sheared(along: int, pictures: Tensor, amount: Tensor) -> Tensor:
    """From the upper left corner, as Pillow does."""
    height, width = pictures.shape[-2:]
    if along:
        return warped(pictures, matrix(1, 0, 0, amount, 1, amount * (width / 2)))
    return warped(pictures, matrix(1, amount, amount * (height / 2), 0, 1, 0))


def _moved(along: int, pictures: Tensor, amount: Tensor) -> Tensor:
    """By whole pixels; the amount is a share of the side."""
    pixels = -(amount * pictures.shape[2 if along else 3]).trunc()
    return warped(pictures, matrix(1, 0, 0, 0, 1, pixels) if along else matrix(1, 0, pixels, 0, 1, 0))


MOVE: Final = 150 / 331
"""The furthest move, as a share of the side. TrivialAugment's own 32 pixels would leave nothing of a small picture."""

OPERATIONS: Final = (
    Operation(lambda pictures, amount: pictures),
    Operation(partial(_sheared, 0), (0, 0.99), (0, 0.3)),
    Operation(partial(_sheared, 1), (0, 0.99), (0, 0.3)),
    Operation(partial(_moved, 0), (0, MOVE), (0, MOVE)),
    Operation(partial(_moved, 1), (0, MOVE), (0, MOVE)),
    Operation(lambda pictures, amount: warped(pictures, turning(amount)), (0, 135), (0, 30)),
    Operation(colours.brightness, (0, 0.99), (0, 0.9)),
    Operation(colours.saturation, (0, 0.99), (0, 0.9)),
    Operation(colours.contrast, (0, 0.99), (0, 0.9)),
    Operation(colours.sharpness, (0, 0.99), (0, 0.9)),
    Operation(colours.posterize, (8, 2), (8, 4), signed=False),
    Operation(colours.solarize, (255, 0), (255, 0), signed=False),
    Operation(colours.autocontrast, signed=False),
    Operation(colours.equalize, signed=False),
)


def trivialaugment(pictures: Tensor, chance: Chance, settings: Augment) -> Tensor:
    """One operation, of any amount."""
    steps = (chance(1) * (STEPS + 1)).floor()
    return _through(pictures, chance(0), steps / STEPS, chance(2), [each.wide for each in OPERATIONS])


def randaugment(pictures: Tensor, chance: Chance, settings: Augment) -> Tensor:
    """Two operations, each of a medium amount."""
    ranges = [each.usual for each in OPERATIONS]
    for turn in range(ROUNDS):
        share = torch.full_like(chance(0), STEP / STEPS)
        pictures = _through(pictures, chance(2 * turn), share, chance(2 * turn + 1), ranges)
    return pictures


def _through(
    pictures: Tensor, choice: Tensor, share: Tensor, side: Tensor, ranges: list[tuple[float, float]]
) -> Tensor:
    """Each picture through the operation that its choice falls on."""
    chosen = (choice * len(OPERATIONS)).long()
    shown = pictures.clone()
    for number, (operation, (least, most)) in enumerate(zip(OPERATIONS, ranges, strict=True)):
        some = (chosen == number).nonzero().squeeze(1)
        if not len(some):
            continue
        amount = least + (most - least) * share[some]
        if operation.signed:
            amount = torch.where(side[some] < 0.5, -amount, amount)
        shown[some] = operation.apply(shown[some], amount)
    return shown

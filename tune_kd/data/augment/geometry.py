"""Augmentations that move, cut and cover."""

import math
from collections.abc import Callable
from typing import Final

import torch
from torch import Tensor
from torch.nn import functional

from tune_kd.space.schema import Augment

Chance = Callable[[int], Tensor]

MAX_DEGREES: Final = 15.0

RATIOS: Final = (3 / 4, 4 / 3)
"""Width to height of a crop."""
DRAWS: Final = 10
"""The first rectangle of so many that lies inside the picture counts, else all of it."""

ERASED: Final = 0.5
"""How many of the pictures lose a rectangle, of how much of them, and of which ratios of height to width."""
ERASED_AREA: Final = (0.02, 0.33)
ERASED_RATIOS: Final = (0.3, 3.3)


def resized_crop(pictures: Tensor, chance: Chance, settings: Augment) -> Tensor:
    """A rectangle of at least `area` of the picture, enlarged to its size."""
    height, width = pictures.shape[-2:]
    tall, wide = torch.full_like(chance(0), height), torch.full_like(chance(0), width)
    for draw in range(DRAWS, 0, -1):
        area = settings.area + (1 - settings.area) * chance(2 * draw)
        high, broad = _sides(area, _between(RATIOS, chance(2 * draw + 1)), height, width)
        fits = (high <= height) & (broad <= width)
        tall, wide = high.where(fits, tall), broad.where(fits, wide)
    top = ((height - tall + 1) * chance(0)).floor()
    left = ((width - wide + 1) * chance(1)).floor()
    return cut_out(pictures, top, left, tall, wide)


def rotation(pictures: Tensor, chance: Chance, settings: Augment) -> Tensor:
    return warped(pictures, turning((2 * chance(0) - 1) * MAX_DEGREES))


def erasing(pictures: Tensor, chance: Chance, settings: Augment) -> Tensor:
    """A rectangle of half of the pictures becomes their mean colour."""
    height, width = pictures.shape[-2:]
    area = ERASED_AREA[0] + (ERASED_AREA[1] - ERASED_AREA[0]) * chance(1)
    tall, wide = _sides(area, 1 / _between(ERASED_RATIOS, chance(2)), height, width)
    tall, wide = tall.clamp(max=height), wide.clamp(max=width)
    top = ((height - tall + 1) * chance(3)).floor()
    left = ((width - wide + 1) * chance(4)).floor()
    hidden = inside(pictures, top, left, top + tall, left + wide) & (chance(0) < ERASED).view(-1, 1, 1, 1)
    return torch.where(hidden, pictures.mean(dim=(2, 3), keepdim=True), pictures)


def _between(ends: tuple[float, float], chance: Tensor) -> Tensor:
    """Even in its logarithm, so that wide and high are as likely."""
    low, high = map(math.log, ends)
    return (low + (high - low) * chance).exp()


def _sides(area: Tensor, ratio: Tensor, height: int, width: int) -> tuple[Tensor, Tensor]:
    """Whole pixels high and wide, of a share of a picture."""
    pixels = area * (height * width)
    tall, wide = (pixels / ratio).sqrt().round(), (pixels * ratio).sqrt().round()
    return tall.clamp(min=1), wide.clamp(min=1)


def inside(pictures: Tensor, top: Tensor, left: Tensor, bottom: Tensor, right: Tensor) -> Tensor:
    """Which pixels lie in each picture's rectangle, (images, 1, height, width)."""
    rows, columns = (torch.arange(side, device=pictures.device) for side in pictures.shape[-2:])
    high = (rows >= top[:, None]) & (rows < bottom[:, None])
    wide = (columns >= left[:, None]) & (columns < right[:, None])
    return (high[:, :, None] & wide[:, None, :])[:, None]


def cut_out(pictures: Tensor, top: Tensor, left: Tensor, tall: Tensor, wide: Tensor) -> Tensor:
    """Each picture's rectangle at the size of the whole: read between neighbours inside it, none beyond its edge."""
    sides = zip(pictures.shape[-2:], (top, left), (tall, wide), strict=True)
    rows, columns = (_places(side, first, length) for side, first, length in sides)
    shape = (len(pictures), *pictures.shape[-2:])
    grid = torch.stack([columns[:, None, :].expand(shape), rows[:, :, None].expand(shape)], dim=3)
    return functional.grid_sample(pictures, grid, align_corners=False)


def _places(side: int, first: Tensor, length: Tensor) -> Tensor:
    """Where each pixel of a line is read, in the units of `grid_sample`: -1 and 1 are the picture's edges."""
    across = (torch.arange(side, device=first.device) + 0.5) / side
    read = across * length[:, None] - 0.5
    read = torch.minimum(read.clamp(min=0), length[:, None] - 1) + first[:, None]
    return (2 * read + 1) / side - 1


def turning(degrees: Tensor) -> Tensor:
    angle = degrees * (math.pi / 180)
    return matrix(angle.cos(), -angle.sin(), 0, angle.sin(), angle.cos(), 0)


def matrix(*numbers: Tensor | float) -> Tensor:
    """(images, 2, 3): for each pixel of the result, seen from the centre, which pixel is read."""
    like = next(number for number in numbers if isinstance(number, Tensor))
    return torch.stack([torch.zeros_like(like) + number for number in numbers], dim=1).view(-1, 2, 3)


def warped(pictures: Tensor, read: Tensor) -> Tensor:
    """Pictures through a matrix each; what lies beyond them is black."""
    height, width = pictures.shape[-2:]
    # Places run from -1 to 1 along each side, whatever its length.
    units = torch.tensor([[1, height / width, 2 / width], [width / height, 1, 2 / height]], device=pictures.device)
    grid = functional.affine_grid(read * units, list(pictures.shape), align_corners=False)
    return functional.grid_sample(pictures, grid, align_corners=False).clamp(0, 255)

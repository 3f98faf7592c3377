"""Augmentation as a numbered list of views: view v of image i is always the same picture.

That is what lets a teacher's logits be cached exactly. flip and crop have a complete list (2, 81 and 162 views for
CIFAR's pad of 4); colour and rotation have infinitely many, so each image gets a bank of `bank` views drawn once from
the seed.
"""

import functools
import math
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor
from torch.nn import functional

from tune_kd.seeds import derive
from tune_kd.space.schema import Augment

PARTS: Final = ("none", "flip", "crop", "crop_flip", "colour", "rotation")
MAX_DEGREES: Final = 15.0
COLOUR_STRENGTH: Final = 0.3

VERSION: Final = 2
"""Of the pictures that the numbers stand for: a change of them must not meet logits of the pictures before."""

BITS: Final = 0xFFFFFFFF


@dataclass(frozen=True)
class Views:
    """Which pictures an image can become under one augmentation."""

    flip: bool
    crop: int
    colour: bool
    rotation: bool
    bank: int
    seed: int

    @classmethod
    def of(cls, augment: Augment, seed: int) -> "Views":
        parts = set(augment.kind.replace(" ", "").split("+"))
        banked = bool(parts & {"colour", "rotation"})
        return cls(
            flip=bool(parts & {"flip", "crop_flip"}),
            crop=augment.pad if parts & {"crop", "crop_flip"} else 0,
            colour="colour" in parts,
            rotation="rotation" in parts,
            bank=augment.bank if banked else 0,
            seed=seed if banked else 0,
        )

    @property
    def count(self) -> int:
        """Views an image has."""
        return self.bank or (2 * self.crop + 1) ** 2 * (2 if self.flip else 1)

    @property
    def key(self) -> str:
        """Names the list: two searches with the same key see the same pictures."""
        return "-".join([f"v{VERSION}", *(f"{name}{int(value)}" for name, value in vars(self).items())])

    def render(self, images: Tensor, index: Tensor, view: Tensor) -> Tensor:
        """Pictures as they are before normalisation (0…255), from uint8 images (B, C, H, W) and their numbers."""
        pictures = images
        if self.crop or self.flip:
            pictures = _crop_flip(pictures, self.crop, *self._offsets(index, view))
        if self.rotation:
            pictures = _rotate(pictures, (2 * self._chance(index, view, 4) - 1) * MAX_DEGREES)
        if self.colour:
            pictures = _colour(pictures, torch.stack([self._chance(index, view, 5 + part) for part in range(3)]))
        return pictures

    def _offsets(self, index: Tensor, view: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Rows down, columns right and whether mirrored, per picture."""
        side = 2 * self.crop + 1
        if self.bank:
            down, right = ((self._chance(index, view, part) * side).long() for part in (1, 2))
            mirrored = self._chance(index, view, 3) < (0.5 if self.flip else 0.0)
            return down, right, mirrored
        mirrored = (view % 2).bool() if self.flip else torch.zeros_like(view, dtype=torch.bool)
        place = view // 2 if self.flip else view
        return place // side, place % side, mirrored

    def _chance(self, index: Tensor, view: Tensor, part: int) -> Tensor:
        """A number in [0, 1) for one property of one view of one image: a hash, so no state and no order matters."""
        mixed = _mix(index * 1_000_003 + view * 10_007 + part * 101 + self.seed * 7_919)
        # 24 bits are what a float holds exactly; more would round up to 1.
        return (mixed >> 8).float() / 2**24


@dataclass(frozen=True)
class Program:
    """Which view of an image is shown in which pass over the images: a hash of (seed, image, pass).

    All trials of a search have one program, so the teacher runs once for a pass of the search and not once for each
    trial, and what trials are compared by is not their luck with views. With an `order` of its own a training is shown
    what the program shows of an image in all passes, but begins with that of another pass, which the order says for
    each image.
    """

    seed: int
    order: int | None = None

    def draw(self, views: Views, index: Tensor, turn: Tensor, turns: int) -> Tensor:
        """For the images numbered `index`, each in pass `turn` of so many; all on the CPU."""
        if views.count == 1:
            return torch.zeros_like(index)
        if self.order is not None:
            turn = (turn + _mix(index * 0x9E3779B1 + derive(self.order, "order") % BITS)) % turns
        # Only of passes that there are: a measurement trains for ever.
        some, place = turn.unique(return_inverse=True)
        starts = torch.tensor([_start(self.seed, each) for each in some.tolist()])
        return _mix(index * 0x9E3779B1 + starts[place]) % views.count


@functools.lru_cache(maxsize=10_000)
def _start(seed: int, turn: int) -> int:
    """Where the hash of a pass begins."""
    return derive(seed, "views", turn) % BITS


def _mix(number: Tensor) -> Tensor:
    """32 bits of which each depends on all bits of the number."""
    mixed = number & BITS
    for factor in (0x45D9F3B, 0x119DE1F3):
        mixed = ((mixed ^ (mixed >> 16)) * factor) & BITS
    return mixed ^ (mixed >> 16)


def _crop_flip(images: Tensor, pad: int, down: Tensor, right: Tensor, mirrored: Tensor) -> Tensor:
    height, width = images.shape[-2:]
    if pad:
        windows = functional.pad(images, (pad,) * 4).unfold(2, height, 1).unfold(3, width, 1)
        images = windows[torch.arange(len(images), device=images.device), :, down, right]
    return torch.where(mirrored.view(-1, 1, 1, 1), images.flip(-1), images)


def _rotate(images: Tensor, degrees: Tensor) -> Tensor:
    angle = degrees * (math.pi / 180)
    zero = torch.zeros_like(angle)
    cosine, sine = angle.cos(), angle.sin()
    # Sampling positions run from -1 to 1 along each side, so a picture that is not square needs its ratio here.
    ratio = images.shape[-2] / images.shape[-1]
    rows = torch.stack([cosine, -sine * ratio, zero, sine / ratio, cosine, zero], dim=1).view(-1, 2, 3)
    grid = functional.affine_grid(rows, list(images.shape), align_corners=False)
    return functional.grid_sample(images.float(), grid, align_corners=False)


def _colour(images: Tensor, chances: Tensor) -> Tensor:
    """Brightness, contrast and saturation, each up or down by at most COLOUR_STRENGTH."""
    brightness, contrast, saturation = (1 + (2 * chances - 1) * COLOUR_STRENGTH).view(3, -1, 1, 1, 1)
    pictures = images.float() * brightness
    level = pictures.mean(dim=(1, 2, 3), keepdim=True)
    pictures = level + (pictures - level) * contrast
    grey = pictures.mean(dim=1, keepdim=True)
    coloured: Tensor = grey + (pictures - grey) * saturation
    return coloured.clamp(0, 255)

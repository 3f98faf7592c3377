"""Augmentation as a numbered list of views: view v of image i is always the same picture.

That is what lets a teacher's logits be cached exactly. flip and crop have a complete list (2, 81 and 162 views for
CIFAR's pad of 4); of what has infinitely many, each image gets a bank of `bank` views drawn once from the seed. Only
pictures mixed of two are never the same again: a teacher has to look at each of them.
"""

import functools
import importlib
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor
from torch.nn import functional

from tune_kd.seeds import derive
from tune_kd.space import augmentations
from tune_kd.space.schema import Augment

VERSION: Final = 3
"""Of the pictures that the numbers stand for: a change of them must not meet logits of the pictures before."""

BITS: Final = 0xFFFFFFFF
SPREAD: Final = 0x9E3779B1


@dataclass(frozen=True)
class Views:
    """Which pictures an image can become under one augmentation."""

    parts: tuple[str, ...]
    settings: Augment
    bank: int
    seed: int
    strong: "Views | None" = None
    """Those of a second look at each image, where there is one. Their numbers follow on the own ones, so that one cache
    holds what the teacher says of both."""

    @classmethod
    def of(cls, augment: Augment, seed: int) -> "Views":
        named = augmentations.parts(augment.kind)
        parts = tuple(name for name in augmentations.AUGMENTATIONS if name in named)
        banked = not set(augmentations.BANKED).isdisjoint(parts)
        second = None if augment.strong is None else cls.of(_second(augment), seed)
        return cls(parts, augment, augment.bank if banked else 0, seed if banked else 0, second)

    @property
    def flip(self) -> bool:
        return not {"flip", "crop_flip"}.isdisjoint(self.parts)

    @property
    def crop(self) -> int:
        return 0 if {"crop", "crop_flip"}.isdisjoint(self.parts) else self.settings.pad

    @property
    def mixing(self) -> tuple[str, ...]:
        """What makes one picture of two."""
        return tuple(name for name in self.parts if name in augmentations.MIXED)

    @property
    def first(self) -> int:
        """Views an image has, at a first look."""
        return self.bank or (2 * self.crop + 1) ** 2 * (2 if self.flip else 1)

    @property
    def count(self) -> int:
        """Views an image has in all."""
        return self.first + (self.strong.count if self.strong else 0)

    @property
    def key(self) -> str:
        """Names the list: two searches with the same key see the same pictures."""
        own = [f"v{VERSION}", f"flip{int(self.flip)}", f"crop{self.crop}", f"bank{self.bank}", f"seed{self.seed}"]
        area = f"{self.settings.area:g}" if "resized_crop" in self.parts else ""
        named = [*own, *(name for name in self.parts if name in augmentations.BANKED), *filter(None, [area])]
        return "-".join([*named, *(["and", self.strong.key] if self.strong else [])])

    def render(self, images: Tensor, index: Tensor, view: Tensor) -> Tensor:
        """Pictures as they are before normalisation (0…255), from uint8 images (B, C, H, W) and their numbers. All are
        at a first look, or all at a second one."""
        if self.strong is not None and len(view) and int(view[0]) >= self.first:
            return self.strong.render(images, index, view - self.first)
        pictures = images
        if self.crop or self.flip:
            pictures = _crop_flip(pictures, self.crop, *self._offsets(index, view))
        for name, place in augmentations.BANKED.items():
            if name in self.parts:
                chances = Chances(self.seed, index, view, name)
                pictures = _function(place)(pictures.float(), chances, self.settings)
        return pictures

    def _offsets(self, index: Tensor, view: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Rows down, columns right and whether mirrored, per picture."""
        side = 2 * self.crop + 1
        if self.bank:
            chance = Chances(self.seed, index, view, "crop_flip")
            down, right = ((chance(part) * side).long() for part in (0, 1))
            mirrored = chance(2) < (0.5 if self.flip else 0.0)
            return down, right, mirrored
        mirrored = (view % 2).bool() if self.flip else torch.zeros_like(view, dtype=torch.bool)
        place = view // 2 if self.flip else view
        return place // side, place % side, mirrored

    def mix(
        self, pictures: Tensor, labels: Tensor, classes: int, batch: int, chances: "Callable[[str], Chances]"
    ) -> tuple[Tensor, Tensor]:
        """Each picture of a batch with the one before it, and their labels as shares of the classes. Of several ways
        of mixing each picture goes one."""
        pictures = pictures.float()
        before = _before(len(pictures), batch, pictures.device)
        others, way = pictures[before], chances("mixing")(0) * len(self.mixing)
        found = [_function(augmentations.MIXED[name])(pictures, others, chances(name)) for name in self.mixing]
        mixed, share = found[0]
        for number, (more, own) in enumerate(found[1:], start=1):
            mixed, share = torch.where(way.view(-1, 1, 1, 1) >= number, more, mixed), own.where(way >= number, share)
        known = functional.one_hot(labels, classes).float()
        return mixed, share[:, None] * known + (1 - share[:, None]) * known[before]


def _second(augment: Augment) -> Augment:
    return augment.model_copy(update={"kind": augment.strong, "strong": None})


class Chances:
    """Numbers in [0, 1) for one augmentation of one view of each image: a hash, so no state and no order matters."""

    def __init__(self, seed: int, index: Tensor, view: Tensor, name: str) -> None:
        own = zlib.crc32(name.encode())
        self._start = _mix(_mix(index * 1_000_003 + view * 10_007 + seed * 7_919) + own)

    def __call__(self, part: int) -> Tensor:
        # 24 bits are what a float holds exactly; more would round up to 1.
        return (_mix(self._start + (part + 1) * SPREAD) >> 8).float() / 2**24


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
        if views.first == 1:
            return torch.zeros_like(index)
        if self.order is not None:
            turn = (turn + _mix(index * SPREAD + derive(self.order, "order") % BITS)) % turns
        # Only of passes that there are: a measurement trains for ever.
        some, place = turn.unique(return_inverse=True)
        starts = torch.tensor([_start(self.seed, each) for each in some.tolist()])
        return _mix(index * SPREAD + starts[place]) % views.first

    def second(self, views: Views, index: Tensor, turn: Tensor, turns: int) -> Tensor:
        """Which view is shown at the second look, whatever was shown at the first."""
        assert views.strong is not None
        own = Program(derive(self.seed, "strong"), self.order)
        return views.first + own.draw(views.strong, index, turn, turns)

    def chances(self, index: Tensor, turn: Tensor, name: str) -> Chances:
        """How an image is mixed with another one in a pass."""
        return Chances(derive(self.seed, "mixing") % BITS, index, turn, name)


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


@functools.cache
def _function(place: str) -> Callable[..., Any]:
    module, _, name = place.partition(":")
    found: Callable[..., Any] = getattr(importlib.import_module(f"tune_kd.data.augment.{module}"), name)
    return found


def _before(count: int, batch: int, device: torch.device) -> Tensor:
    """For each picture the one before it in its batch; for the first the last one."""
    place = torch.arange(count, device=device)
    first = place // batch * batch
    length = (count - first).clamp(max=batch)
    return first + (place - first - 1) % length


def _crop_flip(images: Tensor, pad: int, down: Tensor, right: Tensor, mirrored: Tensor) -> Tensor:
    height, width = images.shape[-2:]
    if pad:
        windows = functional.pad(images, (pad,) * 4).unfold(2, height, 1).unfold(3, width, 1)
        images = windows[torch.arange(len(images), device=images.device), :, down, right]
    return torch.where(mirrored.view(-1, 1, 1, 1), images.flip(-1), images)

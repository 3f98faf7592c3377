"""Augmentations that change colours and leave every pixel where it is."""

from typing import Final

import torch
from torch import Tensor
from torch.nn import functional

from tune_kd.data.augment.geometry import Chance
from tune_kd.space.schema import Augment

STRENGTH: Final = 0.3
GREY: Final = (0.2989, 0.587, 0.114)


def colour(pictures: Tensor, chance: Chance, settings: Augment) -> Tensor:
    """Brightness, contrast and saturation, each up or down by at most STRENGTH."""
    bright, strong, full = (_factor((2 * chance(part) - 1) * STRENGTH) for part in range(3))
    shown = pictures * bright
    level = shown.mean(dim=(1, 2, 3), keepdim=True)
    shown = level + (shown - level) * strong
    mean = shown.mean(dim=1, keepdim=True)
    return (mean + (shown - mean) * full).clamp(0, 255)


# What policies are made of: each takes how much of it there is, a number for each picture.


def brightness(pictures: Tensor, amount: Tensor) -> Tensor:
    return (pictures * _factor(amount)).clamp(0, 255)


def contrast(pictures: Tensor, amount: Tensor) -> Tensor:
    return _away_from(_grey(pictures).mean(dim=(1, 2, 3), keepdim=True), pictures, amount)


def saturation(pictures: Tensor, amount: Tensor) -> Tensor:
    return _away_from(_grey(pictures), pictures, amount)


def sharpness(pictures: Tensor, amount: Tensor) -> Tensor:
    """Away from a blurred picture, or towards it; the outermost pixels have no neighbours to be blurred with."""
    kernel = torch.ones(3, 3, device=pictures.device)
    kernel[1, 1] = 5
    channels = pictures.shape[1]
    blurred = pictures.clone()
    if min(pictures.shape[-2:]) > 2:
        own = (kernel / kernel.sum()).expand(channels, 1, 3, 3)
        blurred[:, :, 1:-1, 1:-1] = functional.conv2d(pictures, own, groups=channels)
    return _away_from(blurred, pictures, amount)


def posterize(pictures: Tensor, amount: Tensor) -> Tensor:
    """So many bits of each colour are left."""
    step = (2 ** (8 - amount.round())).view(-1, 1, 1, 1)
    return (pictures.round() / step).floor() * step


def solarize(pictures: Tensor, amount: Tensor) -> Tensor:
    """What is as bright as that or brighter is turned round."""
    return torch.where(pictures >= amount.view(-1, 1, 1, 1), 255 - pictures, pictures)


def autocontrast(pictures: Tensor, amount: Tensor) -> Tensor:
    """Each channel over the whole range."""
    low, high = pictures.amin(dim=(2, 3), keepdim=True), pictures.amax(dim=(2, 3), keepdim=True)
    flat = high <= low
    stretched = (pictures - low) * (255 / torch.where(flat, torch.ones_like(high), high - low))
    return torch.where(flat, pictures, stretched).clamp(0, 255)


def equalize(pictures: Tensor, amount: Tensor) -> Tensor:
    """Each brightness of a channel as often as any other, as Pillow counts."""
    images, channels, height, width = pictures.shape
    levels = pictures.round().clamp(0, 255).long().view(images * channels, height * width)
    counts = torch.zeros(len(levels), 256, dtype=torch.int64, device=pictures.device)
    counts.scatter_add_(1, levels, torch.ones_like(levels))
    step = (height * width - counts.gather(1, levels.amax(1, keepdim=True))) // 255
    below = counts.cumsum(1) - counts
    table = ((below + step // 2) // step.clamp(min=1)).clamp(0, 255)
    spread = table.gather(1, levels).view_as(pictures).to(pictures.dtype)
    return torch.where(step.view(images, channels, 1, 1) > 0, spread, pictures)


def _factor(amount: Tensor) -> Tensor:
    return (1 + amount).view(-1, 1, 1, 1)


def _grey(pictures: Tensor) -> Tensor:
    if pictures.shape[1] != len(GREY):
        return pictures.mean(dim=1, keepdim=True)
    shares = torch.tensor(GREY, device=pictures.device).view(-1, 1, 1)
    return (pictures * shares).sum(dim=1, keepdim=True)


def _away_from(other: Tensor, pictures: Tensor, amount: Tensor) -> Tensor:
    return (other + (pictures - other) * _factor(amount)).clamp(0, 255)

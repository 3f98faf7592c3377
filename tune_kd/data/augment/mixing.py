"""Augmentations that make one picture of two: the next picture, and how much of the first is left in each."""

from torch import Tensor

from tune_kd.data.augment.geometry import Chance, inside


def mixup(pictures: Tensor, others: Tensor, chance: Chance) -> tuple[Tensor, Tensor]:
    """Both shine through, each by its share; any share is as likely."""
    share = chance(0)
    own = share.view(-1, 1, 1, 1)
    return own * pictures + (1 - own) * others, share


def cutmix(pictures: Tensor, others: Tensor, chance: Chance) -> tuple[Tensor, Tensor]:
    """A rectangle of the other one lies on top; any size is as likely, and the rest is cut off at the edges."""
    height, width = pictures.shape[-2:]
    half = (1 - chance(0)).sqrt() / 2
    tall, wide = (half * height).floor(), (half * width).floor()
    row, column = (chance(1) * height).floor(), (chance(2) * width).floor()
    top, left = (row - tall).clamp(min=0), (column - wide).clamp(min=0)
    bottom, right = (row + tall).clamp(max=height), (column + wide).clamp(max=width)
    covered = (bottom - top) * (right - left) / (height * width)
    return others.where(inside(pictures, top, left, bottom, right), pictures), 1 - covered

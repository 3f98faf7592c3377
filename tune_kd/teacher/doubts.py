"""A teacher that was loaded and says other classes than it means, or knows no more than chance: what is the likeliest
cause, and what would mend it."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from tune_kd.data.classes import SURE, by_chance
from tune_kd.teacher.making import Teacher
from tune_kd.training.images import IMAGENET, Images
from tune_kd.training.train import predict

LOOKED_AT = 256
"""Validation images that a teacher is checked on."""

SIDES = (32, 64, 96, 128, 224)
HALF = 0.5


@dataclass(frozen=True)
class _Looked:
    """What a teacher says of some images, and what they are."""

    said: npt.NDArray[np.int64]
    labels: npt.NDArray[np.int64]
    classes: int

    @property
    def right(self) -> float:
        return float((self.said == self.labels).mean())

    @property
    def by_chance(self) -> float:
        """What is hardly ever reached by guessing the most frequent class."""
        share = float(np.bincount(self.labels).max()) / len(self.labels)
        return by_chance(len(self.labels), max(share, 1 / self.classes))


def doubts(teacher: Teacher, data: Images, validation: Tensor, classes: tuple[str, ...]) -> str | None:
    """What to tell whoever brought the teacher; nothing where it knows more than chance and means what it says."""
    index = validation[torch.linspace(0, len(validation) - 1, min(LOOKED_AT, len(validation))).long()]
    labels = data.labels[index.to(data.labels.device)].cpu()
    looked = _Looked(_said(teacher, data, index).numpy(), labels.numpy(), len(classes))
    found, chance = looked.right, by_chance(len(index), 1 / len(classes))
    told = f"teacher.checkpoint: on {len(index)} validation images it is right {found:.1%} of the time"
    causes = [_order(looked, classes)]
    if found <= chance:
        told = f"{told}, as chance is"
        least = max(2 * found, chance)
        causes += [each for each in _other_causes(teacher, data, index, labels) if each[0] > least]
    if likeliest := max(filter(None, causes), key=lambda each: each[0], default=None):  # of two alike the first
        return f"{told}. The likeliest cause: {likeliest[1]}; then it is right {likeliest[0]:.1%} of the time."
    if found > chance:
        return None
    return (
        f"{told}. Neither another order of classes, nor another normalisation or size of the images makes it better: "
        "was it trained for these classes, and is it the right file?"
    )


def _other_causes(teacher: Teacher, data: Images, index: Tensor, labels: Tensor) -> Iterator[tuple[float, str]]:
    plain = (HALF,) * len(teacher.mean)
    for words, mean, std in (
        ("teacher.normalize: imagenet", *IMAGENET),
        ("teacher.normalize: dataset", data.mean, data.std),
        (f"teacher.normalize: {{mean: {list(plain)}, std: {list(plain)}}}", plain, plain),
    ):
        if len(mean) == len(teacher.mean) and mean != teacher.mean:
            other = replace(teacher, mean=mean, std=std)
            yield _accuracy(other, data, index, labels), f"the normalisation of its images. Set {words}"
    for side in SIDES:
        if side != teacher.shape[1]:
            other = replace(teacher, shape=(teacher.shape[0], side, side))
            try:
                yield _accuracy(other, data, index, labels), f"the size of its images. Set teacher.image_size: {side}"
            except Exception:  # a network that takes no other size says so in a way of its own
                continue


def _said(teacher: Teacher, data: Images, index: Tensor) -> Tensor:
    return predict(teacher.module(data.images.device), teacher.read(data), index).cpu().argmax(1)


def _accuracy(teacher: Teacher, data: Images, index: Tensor, labels: Tensor) -> float:
    return float((_said(teacher, data, index) == labels).double().mean())


def _order(looked: _Looked, classes: tuple[str, ...]) -> tuple[float, str] | None:
    """The order of classes under which its answers are right more often, and how often that is.

    Each half of the images chooses an order that the other half judges: with many classes, chance alone finds a good
    one. It must mend many more images than it spoils, and be better than to guess the most frequent class.
    """
    said, labels = looked.said, looked.labels
    half = np.random.default_rng(0).permutation(len(said)) % 2
    right = np.zeros(len(said), dtype=bool)
    for own in (0, 1):
        judged = half != own
        right[judged] = (
            _best_order(said[half == own], labels[half == own], looked.classes)[said[judged]] == labels[judged]
        )
    mended, spoiled = (int((mine & ~other).sum()) for mine, other in ((right, said == labels), (said == labels, right)))
    if mended - spoiled <= SURE * math.sqrt(mended + spoiled) or right.mean() <= looked.by_chance:
        return None
    order = _best_order(said, labels, looked.classes)
    names = ", ".join(classes[k] for k in order)
    return float(right.mean()), f"the order of its classes. Set teacher.classes: [{names}]"


def _best_order(said: npt.NDArray[np.int64], labels: npt.NDArray[np.int64], classes: int) -> npt.NDArray[np.int64]:
    """Which class each output means, if as many answers as can be are to be right; the order that it has, if that is
    as good as another."""
    counts = np.eye(classes) / (2 * classes)
    np.add.at(counts, (said, labels), 1)
    _, order = linear_sum_assignment(counts, maximize=True)
    found: npt.NDArray[np.int64] = order
    return found

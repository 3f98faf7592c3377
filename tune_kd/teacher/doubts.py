"""A teacher that was loaded and knows no more than chance: what is the likeliest cause, and what would mend it."""

import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from tune_kd.teacher.making import Teacher
from tune_kd.training.images import IMAGENET, Images
from tune_kd.training.train import predict

LOOKED_AT = 256
"""Validation images that a teacher is checked on."""

SIDES = (32, 64, 96, 128, 224)
HALF = 0.5


def doubts(teacher: Teacher, data: Images, validation: Tensor, classes: tuple[str, ...]) -> str | None:
    """What to tell whoever brought the teacher; nothing where it knows more than chance."""
    index = validation[torch.linspace(0, len(validation) - 1, min(LOOKED_AT, len(validation))).long()]
    labels = data.labels[index.to(data.labels.device)].cpu()
    found = _accuracy(teacher, data, index, labels)
    if found > _by_chance(len(index), len(classes)):
        return None
    said = f"teacher.checkpoint: on {len(index)} validation images it is right {found:.1%} of the time, as chance is"
    causes = sorted(_causes(teacher, data, index, labels, classes), reverse=True)
    if causes and causes[0][0] > max(2 * found, _by_chance(len(index), len(classes))):
        return f"{said}. The likeliest cause: {causes[0][1]}; then it is right {causes[0][0]:.1%} of the time."
    return (
        f"{said}. Neither another order of classes, nor another normalisation or size of the images makes it better: "
        "was it trained for these classes, and is it the right file?"
    )


def _by_chance(images: int, classes: int) -> float:
    """What guessing hardly ever reaches."""
    return 1 / classes + 3 * math.sqrt((1 - 1 / classes) / classes / images)


def _causes(
    teacher: Teacher, data: Images, index: Tensor, labels: Tensor, classes: tuple[str, ...]
) -> Iterator[tuple[float, str]]:
    order = _order(teacher, data, index, labels)
    yield order[0], f"the order of its classes. Set teacher.classes: [{', '.join(classes[k] for k in order[1])}]"
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


def _logits(teacher: Teacher, data: Images, index: Tensor) -> Tensor:
    return predict(teacher.module(data.images.device), teacher.read(data), index).cpu()


def _accuracy(teacher: Teacher, data: Images, index: Tensor, labels: Tensor) -> float:
    return float((_logits(teacher, data, index).argmax(1) == labels).double().mean())


def _order(teacher: Teacher, data: Images, index: Tensor, labels: Tensor) -> tuple[float, list[int]]:
    """The order of classes under which its answers are right most often, and how often that is.

    Half of the images choose the order and the other half judge it: with many classes chance alone finds a good one.
    """
    said = _logits(teacher, data, index).argmax(1).numpy()
    counts = np.zeros((teacher.classes, teacher.classes))
    np.add.at(counts, (said[::2], labels.numpy()[::2]), 1)
    _, order = linear_sum_assignment(counts, maximize=True)
    return float((order[said[1::2]] == labels.numpy()[1::2]).mean()), order.tolist()

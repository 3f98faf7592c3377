"""The pictures of each augmentation, by numbers that change with them: a cache of logits must not outlive its pictures.

Where pictures are to change, raise VERSION in tune_kd/data/views.py and put the numbers here that the test prints.
"""

import numpy as np
import pytest
import torch
from torch import Tensor

from tune_kd.data.views import VERSION, Program, Views
from tune_kd.space import augmentations
from tune_kd.space.schema import Augment
from tune_kd.training.images import resized

RESIZED = "resized"
"""To another size than they are kept at: the size is in the key of the cache, how they come to it is not."""
KINDS = (*augmentations.AUGMENTATIONS, RESIZED)

OF_VERSION = 3
KNOWN: dict[str, list[float]] = {
    "flip": [100.62, -131.92, 127.65, 227.19, 76.03, -104.59, -126.93, -155.67],
    "crop": [115.27, -141.97, 35.53, 126.39, -6.75, -173.89, -220.76, 5.9],
    "crop_flip": [115.27, -208.75, 22.73, 153.61, 79.06, -141.65, -75.65, -138.62],
    "resized_crop": [53.25, -69.74, 177.11, 110.92, 167.56, -61.7, -56.87, -164.76],
    "rotation": [115.12, -41.56, 112.83, 177.09, 105.43, -136.98, -126.43, -119.55],
    "colour": [119.26, -28.64, 137.81, 240.39, 79.03, -114.19, -136.67, -169.08],
    "trivialaugment": [111.36, -38.75, -13.05, 7.2, 62.14, -136.31, -134.47, -162.81],
    "randaugment": [90.04, 14.22, 87.6, 219.58, 12.46, -38.24, -116.46, -136.91],
    "erasing": [100.62, -66.39, 154.75, 198.01, 76.03, -137.32, -126.93, -162.81],
    "mixup": [100.85, -154.75, 123.34, 200.34, 63.53, -112.67, -73.55, -154.9],
    "cutmix": [105.96, -73.47, 130.61, 159.51, 88.24, -122.67, -75.11, -107.08],
    "resized": [-49.95, 192.98, -36.2, -163.26, 19.07, 69.47, 33.73, 237.0],
}
TOLERANCE = 0.5
"""A pixel that is rounded to the other side on another processor is less; one that differs by a grey level everywhere
is more."""


def pixels() -> Tensor:
    coarse = torch.tensor(np.random.default_rng(0).integers(256, size=(8, 3, 8, 8)), dtype=torch.float32)
    return torch.nn.functional.interpolate(coarse, (32, 32), mode="bilinear").to(torch.uint8)


def numbers(pictures: Tensor) -> list[float]:
    """Eight pictures, each as one number: the sum of its pixels by random weights."""
    _, *shape = pictures.shape
    weights = np.random.default_rng(1).choice([-1.0, 1.0], size=(8, *shape)) / np.sqrt(np.prod(shape))
    return [round(value, 2) for value in (pictures.double() * torch.tensor(weights)).sum((1, 2, 3)).tolist()]


def fingerprint(kind: str) -> list[float]:
    if kind == RESIZED:
        return numbers(resized(pixels(), 20))
    views, index = Views.of(Augment(kind=kind, bank=16), seed=7), torch.arange(8)
    pictures = views.render(pixels(), index, torch.arange(8) % views.first)
    if views.mixing:
        program, turn = Program(7), torch.zeros(8, dtype=torch.long)
        pictures, _ = views.mix(pictures, index % 3, 3, 8, lambda name: program.chances(index, turn, name))
    return numbers(pictures)


@pytest.mark.parametrize("kind", KINDS)
def test_pictures_are_those_of_their_version(kind: str) -> None:
    advice = f"pictures of {kind} have changed: raise VERSION in views.py, and OF_VERSION and the numbers here"
    assert VERSION == OF_VERSION, advice
    found = fingerprint(kind)
    apart = np.abs(np.subtract(found, KNOWN[kind]))
    assert apart.max() < TOLERANCE, f"{advice}: {found}"


def test_the_numbers_tell_pictures_apart() -> None:
    found = {kind: np.array(fingerprint(kind)) for kind in KINDS}
    for kind, own in found.items():
        for other, theirs in found.items():
            assert kind == other or np.abs(own - theirs).max() > 20 * TOLERANCE, (kind, other)

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

OF_VERSION = 3
KNOWN: dict[str, list[float]] = {
    "flip": [-133.06, -88.33, 257.77, 9.45, -145.56, 64.79, -183.58, 21.9],
    "crop": [-10.27, -111.3, 289.09, -52.38, -211.38, -49.8, -177.28, -30.8],
    "crop_flip": [-10.27, -97.82, 264.79, 31.68, -197.06, -39.67, -215.01, 33.22],
    "resized_crop": [-144.0, -85.31, 309.11, 30.67, -173.71, -0.55, -184.89, 5.49],
    "rotation": [-132.02, -151.52, 269.45, 14.65, -145.54, 19.51, -193.99, -32.62],
    "colour": [-147.21, -132.11, 328.07, -12.4, -184.87, 11.52, -185.46, -38.58],
    "trivialaugment": [-25.58, -158.03, 131.8, 51.82, -42.31, -60.06, -196.5, -31.47],
    "randaugment": [-157.55, -133.7, 310.77, -24.26, -65.72, 40.12, -198.55, -42.57],
    "erasing": [-133.06, -118.59, 264.94, -2.86, -145.56, 27.52, -183.58, -31.47],
    "mixup": [-120.11, -128.59, 254.57, -13.96, -161.68, 5.24, -136.39, -21.49],
    "cutmix": [-129.52, -124.89, 270.94, 6.15, -160.2, 57.72, -109.32, 20.41],
}
TOLERANCE = 0.5
"""A pixel that is rounded to the other side on another processor is less; one that differs by a grey level everywhere
is more."""


def fingerprint(kind: str) -> list[float]:
    """Eight pictures, each as one number: the sum of its pixels by random weights."""
    rng = np.random.default_rng(0)
    coarse = torch.tensor(rng.integers(256, size=(8, 3, 8, 8)), dtype=torch.float32)
    images = torch.nn.functional.interpolate(coarse, (32, 32), mode="bilinear").to(torch.uint8)
    weights = torch.tensor(rng.choice([-1.0, 1.0], size=(8, 3, 32, 32)) / np.sqrt(3 * 32 * 32))
    views, index = Views.of(Augment(kind=kind, bank=16), seed=7), torch.arange(8)
    view = torch.arange(8) % views.first
    pictures: Tensor = views.render(images, index, view)
    if views.mixing:
        program = Program(7)
        pictures, _ = views.mix(
            pictures, index % 3, 3, 8, lambda name: program.chances(index, torch.zeros(8, dtype=torch.long), name)
        )
    return [round(value, 2) for value in (pictures.double() * weights).sum((1, 2, 3)).tolist()]


@pytest.mark.parametrize("kind", augmentations.AUGMENTATIONS)
def test_pictures_are_those_of_their_version(kind: str) -> None:
    advice = f"pictures of {kind} have changed: raise VERSION in views.py, and OF_VERSION and the numbers here"
    assert VERSION == OF_VERSION, advice
    found = fingerprint(kind)
    apart = np.abs(np.subtract(found, KNOWN[kind]))
    assert apart.max() < TOLERANCE, f"{advice}: {found}"


def test_the_numbers_tell_pictures_apart() -> None:
    found = {kind: np.array(fingerprint(kind)) for kind in augmentations.AUGMENTATIONS}
    for kind, own in found.items():
        for other, theirs in found.items():
            assert kind == other or np.abs(own - theirs).max() > 20 * TOLERANCE, (kind, other)

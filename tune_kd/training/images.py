"""All images of a search as one network sees them: of its size, normalised as it wants it."""

import functools
import warnings
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from tune_kd.models.layout import ImageShape
from tune_kd.names import Interpolation

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


@dataclass(frozen=True)
class Images:
    """All images of a search on one device, and how one network sees them; everything else is numbers into them."""

    images: Tensor
    labels: Tensor
    mean: tuple[float, ...]
    std: tuple[float, ...]
    classes: int
    side: int | None = None
    """The height and width at which the network sees them; None: as they are."""
    interpolation: Interpolation = "bilinear"

    @property
    def shape(self) -> ImageShape:
        channels, height, width = self.images.shape[1:]
        return channels, self.side or height, self.side or width

    def seen(
        self,
        mean: tuple[float, ...],
        std: tuple[float, ...],
        side: int | None,
        interpolation: Interpolation = "bilinear",
    ) -> "Images":
        """The same images as another network sees them."""
        return replace(self, mean=mean, std=std, side=side, interpolation=interpolation)

    def inputs(self, pictures: Tensor, layout: torch.memory_format = torch.contiguous_format) -> Tensor:
        """Pictures (0…255, of the images' own size) as the network reads them."""
        return normalise(resized(pictures, self.side, self.interpolation), self.mean, self.std, layout)

    def to(self, device: torch.device) -> "Images":
        images, labels = (tensor.to(device, non_blocking=True) for tensor in (self.images, self.labels))
        return replace(self, images=images, labels=labels)


def resized(pictures: Tensor, side: int | None, interpolation: Interpolation = "bilinear") -> Tensor:
    """Pictures at another size: whoever sees a view at its own size sees the same crop of it."""
    if side is None or pictures.shape[-2:] == (side, side):
        return pictures
    found = functional.interpolate(
        pictures.float(), (side, side), mode=interpolation, antialias=True, align_corners=False
    )
    # A bicubic filter overshoots at edges, and no picture has such pixels.
    return found.clamp(0, 255) if interpolation == "bicubic" else found


def normalise(
    pictures: Tensor,
    mean: tuple[float, ...],
    std: tuple[float, ...],
    layout: torch.memory_format = torch.contiguous_format,
) -> Tensor:
    """0…255 to what a model reads: (x/255 - mean) / std per channel."""
    scale, offset = scale_and_offset(mean, std, pictures.device)
    return torch.addcmul(offset, pictures.to(torch.float32, memory_format=layout), scale)


@functools.lru_cache(maxsize=8)
def scale_and_offset(mean: tuple[float, ...], std: tuple[float, ...], device: torch.device) -> tuple[Tensor, Tensor]:
    with torch.inference_mode(False):  # whoever asks first, training must be able to use them
        scale = torch.tensor([1 / (255 * s) for s in std], device=device)
        offset = torch.tensor([-m / s for m, s in zip(mean, std, strict=True)], device=device)
        return scale.view(1, -1, 1, 1), offset.view(1, -1, 1, 1)


def as_tensor(array: np.ndarray) -> Tensor:
    """A shared array as a tensor, without a copy."""
    with warnings.catch_warnings():
        # Shared arrays are read-only, and nothing here writes to them.
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return torch.from_numpy(array)

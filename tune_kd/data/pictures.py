"""One image file's bytes to one RGB square. The bytes are a stranger's: anything may be wrong with them."""

import warnings
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Final, Literal

import numpy as np
import numpy.typing as npt
import PIL
from PIL import Image, ImageOps

from tune_kd.data.sources import Images
from tune_kd.names import Interpolation

Fit = Literal["crop", "pad", "squash"]

MAX_PIXELS: Final = 89_478_485  # Pillow's own limit, from which on it only warns


class Unreadable(Exception):
    """Why one file yields no picture."""


def decode(raw: bytes, size: int, fit: Fit = "crop", interpolation: Interpolation = "bicubic") -> Images:
    """A picture (3, size, size). Raises Unreadable and nothing else."""
    if not raw:
        raise Unreadable("the file is empty")
    try:
        with Image.open(BytesIO(raw), formats=_formats()) as image:
            if image.width * image.height > MAX_PIXELS:
                raise Unreadable(f"more than {MAX_PIXELS:,} pixels")
            image.draft("RGB", (2 * size, 2 * size))  # a JPEG far larger than needed is decoded at a fraction
            image.load()
            return drawn(_upright(image), size, fit, interpolation)
    except Unreadable:
        raise
    except Image.DecompressionBombError:
        raise Unreadable(f"more than {MAX_PIXELS:,} pixels") from None
    except PIL.UnidentifiedImageError:
        raise Unreadable("no image format that Pillow reads") from None
    except Exception as error:  # Pillow's readers raise almost anything on damaged bytes
        reason = " ".join(str(error).split())[:120] or type(error).__name__
        raise Unreadable(f"damaged: {reason}") from None


def shorter_side(picture: Path | bytes | Image.Image) -> int | None:
    """In pixels, read off its header; None where it is no picture, which whoever decodes it will say."""
    try:
        if isinstance(picture, Image.Image):
            return min(picture.size)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(picture if isinstance(picture, Path) else BytesIO(picture), formats=_formats()) as opened:
                return min(opened.size)
    except Exception:  # as Pillow's readers raise
        return None


def drawn(image: Image.Image, size: int, fit: Fit = "crop", interpolation: Interpolation = "bicubic") -> Images:
    """An opened image as a picture: its centre cut out at the short side's length, or black bars, or squashed."""
    image, square = _rgb(image), (size, size)
    by = Image.Resampling.BICUBIC if interpolation == "bicubic" else Image.Resampling.BILINEAR
    match fit:
        case "crop":
            image = ImageOps.fit(image, square, by)
        case "pad":
            image = ImageOps.pad(image, square, by)
        case "squash":
            image = image.resize(square, by)
    return np.ascontiguousarray(np.asarray(image, dtype=np.uint8).transpose(2, 0, 1))


def _formats() -> tuple[str, ...]:
    """All that Pillow reads but EPS: for that it would run Ghostscript on a stranger's program."""
    Image.init()
    return tuple(name for name in Image.OPEN if name != "EPS")


@cache
def suffixes() -> frozenset[str]:
    """By which the names of their files usually end."""
    formats = _formats()
    return frozenset(suffix for suffix, name in Image.registered_extensions().items() if name in formats)


def _upright(image: Image.Image) -> Image.Image:
    """Turned as the camera was held; a broken EXIF block spoils no pixel."""
    try:
        return ImageOps.exif_transpose(image)
    except Exception:
        return image


def _rgb(image: Image.Image) -> Image.Image:
    """Three bytes a pixel: deep greys scaled instead of clipped, what is transparent on white."""
    if image.mode.startswith(("I", "F")):
        image = Image.fromarray(_eight_bits(np.asarray(image, dtype=np.float64), image.mode))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("RGB")


def _eight_bits(values: npt.NDArray[np.float64], mode: str) -> Images:
    """16-bit values keep their scale; floats and 32-bit integers have none, so they are stretched."""
    values = np.nan_to_num(values, posinf=0, neginf=0)
    low, high = float(values.min()), float(values.max())
    if mode.startswith("I") and low >= 0 and high <= 65535:
        low, high = 0, 65535
    scaled: Images = np.rint((values - low) * (255 / max(high - low, 1e-9))).astype(np.uint8)
    return scaled

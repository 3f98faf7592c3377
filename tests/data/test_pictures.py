import struct
import zlib
from io import BytesIO

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tune_kd.data.pictures import Unreadable, decode

SIDE = 8


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    target = BytesIO()
    image.save(target, kind, **options)
    return target.getvalue()


def plain(colour: object, mode: str = "RGB", size: tuple[int, int] = (20, 12)) -> Image.Image:
    return Image.new(mode, size, colour)


def colour_of(raw: bytes) -> list[int]:
    picture = decode(raw, SIDE)
    assert picture.shape == (3, SIDE, SIDE)
    assert picture.dtype == np.uint8
    return [round(float(channel.mean())) for channel in picture]


def palette_with_hole() -> bytes:
    image = plain(0, "P")
    image.putpalette([200, 10, 10, 0, 0, 255])
    return encoded(image, "PNG", transparency=0)


def animation() -> bytes:
    frames = [plain("red"), plain("blue")]
    return encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])


def grey16(value: int) -> Image.Image:
    return Image.fromarray(np.full((12, 20), value, dtype=np.uint16))


@pytest.mark.parametrize(
    ("raw", "colour"),
    [
        (encoded(plain((10, 200, 30)), "PNG"), (10, 200, 30)),
        (encoded(plain((10, 200, 30)), "WEBP", lossless=True), (10, 200, 30)),
        (encoded(plain(70, "L"), "BMP"), (70, 70, 70)),
        (encoded(plain(1, "1"), "PNG"), (255, 255, 255)),
        (encoded(grey16(32896), "PNG"), (128, 128, 128)),
        (encoded(grey16(32896), "TIFF"), (128, 128, 128)),
        (encoded(plain((0, 255, 255, 0), "CMYK"), "JPEG", quality=95), (254, 0, 0)),
        (palette_with_hole(), (255, 255, 255)),
        (encoded(plain((255, 0, 0, 0), "RGBA"), "PNG"), (255, 255, 255)),
        (encoded(plain((0, 128), "LA"), "PNG"), (127, 127, 127)),
        (animation(), (255, 0, 0)),
        (encoded(plain((9, 9, 9), size=(1, 300)), "PNG"), (9, 9, 9)),
    ],
)
def test_every_kind_of_image_becomes_rgb(raw: bytes, colour: tuple[int, int, int]) -> None:
    assert np.abs(np.subtract(colour_of(raw), colour)).max() <= 2


def test_floats_are_stretched_over_the_range() -> None:
    ramp = np.tile(np.linspace(-3, 5, 40, dtype=np.float32), (40, 1))
    picture = decode(encoded(Image.fromarray(ramp), "TIFF"), SIDE)
    assert picture.min() < 20
    assert picture.max() > 235


def test_the_centre_is_cut_out_and_the_short_side_kept() -> None:
    wide = np.zeros((16, 48, 3), dtype=np.uint8)
    wide[:, 16:32, 1] = 255
    picture = decode(encoded(Image.fromarray(wide), "PNG"), SIDE)
    assert picture[1].min() > 200


def test_a_camera_held_sideways_is_turned() -> None:
    pixels = np.zeros((64, 64, 3), dtype=np.uint8)
    pixels[:32] = 255
    exif = Image.Exif()
    exif[0x0112] = 6  # the top of the scene is the file's right side, so the file must be turned clockwise
    picture = decode(encoded(Image.fromarray(pixels), "JPEG", exif=exif), SIDE)
    assert picture[:, :, -1].mean() > 240
    assert picture[:, :, 0].mean() < 15


def test_a_large_jpeg_is_the_same_picture_when_decoded_at_a_fraction() -> None:
    ramp = np.tile(np.linspace(0, 255, 1600).astype(np.uint8)[None, :, None], (1200, 1, 3))
    picture = decode(encoded(Image.fromarray(ramp), "JPEG", quality=95), SIDE).astype(int)
    exact = decode(encoded(Image.fromarray(ramp), "PNG"), SIDE).astype(int)
    assert np.abs(picture - exact).max() <= 4


def bomb(width: int, height: int) -> bytes:
    """A few bytes of PNG that promise a picture of any size."""
    chunks = [b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0), b"IDAT" + zlib.compress(bytes(100))]
    framed = [struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body)) for body in chunks]
    return b"\x89PNG\r\n\x1a\n" + b"".join(framed)


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"", "empty"),
        (b"hello", "no image format"),
        (encoded(plain("red", size=(90, 90)), "JPEG")[:-300], "damaged"),
        (encoded(plain("red"), "PNG")[:45], "damaged"),
        (bomb(10_000, 10_000), "more than 89,478,485 pixels"),
        (bomb(60_000, 60_000), "more than 89,478,485 pixels"),
        (encoded(plain("red"), "EPS"), "no image format"),
    ],
)
def test_what_is_no_picture_says_why(raw: bytes, reason: str) -> None:
    with pytest.raises(Unreadable, match=reason):
        decode(raw, SIDE)


SEEDS = [
    encoded(Image.fromarray(np.arange(12 * 14 * 3, dtype=np.uint8).reshape(12, 14, 3)), "PNG"),
    encoded(Image.fromarray(np.arange(12 * 14 * 3, dtype=np.uint8).reshape(12, 14, 3)), "JPEG"),
    encoded(Image.fromarray(np.arange(12 * 14, dtype=np.uint8).reshape(12, 14)), "TIFF"),
    palette_with_hole(),
    animation(),
]


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A small image with some bytes overwritten, a piece cut out, or its end lost."""
    raw = bytearray(draw(st.sampled_from(SEEDS)))
    for place, value in draw(st.lists(st.tuples(st.integers(0, len(raw) - 1), st.integers(0, 255)), max_size=8)):
        raw[place] = value
    start, length = draw(st.integers(0, len(raw))), draw(st.integers(0, 40))
    if draw(st.booleans()):
        del raw[start : start + length]
    return bytes(raw[: draw(st.integers(0, len(raw)))] if draw(st.booleans()) else raw)


@pytest.mark.filterwarnings("ignore")
@settings(max_examples=400, deadline=None)
@given(st.one_of(st.binary(max_size=200), damaged()))
def test_any_bytes_are_a_picture_or_unreadable(raw: bytes) -> None:
    try:
        picture = decode(raw, SIDE)
    except Unreadable:
        return
    assert picture.shape == (3, SIDE, SIDE)
    assert picture.dtype == np.uint8

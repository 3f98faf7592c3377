"""Two sources of the same ten digits: real scanned ones, and ones drawn from fonts with a random pose."""

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

from tune_kd.data.sources import Asked, Dataset, Images, Labels, Source
from tune_kd.space.schema import Data, Positive

CLASSES: Final = tuple("0123456789")
SCANNED: Final = "scanned"
DRAWN: Final = "drawn"

Floats = npt.NDArray[np.float32]

_SIDE: Final = 32  # the bitmap that scikit-learn's scans were counted from, 4x4 blocks to 8x8
_BLOCK: Final = 4
_GLYPH: Final = 48  # a rendered glyph's box, a little finer than the bitmap
_STROKES: Final = (0.0, 0.5, 1.0)  # extra pen width in glyph pixels
_BATCH: Final = 1000  # drawn at a time, which bounds the memory
_NAMES: Final = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


class Settings(Data):
    """`drawn` is how many digits are drawn."""

    dataset: Literal["digits"] = "digits"
    drawn: Positive = 2000


def load(data: Settings, asked: Asked) -> Dataset:
    """Scanned and drawn digits as two sources; nothing is downloaded."""
    images, labels = draw(data.drawn, asked.seed)
    sources = {SCANNED: scanned(), DRAWN: Source(DRAWN, images, labels)}
    return Dataset("digits", CLASSES, sources, official_test=None, notes=(), judged=(SCANNED,))


def scanned() -> Source:
    """The 1,797 handwritten digits that ship with scikit-learn: 8x8 block counts 0..16, spread over 0..255."""
    table = _scans()
    images = table[:, :-1].reshape(-1, 1, 8, 8)
    return Source(SCANNED, _bytes_of(images), table[:, -1].astype(np.int64))


def _scans() -> npt.NDArray[np.float64]:
    """What sklearn.datasets.load_digits() reads, without the two seconds that its import takes."""
    package = find_spec("sklearn")
    assert package is not None
    assert package.origin is not None
    return np.loadtxt(Path(package.origin).parent / "datasets" / "data" / "digits.csv.gz", delimiter=",")


def draw(count: int, seed: int) -> tuple[Images, Labels]:
    """Digits with classes in turn, the same ones for a seed: a larger count only adds some."""
    rng = np.random.default_rng([seed, 0xD161])
    labels = np.arange(count, dtype=np.int64) % len(CLASSES)
    glyphs = _glyphs()
    batches = [_draw_some(labels[start : start + _BATCH], glyphs, rng) for start in range(0, count, _BATCH)]
    return np.concatenate(batches), labels


def _draw_some(labels: Labels, glyphs: Floats, rng: np.random.Generator) -> Images:
    """For each label a random font's glyph and pen, posed, roughened and reduced as the scans were."""
    fonts, strokes = rng.integers(len(glyphs), size=_BATCH), rng.integers(len(_STROKES), size=_BATCH)
    x, y = _pose(_BATCH, rng)
    ink = _sample(glyphs, (fonts, strokes, np.resize(labels, _BATCH)), x, y)
    ink += 0.15 * rng.standard_normal(ink.shape, dtype=np.float32)
    bitmap = _blurred(ink) > rng.uniform(0.25, 0.5, (_BATCH, 1, 1))
    blocks = bitmap.reshape(_BATCH, _SIDE // _BLOCK, _BLOCK, _SIDE // _BLOCK, _BLOCK).sum(axis=(2, 4))
    return _bytes_of(blocks)[: len(labels), None]


def _bytes_of(counts: npt.NDArray[np.generic]) -> Images:
    """Block counts 0..16 as bytes 0..255."""
    spread: Images = np.rint(counts.astype(np.float32) * (255 / _BLOCK**2)).astype(np.uint8)
    return spread


def _pose(count: int, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Where each bitmap pixel falls in its glyph's box (0..1): random shift, rotation, shear, wobble and size."""
    edge = 0.5 - 0.5 / _SIDE
    x: Floats = np.linspace(-edge, edge, _SIDE, dtype=np.float32)[None, None, :]
    y: Floats = np.linspace(-edge, edge, _SIDE, dtype=np.float32)[None, :, None]

    def pick(low: float, high: float) -> Floats:
        return rng.uniform(low, high, (count, 1, 1)).astype(np.float32)

    def wobble(along: Floats) -> Floats:
        wave: Floats = np.sin((pick(0.5, 1.2) * along + pick(0, 1)) * np.float32(2 * np.pi))
        return pick(-0.1, 0.1) * wave

    x, y = x - pick(-0.1, 0.1), y - pick(-0.04, 0.04)
    angle = pick(-0.25, 0.25)
    cosine: Floats = np.cos(angle)
    sine: Floats = np.sin(angle)
    x, y = cosine * x + sine * y, cosine * y - sine * x
    x = x + pick(-0.25, 0.25) * y
    x, y = x + wobble(y), y + wobble(x)
    half = np.float32(0.5)
    return x / pick(0.65, 1.05) + half, y / pick(0.88, 1.04) + half


def _sample(glyphs: Floats, chosen: tuple[npt.NDArray[np.int64], ...], x: Floats, y: Floats) -> Floats:
    """Bilinear reading of each image's glyph at (x, y); outside its box there is no ink (the atlas has a blank rim)."""
    column, row = np.clip(x * _GLYPH + 0.5, 0, _GLYPH + 0.999), np.clip(y * _GLYPH + 0.5, 0, _GLYPH + 0.999)
    left, top = column.astype(np.int32), row.astype(np.int32)
    right_share, low_share = column - left.astype(np.float32), row - top.astype(np.float32)
    font, stroke, label = (index[:, None, None] for index in chosen)

    def at(down: int, across: int) -> Floats:
        corner: Floats = glyphs[font, stroke, label, top + down, left + across]
        return corner

    upper: Floats = at(0, 0) * (1 - right_share) + at(0, 1) * right_share
    lower: Floats = at(1, 0) * (1 - right_share) + at(1, 1) * right_share
    ink: Floats = upper * (1 - low_share) + lower * low_share
    return ink


def _blurred(ink: Floats) -> Floats:
    """A 3x3 mean: ink spreads a little, lone specks go."""
    padded = np.pad(ink, ((0, 0), (1, 1), (1, 1)))
    rows = padded[:, :-2] + padded[:, 1:-1] + padded[:, 2:]
    mean: Floats = (rows[:, :, :-2] + rows[:, :, 1:-1] + rows[:, :, 2:]) / np.float32(9)
    return mean


def _glyphs() -> Floats:
    """Every digit of every font in every pen, (fonts, strokes, 10, box + rim, box + rim), each filling its box."""
    from PIL import Image, ImageDraw, ImageFont

    fonts: list[ImageFont.FreeTypeFont] = [ImageFont.truetype(str(path), _GLYPH) for path in _font_files()]
    default = ImageFont.load_default(_GLYPH)
    if isinstance(default, ImageFont.FreeTypeFont):
        fonts.append(default)
    atlas = np.zeros((len(fonts), len(_STROKES), len(CLASSES), _GLYPH + 2, _GLYPH + 2), dtype=np.float32)
    for font, stroke, label in np.ndindex(atlas.shape[:3]):
        canvas = Image.new("L", (2 * _GLYPH, 2 * _GLYPH))
        pen = ImageDraw.Draw(canvas)
        pen.text((_GLYPH // 2, _GLYPH // 2), CLASSES[label], 255, fonts[font], stroke_width=_STROKES[stroke])
        glyph = canvas.crop(canvas.getbbox())
        width = min(_GLYPH, round(_GLYPH * glyph.width / glyph.height))
        left = 1 + (_GLYPH - width) // 2
        box = glyph.resize((width, _GLYPH), Image.Resampling.BILINEAR)
        atlas[font, stroke, label, 1:-1, left : left + width] = np.asarray(box, dtype=np.float32) / 255
    return atlas


def _font_files() -> Iterator[Path]:
    """matplotlib's fonts whose characters 0..9 are real digits; the others hold symbols or nothing there."""
    import matplotlib
    from matplotlib.ft2font import FT2Font

    for path in sorted(Path(matplotlib.get_data_path(), "fonts", "ttf").glob("*.ttf")):
        font = FT2Font(str(path))
        if tuple(font.get_glyph_name(font.get_char_index(ord(digit))) for digit in CLASSES) == _NAMES:
            yield path

"""Encoded images of any kind, cut to squares and decoded once, whichever data set they come from."""

import hashlib
import os
import time
import warnings
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Final, NamedTuple

import numpy as np
from PIL.Image import Image

from tune_kd.data.picture_cache import PictureCache, in_words
from tune_kd.data.pictures import Unreadable, decode, drawn, shorter_side
from tune_kd.data.sources import Asked, Dataset, Images, Progress, Source
from tune_kd.errors import InputError, did_you_mean
from tune_kd.space.schema import Pictures

SIZE: Final = 32
MAX_BYTES: Final = 1 << 28
AHEAD: Final = 256  # pictures decoded before they are asked for
LISTED: Final = 20  # unreadable images named in a note; the rest are counted

MEASURED: Final = 20  # pictures whose own size is looked at
SHRUNK: Final = 1.5  # times smaller than they are, from which on that is said


@dataclass(frozen=True)
class Item:
    """An image before it is decoded. `read` returns its bytes or an opened image, or raises OSError or Unreadable."""

    source: str
    label: str
    name: str
    read: Callable[[], bytes | Image]


class Picture(NamedTuple):
    item: Item
    digest: bytes
    pixels: Images
    fresh: bool  # decoded now, not found in the cache


class Left(NamedTuple):
    """An image left out, and why."""

    item: Item
    reason: str


@dataclass(frozen=True)
class Origin:
    """Where images come from, in words for messages, and where their decoded form is kept."""

    key: str
    name: str
    home: Path


def dataset(
    kind: str,
    origin: Origin,
    items: Sequence[Item],
    data: Pictures,
    asked: Asked,
    unlabelled: Sequence[Left] = (),
) -> Dataset:
    """Every readable image of every source; a class that runs empty in a source is the user's to mend."""
    items = sorted(items, key=lambda item: (item.source, item.label, item.name))
    _check_names(origin, items)
    cache = PictureCache(origin.home, data.image_size or asked.side or SIZE, data.fit, asked.interpolation)
    images, read, left, notes = _pictures(cache, items, asked.progress)
    left = [*unlabelled, *left]
    require_classes(origin, read, left, {(item.source, item.label) for item in items})
    notes = [*_left_notes(origin, left, len(items) + len(unlabelled)), *notes]
    if not (data.image_size or asked.side):
        notes += _shrunk(read, cache.size)
    return _assembled(kind, read, images, tuple(notes))


def labelled(items: Sequence[Item]) -> tuple[list[Item], list[Left]]:
    """Items with a label, and those left out because they have none."""
    return [item for item in items if item.label], [Left(item, "it has no label") for item in items if not item.label]


def with_official_test(made: Dataset, names: Sequence[str]) -> Dataset:
    """The first source of these names as the test that others report on."""
    tested = next((name for name in names if name in made.sources), None)
    if tested is None or len(made.sources) == 1:
        return made
    others = {name: source for name, source in made.sources.items() if name != tested}
    return replace(made, sources=others, official_test=made.sources[tested], whole=None)


def _check_names(origin: Origin, items: Sequence[Item]) -> None:
    if not items:
        raise InputError(f"{origin.key}: {origin.name} names no images. Name another.")
    for name in dict.fromkeys(item.source for item in items):
        refuse_mix(origin.key, name)


def refuse_mix(key: str, name: str) -> None:
    """A source's name must not mean a mix."""
    if name == "all" or set(name) & set("+*"):
        raise InputError(
            f"{key}: a source cannot be called '{name}': in data.source, 'all' means every source, and + and * make "
            "mixes. Give it another name."
        )


def require_classes(origin: Origin, items: Sequence[Item], left: Sequence[Left], pairs: set[tuple[str, str]]) -> None:
    """Each source must hold each class that any has a place for, or sources could not be compared."""
    there = {(item.source, item.label) for item in items}
    labels = sorted({label for _, label in pairs})
    wanted = [(source, label) for source in sorted({source for source, _ in pairs}) for label in labels]
    missing = [pair for pair in wanted if pair not in there]
    if not missing:
        return
    source, label = missing[0]
    own = [f"{Path(item.name).name}: {reason}" for item, reason in left if (item.source, item.label) == missing[0]]
    why = f" ({len(own)} files are left out; {own[0]})" if own else ""
    near = did_you_mean(label, {name for other, name in there if other == source})
    more = f" {len(missing) - 1} more such gaps." if len(missing) > 1 else ""
    raise InputError(
        f"{origin.key}: source '{source}' has no readable image of class '{label}'{why}.{near}{more} "
        f"Every source must hold every class: {', '.join(labels)}. "
        f"Add images of {label} to {source}, or remove that class from the other sources."
    )


def read_file(path: Path) -> bytes:
    """A file's bytes, if it is one and of a size that an image may have."""
    if not os.path.isfile(path):
        raise Unreadable("not a file, or a link that leads nowhere")
    if path.stat().st_size > MAX_BYTES:
        raise Unreadable(f"larger than {MAX_BYTES >> 20} MiB")
    return path.read_bytes()


def _pictures(
    cache: PictureCache, items: Sequence[Item], progress: Progress
) -> tuple[Images, list[Item], list[Left], list[str]]:
    """The pictures of all readable items, in order, those items, the ones left out, and what to tell the user.

    While all stand in the cache's file where they belong, nothing is copied; from the first that does not, a new file
    is written. What an interruption leaves of it is kept, so that the next search goes on from there.
    """
    images: Images | None = None
    read: list[Item] = []
    digests: list[bytes] = []
    left: list[Left] = []
    notes = []
    try:
        with closing(_results(items, cache, progress)) as results:
            for result in results:
                if isinstance(result, Left):
                    left.append(result)
                    continue
                row = len(read)
                if images is None and not (cache.at(row, result.digest) and not result.fresh):
                    images = cache.room(len(items))
                    images[:row] = cache.images[:row]
                if images is not None:
                    images[row] = result.pixels
                read.append(result.item)
                digests.append(result.digest)
                if images is not None:
                    cache.note(digests, images)
    except BaseException:
        if images is not None and digests:
            cache.keep(digests, images)
        raise
    finally:
        if images is None or not digests:
            cache.drop()
    if images is None:
        images = cache.images
    elif reason := cache.keep(digests, images):
        notes.append(f"The decoded images could not be kept for the next search ({reason}).")
    if copies := len(digests) - len(set(digests)):
        notes.append(f"{copies} files are exact copies of others; no student trains on a copy of a held-out image.")
    return images[: len(read)], read, left, notes


def _results(items: Sequence[Item], cache: PictureCache, progress: Progress) -> Generator[Picture | Left, None, None]:
    """All items in threads, as Pillow and SHA-256 leave the interpreter free, with word of how far it is."""
    told = began = time.monotonic()
    room = in_words(len(items) * 3 * cache.size**2)
    pool = ThreadPoolExecutor(min(32, os.cpu_count() or 1))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about odd metadata, mostly; what is too large is refused by us
            for done, result in enumerate(_ahead(pool, items, cache), start=1):
                if time.monotonic() - told > 0.5 or done == len(items):
                    told = time.monotonic()
                    left = _left_in_words(done, len(items), told - began)
                    progress(f"{done:,} of {len(items):,} images read, {room} once decoded{left}")
                yield result
    finally:
        pool.shutdown(cancel_futures=True)


def _ahead(pool: ThreadPoolExecutor, items: Sequence[Item], cache: PictureCache) -> Iterator[Picture | Left]:
    """In order, and not further ahead than memory should hold pictures that nobody has taken yet."""
    waiting: deque[Future[Picture | Left]] = deque()
    for item in items:
        waiting.append(pool.submit(_read, item, cache))
        if len(waiting) >= AHEAD:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def _left_in_words(done: int, count: int, seconds: float) -> str:
    """How long it still takes, once that is worth saying."""
    left = seconds / done * (count - done)
    return f", about {left / 60:.0f} minutes left" if left > 90 else ""


def _read(item: Item, cache: PictureCache) -> Picture | Left:
    """One item's picture, decoded only if the cache has none for its bytes."""
    try:
        raw = item.read()
        digest = hashlib.sha256(raw if isinstance(raw, bytes) else _bytes_of(raw)).digest()
        known = cache.get(digest)
        return Picture(item, digest, _decoded(raw, cache) if known is None else known, known is None)
    except OSError as error:
        return Left(item, f"cannot be opened: {error.strerror or error}")
    except Unreadable as error:
        return Left(item, str(error))


def _decoded(raw: bytes | Image, cache: PictureCache) -> Images:
    kind = cache.size, cache.fit, cache.interpolation
    return decode(raw, *kind) if isinstance(raw, bytes) else drawn(raw, *kind)


def _bytes_of(image: Image) -> bytes:
    return f"{image.mode} {image.size}".encode() + image.tobytes()


def _left_notes(origin: Origin, left: Sequence[Left], tried: int) -> list[str]:
    if not left:
        return []
    listed = ", ".join(f"{item.name} ({reason})" for item, reason in left[:LISTED])
    more = f", and {len(left) - LISTED} more" if len(left) > LISTED else ""
    return [f"{len(left)} of {tried} files in {origin.name} are left out: {listed}{more}."]


def _shrunk(read: Sequence[Item], size: int) -> list[str]:
    """That networks see much less than there is, where nobody has named a size."""
    some = read[:: max(1, len(read) // MEASURED)][:MEASURED]
    sides = list(filter(None, map(_side, some)))
    own = int(median(sides)) if sides else 0
    if own < SHRUNK * size:
        return []
    return [
        f"Half of the pictures (of {len(sides)} looked at) have {own:,} pixels or more on their shorter side, and "
        f"networks see them at {size} x {size}. A larger data.image_size shows more of them, and takes longer."
    ]


def _side(item: Item) -> int | None:
    try:
        return shorter_side(item.read())
    except (OSError, Unreadable):  # it was there a moment ago
        return None


def _assembled(kind: str, read: Sequence[Item], images: Images, notes: tuple[str, ...]) -> Dataset:
    """Sources as slices of one array: items are in order of source, class and name."""
    classes = tuple(sorted({item.label for item in read}))
    number = {label: index for index, label in enumerate(classes)}
    labels = np.array([number[item.label] for item in read], dtype=np.int64)
    origin = np.array([item.source for item in read])
    sources = {}
    for name in dict.fromkeys(item.source for item in read):
        own = np.flatnonzero(origin == name)
        part = slice(int(own[0]), int(own[-1]) + 1)
        sources[name] = Source(name, images[part], labels[part], tuple(item.name for item in read[part]))
    return Dataset(kind, classes, sources, official_test=None, notes=notes, whole=images)

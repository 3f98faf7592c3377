"""A user's own images: `<root>/<source>/<class>/*`, of any format and size, cut to squares and decoded once."""

import hashlib
import os
import time
import unicodedata
import warnings
from collections.abc import Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np

from tune_kd.data.picture_cache import PictureCache
from tune_kd.data.pictures import Unreadable, decode
from tune_kd.data.sources import Dataset, Images, Progress, Source
from tune_kd.errors import InputError, did_you_mean
from tune_kd.space.schema import Data

SIZE: Final = 32
MAX_BYTES: Final = 1 << 28
LISTED: Final = 20  # unreadable files named in a note; the rest are counted

_LAYOUT: Final = "Expected images in <root>/<source>/<class>/, such as photos/google/cat/1.jpg."


class File(NamedTuple):
    source: str
    label: str
    path: Path


class Picture(NamedTuple):
    file: File
    digest: bytes
    pixels: Images
    fresh: bool  # decoded now, not found in the cache


class Left(NamedTuple):
    """A file left out, and why."""

    file: File
    reason: str


def load(data: Data, progress: Progress) -> Dataset:
    """Every readable image of every source; a class that runs empty in a source is the user's to mend."""
    root = _root(data)
    folders = [(source, folder) for source in _sources(root) for folder in _classes(source, root)]
    found = [(_text(source.name), _text(folder.name), folder) for source, folder in folders]
    files = sorted(File(source, label, path) for source, label, folder in found for path in _visible(folder))
    pairs = {(source, label) for source, label, _ in found}
    _require_classes(files, [], pairs)
    images, read, left, notes = _pictures(root, files, data.image_size or SIZE, progress)
    _require_classes(read, left, pairs)
    return _dataset(root, read, images, (*_left_notes(root, left, len(files)), *notes))


def _root(data: Data) -> Path:
    if not data.root:
        raise InputError(f"data.root: data.dataset=folder needs a folder: --set data.root=DIR. {_LAYOUT}")
    root = Path(data.root).expanduser()
    if not root.is_dir():
        raise InputError(f"data.root: '{data.root}' is not a folder (seen from {Path.cwd()}). {_LAYOUT}")
    return root


def _sources(root: Path) -> list[Path]:
    sources = _folders(root)
    if not sources:
        raise InputError(f"data.root: there are no source folders in {root}. {_LAYOUT}")
    for source in sources:
        if source.name == "all" or set(source.name) & set("+*"):
            raise InputError(
                f"data.root: a source cannot be called '{_text(source.name)}': in data.source, 'all' means every "
                f"source, and + and * make mixes. Rename the folder {_text(str(source))}."
            )
    return sources


def _classes(source: Path, root: Path) -> list[Path]:
    classes = _folders(source)
    if not classes:
        raise InputError(f"data.root: source '{_shown(source, root)}' in {root} has no class folders. {_LAYOUT}")
    return classes


def _folders(parent: Path) -> list[Path]:
    """Folders to descend into, links followed, but not those that lead back up."""
    here = parent.resolve()
    return [path for path in _visible(parent) if os.path.isdir(path) and not here.is_relative_to(path.resolve())]


def _visible(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except OSError as error:
        raise InputError(f"data.root: the folder {_text(str(folder))} cannot be opened: {error.strerror}.") from error


def _text(name: str) -> str:
    """A name that compares and prints alike everywhere: macOS splits accents, old disks hold odd bytes."""
    return unicodedata.normalize("NFC", os.fsencode(name).decode("utf-8", "backslashreplace"))


def _shown(path: Path, root: Path) -> str:
    return _text(str(path.relative_to(root)))


def _require_classes(files: Sequence[File], left: Sequence[Left], pairs: set[tuple[str, str]]) -> None:
    """Each source must hold each class that any has a folder for, or sources could not be compared."""
    there = {(file.source, file.label) for file in files}
    labels = sorted({label for _, label in pairs})
    wanted = [(source, label) for source in sorted({source for source, _ in pairs}) for label in labels]
    missing = [pair for pair in wanted if pair not in there]
    if not missing:
        return
    source, label = missing[0]
    own = [f"{_text(file.path.name)}: {reason}" for file, reason in left if (file.source, file.label) == missing[0]]
    why = f" ({len(own)} files are left out; {own[0]})" if own else ""
    near = did_you_mean(label, {name for other, name in there if other == source})
    more = f" {len(missing) - 1} more such gaps." if len(missing) > 1 else ""
    raise InputError(
        f"data.root: source '{source}' has no readable image of class '{label}'{why}.{near}{more} "
        f"Every source must hold every class: {', '.join(labels)}. "
        f"Add images to {source}/{label}/ or remove that class from the other sources."
    )


def _pictures(
    root: Path, files: Sequence[File], size: int, progress: Progress
) -> tuple[Images, list[File], list[Left], list[str]]:
    """The pictures of all readable files, in order, those files, the ones left out, and what to tell the user."""
    cache = PictureCache(root, size)
    images: Images = np.empty((len(files), 3, size, size), dtype=np.uint8)
    read: list[Picture] = []
    left: list[Left] = []
    with closing(_results(files, cache, progress)) as results:
        for result in results:
            if isinstance(result, Left):
                left.append(result)
            else:
                images[len(read)] = result.pixels
                read.append(result)
    images, digests, notes = images[: len(read)], [picture.digest for picture in read], []
    if any(picture.fresh for picture in read) and (reason := cache.write(digests, images)):
        notes.append(f"The decoded images could not be kept for the next search ({reason}).")
    if copies := len(digests) - len(set(digests)):
        notes.append(f"{copies} files are exact copies of others; no student trains on a copy of a held-out image.")
    return images, [picture.file for picture in read], left, notes


def _results(files: Sequence[File], cache: PictureCache, progress: Progress) -> Generator[Picture | Left, None, None]:
    """All files in threads, as Pillow and SHA-256 leave the interpreter free, with word of how far it is."""
    told = time.monotonic()
    pool = ThreadPoolExecutor(min(32, os.cpu_count() or 1))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about odd metadata, mostly; what is too large is refused by us
            for done, result in enumerate(pool.map(partial(_read, cache=cache), files), start=1):
                if time.monotonic() - told > 0.5 or done == len(files):
                    told = time.monotonic()
                    progress(f"{done:,} of {len(files):,} images read")
                yield result
    finally:
        pool.shutdown(cancel_futures=True)


def _read(file: File, cache: PictureCache) -> Picture | Left:
    """One file's picture, decoded only if the cache has none for its bytes."""
    if not os.path.isfile(file.path):
        return Left(file, "not a file, or a link that leads nowhere")
    try:
        if file.path.stat().st_size > MAX_BYTES:
            return Left(file, f"larger than {MAX_BYTES >> 20} MiB")
        raw = file.path.read_bytes()
        digest = hashlib.sha256(raw).digest()
        known = cache.get(digest)
        return Picture(file, digest, decode(raw, cache.size) if known is None else known, known is None)
    except OSError as error:
        return Left(file, f"cannot be opened: {error.strerror}")
    except Unreadable as error:
        return Left(file, str(error))


def _left_notes(root: Path, left: Sequence[Left], tried: int) -> list[str]:
    if not left:
        return []
    listed = ", ".join(f"{_shown(file.path, root)} ({reason})" for file, reason in left[:LISTED])
    more = f", and {len(left) - LISTED} more" if len(left) > LISTED else ""
    return [f"{len(left)} of {tried} files in {root} are left out: {listed}{more}."]


def _dataset(root: Path, read: Sequence[File], images: Images, notes: tuple[str, ...]) -> Dataset:
    """Sources as slices of one array: files are in order of source, class and name."""
    classes = tuple(sorted({file.label for file in read}))
    labels = np.array([classes.index(file.label) for file in read], dtype=np.int64)
    origin = np.array([file.source for file in read])
    sources = {}
    for name in dict.fromkeys(file.source for file in read):
        own = np.flatnonzero(origin == name)
        part = slice(int(own[0]), int(own[-1]) + 1)
        sources[name] = Source(name, images[part], labels[part], tuple(_shown(file.path, root) for file in read[part]))
    return Dataset("folder", classes, sources, official_test=None, notes=notes)

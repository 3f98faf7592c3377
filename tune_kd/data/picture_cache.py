"""Decoded pictures, kept in one array file that is mapped into memory, each under the SHA-256 of its encoded bytes.

Dates and sizes lie after a copy, a checkout or a `touch`; bytes do not, and reading them costs little beside decoding.
So the cache is never stale, moves with the images, and when some are added only those are decoded. Pixels are written
where they will stay; a list of digests and sums beside them says which are whole. Of a file that is being written such
a list is noted now and then, so that what a killed process has decoded is taken over by the next one.
"""

import fcntl
import hashlib
import io
import os
import shutil
import time
import uuid
import zlib
from pathlib import Path
from typing import Final

import numpy as np
import PIL

from tune_kd.data.pictures import Fit
from tune_kd.data.sources import Images, user_cache
from tune_kd.errors import InputError
from tune_kd.names import Interpolation

IN_MEMORY: Final = 1 << 30
"""Bytes of pictures that are held in memory where no disk has room for them; more are refused."""

SHARE_OF_DISK: Final = 0.9

NOTE_SECONDS: Final = 5.0
"""How much decoding a process that is killed may lose."""


def in_words(size: int) -> str:
    return f"{size / 1e9:,.1f} GB" if size >= 1e9 else f"{max(0.1, size / 1e6):,.1f} MB"


class PictureCache:
    """Lies beside the images or, where that cannot be written, with the user's caches."""

    def __init__(self, root: Path, size: int, fit: Fit = "crop", interpolation: Interpolation = "bicubic") -> None:
        self.size, self.fit, self.interpolation = size, fit, interpolation
        kind = "".join(f"-{each}" for each in (fit, interpolation) if each not in ("crop", "bicubic"))
        self._about = f"tune_kd pictures 2, pillow {PIL.__version__}, {size}x{size}{kind}"
        home = hashlib.sha256(os.fsencode(root.resolve())).hexdigest()[:16]
        self._places = (root / ".tune_kd" / f"images-{size}{kind}", user_cache() / f"images-{home}-{size}{kind}")
        self._rows: dict[bytes, int] = {}
        self._digests: np.ndarray = np.empty((0, 32), dtype=np.uint8)
        self._sums: np.ndarray = np.empty(0, dtype=np.uint32)
        self.images: Images = np.empty((0, 3, size, size), dtype=np.uint8)
        for place in self._places:
            self._take_over(place)
        next(place for place in (*self._places, None) if place is None or self._read(place))
        self._reasons: list[str] = []
        self._written: Path | None = None
        self._held: io.BufferedRandom | None = None
        """Open as long as it is written, and locked, so that others know that somebody still writes it."""
        self._new_sums: list[int] = []
        self._noted = time.monotonic()

    def get(self, digest: bytes) -> Images | None:
        """None as well where the pixels are no longer those that were written."""
        row = self._rows.get(digest)
        if row is None or zlib.crc32(self.images[row].tobytes()) != self._sums[row]:
            return None
        pixels: Images = self.images[row]
        return pixels

    def at(self, row: int, digest: bytes) -> bool:
        """Whether a picture stands in this row already."""
        return row < len(self._digests) and self._digests[row].tobytes() == digest

    def room(self, count: int) -> Images:
        """A new array for as many pictures: on a disk that has room, else in memory."""
        shape = (count, 3, self.size, self.size)
        needed = int(np.prod(shape))
        for place in self._places:
            temporary = place.with_name(f"{place.name}.{uuid.uuid4().hex}.tmp")
            try:
                place.parent.mkdir(parents=True, exist_ok=True)
                free = shutil.disk_usage(place.parent).free
                if needed > SHARE_OF_DISK * free:
                    raise OSError(0, f"only {in_words(free)} are free")
                made: Images = np.lib.format.open_memmap(temporary, mode="w+", dtype=np.uint8, shape=shape)
                held = temporary.open("rb+")
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
                # The disk's room is taken now: a full disk kills a process that writes to a hole in a mapped file.
                os.posix_fallocate(held.fileno(), 0, temporary.stat().st_size)
                self._written, self._held = temporary, held
                return made
            except OSError as error:
                _remove(temporary)
                self._reasons.append(f"{place.parent}: {error.strerror or error}")
        if needed > IN_MEMORY:
            raise InputError(
                f"data: {count:,} images of {self.size} x {self.size} pixels take {in_words(needed)} once they are "
                f"decoded, and there is no room for them ({'; '.join(self._reasons)}). Make room, name a folder of a "
                "larger disk in TUNE_KD_CACHE, or take a smaller data.image_size."
            )
        return np.empty(shape, dtype=np.uint8)

    def note(self, digests: list[bytes], images: Images) -> None:
        """Says which rows of a new file are whole, every few seconds; where that cannot be written, nothing is lost."""
        if self._written is None or time.monotonic() - self._noted < NOTE_SECONDS:
            return
        self._noted = time.monotonic()
        try:
            self._list(digests, images).replace(_list_of(self._written))
        except OSError:
            return

    def keep(self, digests: list[bytes], images: Images) -> str | None:
        """Keeps the first rows of the array that `room` made. Returns why they could not be kept."""
        if self._written is None:
            return "; ".join(self._reasons)
        temporary = self._written
        place = next(
            each for each in self._places if temporary.name.startswith(each.name) and temporary.parent == each.parent
        )
        try:
            images.flush() if isinstance(images, np.memmap) else None
            listed = self._list(digests, images)
            # Pixels first: a list of others is found out by its sums.
            temporary.replace(place.with_suffix(".npy"))
            listed.replace(place.with_suffix(".npz"))
            return None
        except OSError as error:
            return f"{place.parent}: {error.strerror or error}"
        finally:
            self.drop()

    def _list(self, digests: list[bytes], images: Images) -> Path:
        """A new file that says what is in the first rows, each of them summed once."""
        assert self._written is not None
        for row in range(len(self._new_sums), len(digests)):
            self._new_sums.append(zlib.crc32(images[row].tobytes()))
        table = np.frombuffer(b"".join(digests), dtype=np.uint8).reshape(-1, 32)
        listed = self._written.with_suffix(".listing")
        try:
            with listed.open("wb") as file:
                np.savez(
                    file, about=np.array(self._about), digests=table, sums=np.array(self._new_sums, dtype=np.uint32)
                )
                file.flush()
                os.fsync(file.fileno())
        except OSError:
            _remove(listed)
            raise
        return listed

    def _take_over(self, place: Path) -> None:
        """What killed processes have left is kept where it holds more than what is there, and goes otherwise."""
        try:
            left = sorted(place.parent.glob(f"{place.name}.*.tmp"))
        except OSError:
            return
        for temporary in left:
            try:
                with temporary.open("rb") as file:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    if self._rows_in(_list_of(temporary)) > self._rows_in(place.with_suffix(".npz")):
                        temporary.replace(place.with_suffix(".npy"))
                        _list_of(temporary).replace(place.with_suffix(".npz"))
                    for each in (temporary, _list_of(temporary), temporary.with_suffix(".listing")):
                        _remove(each)
            except OSError:
                continue  # somebody writes it, or it cannot be touched

    def _rows_in(self, listed: Path) -> int:
        """How many pictures of this kind a list has; none where it is not whole."""
        try:
            with np.load(listed, allow_pickle=False) as stored:
                return len(stored["sums"]) if str(stored["about"]) == self._about else 0
        except Exception:  # whatever is wrong with it, it is only a cache
            return 0

    def drop(self) -> None:
        """Leaves nothing half written behind."""
        if self._written is not None:
            for each in (self._written, _list_of(self._written), self._written.with_suffix(".listing")):
                _remove(each)
            self._written = None
        if self._held is not None:
            self._held.close()
            self._held = None

    def _read(self, place: Path) -> bool:
        """False for anything that is not whole and ours; npz files carry checksums, and nothing is unpickled."""
        try:
            with np.load(place.with_suffix(".npz"), allow_pickle=False) as stored:
                if str(stored["about"]) != self._about:
                    return False
                digests, sums = stored["digests"], stored["sums"]
            images = np.load(place.with_suffix(".npy"), mmap_mode="r", allow_pickle=False)
        except Exception:  # whatever is wrong with it, it is only a cache
            return False
        shapes = digests.shape == (len(sums), 32) and images.shape[1:] == (3, self.size, self.size)
        if not shapes or len(images) < len(sums) or images.dtype != np.uint8 or digests.dtype != np.uint8:
            return False
        self._rows = {each.tobytes(): row for row, each in enumerate(digests)}
        self._digests, self._sums, self.images = digests, sums, images
        return True


def _list_of(temporary: Path) -> Path:
    """Where the list of a file stands that is being written."""
    return temporary.with_suffix(".rows")


def _remove(temporary: Path) -> None:
    try:
        temporary.unlink()
    except OSError:
        return  # it was renamed, or never made

"""Decoded pictures of a folder, kept in one array file, each under the SHA-256 of its file's bytes.

Dates and sizes lie after a copy, a checkout or a `touch`; bytes do not, and reading them costs little beside decoding.
So the cache is never stale, moves with the folder, and when files are added only those are decoded.
"""

import hashlib
import os
import uuid
from pathlib import Path

import numpy as np
import PIL

from tune_kd.data.pictures import Fit
from tune_kd.data.sources import Images, user_cache


class PictureCache:
    """Lies beside the images or, where that cannot be written, with the user's caches."""

    def __init__(self, root: Path, size: int, fit: Fit = "crop") -> None:
        self.size, self.fit = size, fit
        kind = "" if fit == "crop" else f"-{fit}"
        self._about = f"tune_kd pictures 1, pillow {PIL.__version__}, {size}x{size}{kind}"
        home = hashlib.sha256(os.fsencode(root.resolve())).hexdigest()[:16]
        self._places = (
            root / ".tune_kd" / f"images-{size}{kind}.npz",
            user_cache() / f"images-{home}-{size}{kind}.npz",
        )
        self._rows: dict[bytes, int] = {}
        self._images: Images = np.empty((0, 3, size, size), dtype=np.uint8)
        next(place for place in (*self._places, None) if place is None or self._read(place))

    def get(self, digest: bytes) -> Images | None:
        row = self._rows.get(digest)
        return None if row is None else self._images[row]

    def write(self, digests: list[bytes], images: Images) -> str | None:
        """Whole or not at all, so that no reader ever meets half a file. Returns why it could not be kept."""
        table = np.frombuffer(b"".join(digests), dtype=np.uint8).reshape(-1, 32)
        reasons = []
        for place in self._places:
            temporary = place.with_name(f"{place.name}.{uuid.uuid4().hex}.tmp")
            try:
                place.parent.mkdir(parents=True, exist_ok=True)
                with temporary.open("xb") as file:
                    np.savez(file, about=np.array(self._about), digests=table, images=images)
                    file.flush()
                    os.fsync(file.fileno())
                temporary.replace(place)
                return None
            except OSError as error:
                reasons.append(f"{place.parent}: {error.strerror or error}")
            finally:
                _remove(temporary)
        return "; ".join(reasons)

    def _read(self, place: Path) -> bool:
        """False for anything that is not whole and ours; npz files carry checksums, and nothing is unpickled."""
        try:
            with np.load(place, allow_pickle=False) as stored:
                if str(stored["about"]) != self._about:
                    return False
                digests, images = stored["digests"], stored["images"]
        except Exception:  # whatever is wrong with it, it is only a cache
            return False
        shapes = digests.shape == (len(images), 32) and images.shape[1:] == (3, self.size, self.size)
        if not shapes or images.dtype != np.uint8 or digests.dtype != np.uint8:
            return False
        self._rows, self._images = {digest.tobytes(): row for row, digest in enumerate(digests)}, images
        return True


def _remove(temporary: Path) -> None:
    try:
        temporary.unlink()
    except OSError:
        return  # it was renamed, or never made

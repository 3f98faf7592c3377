"""Every image of a data set once, and who may still have it."""

import zlib
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from tune_kd.data import duplicates
from tune_kd.data.sources import Dataset
from tune_kd.errors import InputError

Indices = npt.NDArray[np.int64]


class Pool:
    """Every image once, and which are still free. What is taken leaves together with its exact copies, and with its
    near-duplicates where those are to stay together."""

    def __init__(self, dataset: Dataset, seed: int, together: bool = True) -> None:
        sources = list(dataset.sources.values())
        tests = [dataset.official_test] if dataset.official_test else []
        parts = [source.images for source in sources + tests]
        # Many images are mapped from a file, and a copy of them would not fit into memory.
        self.images = np.concatenate(parts) if dataset.whole is None else dataset.whole
        self.labels = np.concatenate([source.labels for source in sources + tests])
        self.images.setflags(write=False)
        self.labels.setflags(write=False)
        self._classes = dataset.classes
        self._names = [source.name for source in sources]
        lengths = [len(source.labels) for source in sources + tests]
        self._source = np.repeat(np.arange(len(lengths)), lengths)
        self._free = self._source < len(sources)
        # A stream of its own for each source: adding one leaves the others' images where they were.
        seeds = [[seed, zlib.crc32(source.name.encode())] for source in sources + tests]
        draws = [np.random.default_rng(own).random(length) for own, length in zip(seeds, lengths, strict=True)]
        self._chance = np.concatenate(draws)
        content = np.array([hash(image.tobytes()) for image in self.images])
        self._together = together
        self.alike = duplicates.find(self.images, content)
        self._group = self.alike.group if together else duplicates.copies(content).group
        # Near-duplicates are drawn as one. Where there are none, this is what was drawn for each.
        self._drawn = self._chance[self.alike.first] if together else self._chance

    def official(self) -> Indices:
        """The data set's own test images, which stand behind the sources."""
        taken = np.flatnonzero(self._source == len(self._names))
        self._remove(taken)
        return taken

    def whole(self, sources: Sequence[str]) -> Indices:
        """All of some sources, less copies of images that were taken before."""
        taken = self.left(sources)
        missing = np.setdiff1d(np.arange(len(self._classes)), self.labels[taken])
        if len(missing):
            raise InputError(
                f"data: {' and '.join(sources)}, set apart for tests or validation, has no image of class "
                f"'{self._classes[missing[0]]}' that no other part holds. Add some."
            )
        self._remove(taken)
        return taken

    def left(self, sources: Sequence[str]) -> Indices:
        """What is still free in some sources."""
        return np.flatnonzero(self._free & self._among(sources))

    def take(self, role: str, share: float, sources: Sequence[str]) -> Indices:
        """A share of some sources (or a number of images), in proportion to classes and, in each class, to sources."""
        free = self.left(sources)
        wanted = share if isinstance(share, int) else round(share * int(self._among(sources).sum()))
        counts = np.bincount(self.labels[free], minlength=len(self._classes))
        self._check(f"data.split.{role}: {share}", wanted, counts, sources)
        stratum = self._source[free] * len(self._classes) + self.labels[free]
        quantile = (_rank(stratum, self._drawn[free]) + 0.5) / np.bincount(stratum)[stratum]
        first = _rank(self.labels[free], quantile) < _allot(wanted, counts)[self.labels[free]]
        taken: Indices = free[first]
        self._remove(taken)
        return taken

    def student_order(self, name: str) -> Indices:
        """The free images of a source: a class in turn, so that every prefix is balanced while classes last."""
        free = self.left([name])
        return free[np.lexsort((self._chance[free], _rank(self.labels[free], self._chance[free])))]

    def told(self, used: Indices, tested: Indices) -> str:
        """What is to be said of near-duplicates; the data set's own test images are a source like any other."""
        names = [*self._names, "the test images"]
        return duplicates.words(self.alike, names, self._source, used, tested, self._together)

    def _among(self, sources: Sequence[str]) -> npt.NDArray[np.bool_]:
        return np.isin(self._source, [self._names.index(name) for name in sources])

    def _remove(self, taken: Indices) -> None:
        self._free &= ~np.isin(self._group, self._group[taken])

    def _check(self, key: str, wanted: int, counts: Indices, sources: Sequence[str]) -> None:
        where = f"of {int(counts.sum()):,} still free in {', '.join(sources)}"
        if not counts.all():
            name = self._classes[int(np.argmin(counts))]
            raise InputError(f"{key}: class '{name}' has no image left {where}. Set fewer aside, or add images of it.")
        if wanted > counts.sum():
            raise InputError(f"{key} asks for {wanted} images {where}. Lower data.split's test, validation or teacher.")
        if wanted < len(counts):
            raise InputError(
                f"{key} is {wanted} images {where}: too few to hold one of each of the {len(counts)} classes. "
                f"Use at least {len(counts)} images."
            )


def _rank(groups: npt.NDArray[np.int64], key: npt.NDArray[np.float64]) -> Indices:
    """Each element's place within its group, by key."""
    order = np.lexsort((key, groups))
    starts = np.concatenate([[0], np.cumsum(np.bincount(groups))])
    rank = np.empty(len(groups), dtype=np.int64)
    rank[order] = np.arange(len(groups)) - starts[groups[order]]
    return rank


def _allot(wanted: int, counts: Indices) -> Indices:
    """`wanted` images over the classes by largest remainder, but one of each at the least."""
    quotas = wanted * counts / counts.sum()
    shares: Indices = np.floor(quotas).astype(np.int64)
    shares[np.argsort(shares - quotas, kind="stable")[: wanted - shares.sum()]] += 1
    while not shares.all():
        shares[np.argmax(shares)] -= 1
        shares[np.argmin(shares)] += 1
    return shares

"""Images that are the same picture, saved again or resized: found by what is left of them in 8 x 8 and 16 x 16 cells.

Each picture becomes the mean colours of its cells, less the picture's own, at length 1: tint, brightness and contrast
do not count. Two are near-duplicates where these differ by at most ALIKE, in both. A tree over the ten directions in
which the pictures of a set differ most finds the closest of each without comparing each with each, as a distance is
never longer in fewer directions. What is too small or too even to tell by is left to the exact copies.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from tune_kd.data.sources import Images

Floats = npt.NDArray[np.float32]
Indices = npt.NDArray[np.int64]

COARSE: Final = 8
FINE: Final = 16
ALIKE: Final = 0.15
"""Of CIFAR-10's closest pairs eyes find no mistake up to here. A photo saved as JPEG, or a pixel wider, is nearer."""

SMALLEST: Final = 16
"""Pixels a side. Smaller pictures are drawings of few dots, which are alike without being copies."""

EVEN: Final = 4.0
"""Deviation of the cells, in levels of 255, below which a picture is nothing but noise."""

NEIGHBOURS: Final = 8
"""With so many each picture is compared, itself among them: of a thousand that are alike each finds some others."""

DIRECTIONS: Final = 10
SAMPLE: Final = 5000
BATCH: Final = 2048


@dataclass(frozen=True)
class Alike:
    """For each image the number of its group, and which images have another one that is nearly but not quite theirs."""

    group: Indices
    near: npt.NDArray[np.bool_]

    @property
    def first(self) -> Indices:
        """For each image the first of its near-duplicates; itself, where it has none."""
        _, first = np.unique(self.group, return_index=True)
        return np.where(self.near, first[self.group], np.arange(len(self.group)))


def copies(content: npt.NDArray[np.int64]) -> Alike:
    """Exact ones alone, by a number for each content."""
    group = np.unique(content, return_inverse=True)[1]
    return Alike(group, np.zeros(len(group), dtype=bool))


def find(images: Images, content: npt.NDArray[np.int64]) -> Alike:
    """Exact copies and near-duplicates; where one is like two others, all three are one group."""
    _, first, own = np.unique(content, return_index=True, return_inverse=True)
    pairs = _pairs(images, first)
    if not len(pairs):
        return copies(content)
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    links = coo_array((np.ones(len(pairs)), pairs.T), shape=(len(first), len(first)))
    group = connected_components(links, directed=False)[1].astype(np.int64)
    return Alike(group[own], np.isin(own, pairs))


def _pairs(images: Images, some: Indices) -> Indices:
    """Places in `some` of images that are near-duplicates of each other, none of which are exact copies."""
    nothing = np.empty((0, 2), dtype=np.int64)
    if min(images.shape[2:]) < SMALLEST or len(some) < 2:
        return nothing
    from scipy.spatial import cKDTree

    cells, told = _cells(images, some, COARSE)
    seen = np.flatnonzero(told)
    if len(seen) < 2:
        return nothing
    few = _fewer(cells[seen])
    distance, other = cKDTree(few).query(few, k=NEIGHBOURS, distance_upper_bound=ALIKE)
    near, place = np.nonzero(np.isfinite(distance))
    close = np.unique(np.sort(np.stack([near, other[near, place]], axis=1), axis=1), axis=0)
    close = close[close[:, 0] < close[:, 1]]
    pairs: Indices = seen[close[_apart(cells[seen], close) <= ALIKE]]
    members, place = np.unique(pairs, return_inverse=True)
    fine, _ = _cells(images, some[members], FINE)
    alike: Indices = pairs[_apart(fine, place.reshape(-1, 2)) <= ALIKE]
    return alike


def _cells(images: Images, some: Indices, side: int) -> tuple[Floats, npt.NDArray[np.bool_]]:
    """Mean colours of so many cells a side, normalised, and which pictures have any contrast."""
    # Of a large picture every k-th pixel is enough, and all of them would take minutes.
    step = max(1, min(images.shape[2:]) // (4 * FINE))
    rows, columns = (np.linspace(0, -(-length // step), side + 1).round().astype(int) for length in images.shape[2:])
    area = (np.diff(rows)[:, None] * np.diff(columns)).astype(np.float32)
    found = np.empty((len(some), images.shape[1], side * side), dtype=np.float32)
    for start in range(0, len(some), BATCH):
        pictures = images[some[start : start + BATCH], :, ::step, ::step].astype(np.float32)
        sums = np.add.reduceat(np.add.reduceat(pictures, rows[:-1], axis=2), columns[:-1], axis=3)
        found[start : start + BATCH] = (sums / area).reshape(-1, *found.shape[1:])
    found -= found.mean(axis=2, keepdims=True)
    cells: Floats = found.reshape(len(some), images.shape[1] * side * side)
    length = np.linalg.norm(cells, axis=1)
    return cells / np.maximum(length, 1e-6)[:, None], length > EVEN * np.sqrt(cells.shape[1])


def _fewer(cells: Floats) -> Floats:
    """The directions in which most pictures differ most."""
    sample = cells[:: max(1, len(cells) // SAMPLE)] - cells.mean(axis=0)
    _, directions = np.linalg.eigh(sample.T @ sample)
    found: Floats = cells @ directions[:, -DIRECTIONS:]
    return found


def _apart(cells: Floats, pairs: Indices) -> Floats:
    found: Floats = np.linalg.norm(cells[pairs[:, 0]] - cells[pairs[:, 1]], axis=1)
    return found


def words(alike: Alike, names: Sequence[str], source: Indices, used: Indices, tested: Indices, together: bool) -> str:
    """What is said about them: how many, between which sources, and what became of them. `used` are all images that
    have a part, and `tested` those for validation and test."""
    near = np.flatnonzero(alike.near)
    if not len(near):
        return ""
    groups = alike.group[near]
    count, between = len(np.unique(groups)), _between(groups, [names[place] for place in source[near]])
    where = f", between {between}" if between else ""
    told = f"{len(near):,} images are near-duplicates (saved again, or resized), {count:,} pictures in all{where}."
    if together:
        left = len(np.setdiff1d(near, used))
        rest = f" {left:,} that fell on two sides are left out." if left else ""
        return f"{told} Each picture is on one side of the splits.{rest}"
    seen = np.intersect1d(near, tested)
    trained = alike.group[np.setdiff1d(np.intersect1d(near, used), tested)]
    held = int(np.isin(alike.group[seen], trained).sum())
    kept = f"{held:,} images for validation or test have one among those that are trained on"
    return f"{told} They stay where they fall (data.duplicates: keep): {kept}."


def _between(groups: Indices, sources: Sequence[str]) -> str:
    """Pairs of sources, those with most pictures in both first."""
    held: dict[int, set[str]] = {}
    for group, name in zip(groups.tolist(), sources, strict=True):
        held.setdefault(group, set()).add(name)
    found: dict[str, int] = {}
    for own in held.values():
        if len(own) > 1:
            label = " and ".join(sorted(own))
            found[label] = found.get(label, 0) + 1
    ordered = sorted(found.items(), key=lambda each: -each[1])
    return ", ".join(f"{label} {count:,}" for label, count in ordered[:5])

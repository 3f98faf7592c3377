"""Where some classes are rarer than others: on which mix students are trained, and on which they are tested."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

RARER: Final = 1.25
"""Classes that differ less in number are called alike."""

SURE: Final = 3.0
"""Standard deviations that chance hardly ever reaches."""


def by_chance(images: int, share: float) -> float:
    """What guessing a class of this share hardly ever reaches on so many images."""
    return share + SURE * math.sqrt(share * (1 - share) / images)


def words(sizes: Sequence[Any], tests: Sequence[int], students: Mapping[str, Sequence[int]]) -> str:
    """For a study with these levels of `data.size`. `tests` has how many test images there are of each class,
    `students` how many images of each class (or of the rarest and the most frequent) a source has for students."""
    rarer = {name: counts for name, counts in students.items() if _uneven(counts)}
    if not _uneven(tests) and not rarer:
        return ""
    each = "the same number of test images of each"
    if _uneven(tests):
        each = f"{min(tests):,} to {max(tests):,} test images each"
    elif tests and min(tests) != max(tests):
        each = f"about as many test images of each, {min(tests):,} to {max(tests):,}"
    parts = [f"Classes are tested as they come, with {each}."]
    if "all" in sizes:
        there = "; ".join(f"{name} has {min(counts):,} to {max(counts):,} of a class" for name, counts in rarer.items())
        parts.append(f"With `all` images students learn from classes as they come{f' ({there})' if there else ''}.")
    if set(sizes) - {"all"}:
        parts.append(
            "A limited data.size is balanced over classes as far as the images go, so its students learn from another "
            "mix than `all` is" + (", and than they are tested on." if _uneven(tests) else ".")
        )
    return " ".join(parts)


def _uneven(counts: Sequence[int]) -> bool:
    return bool(counts) and max(counts) >= RARER * min(counts) and max(counts) > min(counts)

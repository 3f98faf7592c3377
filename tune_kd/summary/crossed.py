"""The interval of a gain over seeds and test images together: both are samples, and both arms saw the same of each.

Every pair of finals gives each test image a difference of -1, 0 or 1: a table of seeds by images. The variance of its
mean is that of a two-way layout with both factors random (Cornfield and Tukey, 1956): what seeds add, plus what images
add, less what is counted twice. The degrees of freedom are Satterthwaite's.
"""

import base64
import math
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import special

from tune_kd import names

Bits = npt.NDArray[np.float64]


def correct(finals: pd.DataFrame) -> dict[int, Bits]:
    """By seed, which test images a final got right; nothing where a search of an earlier version did not keep it."""
    if finals.empty or names.CORRECT not in finals:
        return {}
    known = finals[finals[names.CORRECT].map(lambda value: isinstance(value, str))]
    return {int(seed): _unpacked(text) for seed, text in zip(known["seed"], known[names.CORRECT], strict=True)}


def _unpacked(text: str) -> Bits:
    count, _, bits = text.partition(":")
    return np.unpackbits(np.frombuffer(base64.b64decode(bits), np.uint8), count=int(count)).astype(np.float64)


def interval(distilled: Mapping[int, Bits], scratch: Mapping[int, Bits], level: float) -> tuple[float, float] | None:
    """Low and high of the mean difference; None with fewer than two pairs, or where all are alike."""
    seeds = sorted(distilled.keys() & scratch.keys())
    if len(seeds) < 2 or len({len(side[seed]) for side in (distilled, scratch) for seed in seeds}) > 1:
        return None
    table = np.stack([distilled[seed] - scratch[seed] for seed in seeds])
    count, images = table.shape
    if images < 2:
        return None
    rows, columns, mean = table.mean(1), table.mean(0), float(table.mean())
    of_seeds = float(rows.var(ddof=1)) / count
    of_images = float(columns.var(ddof=1)) / images
    rest = table - rows[:, None] - columns + mean
    twice = float((rest**2).sum()) / ((count - 1) * (images - 1)) / (count * images)
    variance = of_seeds + max(0.0, of_images - twice)
    if not variance:
        return None
    parts = ((of_seeds, count - 1), (of_images, images - 1), (twice, (count - 1) * (images - 1)))
    # What is counted twice is taken off, which can leave less than any part has: there are as many as seeds have.
    freedom = max(variance**2 / sum(part**2 / degrees for part, degrees in parts), count - 1)
    both = float(special.stdtrit(freedom, 1 - level / 2)) * math.sqrt(variance)
    # Images can only add to what seeds leave open.
    seeds_alone = float(special.stdtrit(count - 1, 1 - level / 2)) * math.sqrt(of_seeds)
    half = max(both, seeds_alone)
    return mean - half, mean + half

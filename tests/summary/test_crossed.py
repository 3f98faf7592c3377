"""The interval over seeds and test images, against planted truths."""

import base64

import numpy as np
import pandas as pd
import pytest
import scipy.stats

from tune_kd import names
from tune_kd.summary import crossed, judge, statistics


def bits(right):
    packed = base64.b64encode(np.packbits(np.asarray(right, bool)).tobytes()).decode()
    return f"{len(right)}:{packed}"


def drawn(random, seeds, images, sd_seed, gain):
    """Both arms on one sample of images: an image has a difficulty, a final a luck of its own."""
    difficulty = random.normal(0, 1, images)
    hard = random.normal(0, 0.5, images)
    found = []
    for shift in (gain, 0.0):
        skill = 1 + shift + random.normal(0, sd_seed, seeds)
        extra = hard if shift == gain else 0
        noise = random.normal(0, 0.5, (seeds, images))
        found.append({s: (skill[s] + extra + noise[s] > difficulty).astype(float) for s in range(seeds)})
    return found


def test_it_is_read_back_as_it_was_packed():
    right = [True, False, True, True, False, False, True, False, True, True, True]
    finals = pd.DataFrame({"seed": [3, 4], names.CORRECT: [bits(right), None]})
    found = crossed.correct(finals)
    assert list(found) == [3]
    assert found[3].tolist() == [float(value) for value in right]
    assert crossed.correct(pd.DataFrame({"seed": [1]})) == crossed.correct(finals.iloc[:0]) == {}


def test_two_seeds_that_hardly_differ_make_no_interval_of_thousands_of_points():
    random = np.random.default_rng(5)
    widest = 0.0
    for _ in range(50):
        noise = [(random.random((2, 24)) > 0.4).astype(float) for _ in range(2)]
        found = crossed.interval(*(dict(enumerate(side)) for side in noise), 0.05)
        widest = max(widest, found[1] - found[0] if found else 0.0)
    assert 0.5 < widest < 2 * scipy.stats.t.ppf(0.975, 1)  # of differences that lie between -1 and 1


def test_its_mean_is_the_gain_and_it_is_never_narrower_than_that_over_seeds():
    random = np.random.default_rng(0)
    for seeds in (2, 3, 5, 10):
        distilled, scratch = drawn(random, seeds, 300, 0.1, 0.2)
        low, high = crossed.interval(distilled, scratch, 0.05)
        means = [{s: float(v.mean()) for s, v in side.items()} for side in (distilled, scratch)]
        alone = statistics.gain(*means)
        assert (low + high) / 2 == pytest.approx(alone.mean)
        assert low <= alone.low + 1e-12
        assert high >= alone.high - 1e-12


@pytest.mark.parametrize("sd_seed", [0.0, 0.05])
def test_it_covers_other_images_as_well_which_the_one_over_seeds_does_not(sd_seed):
    random = np.random.default_rng(1)
    truth = np.mean([d[0].mean() - s[0].mean() for d, s in (drawn(random, 1, 200_000, 0.0, 0.3) for _ in range(3))])
    both, alone = 0, 0
    for _ in range(400):
        distilled, scratch = drawn(random, 5, 300, sd_seed, 0.3)
        low, high = crossed.interval(distilled, scratch, 0.05)
        both += low <= truth <= high
        means = [{s: float(v.mean()) for s, v in side.items()} for side in (distilled, scratch)]
        gain = statistics.gain(*means)
        alone += gain.low <= truth <= gain.high
    assert both / 400 >= 0.93
    assert alone < both


def test_what_has_no_interval():
    one = {1: np.ones(9)}
    assert crossed.interval(one, one, 0.05) is None
    assert crossed.interval({1: np.ones(9), 2: np.ones(9)}, {1: np.ones(9), 2: np.ones(9)}, 0.05) is None
    assert crossed.interval({1: np.ones(9), 2: np.ones(8)}, {1: np.ones(9), 2: np.ones(9)}, 0.05) is None


def test_it_is_the_two_way_layout_by_its_mean_squares():
    random = np.random.default_rng(3)
    seeds, images = 4, 40
    # Images matter here and seeds hardly do, so that what images add decides the width.
    easy = random.random(images) < 0.5
    distilled = {s: (random.random(images) < np.where(easy, 0.95, 0.4)).astype(float) for s in range(seeds)}
    scratch = {s: (random.random(images) < np.where(easy, 0.4, 0.5)).astype(float) for s in range(seeds)}
    table = np.array([distilled[s] - scratch[s] for s in range(seeds)])
    squares = {
        "seeds": images * sum((row.mean() - table.mean()) ** 2 for row in table) / (seeds - 1),
        "images": seeds * sum((column.mean() - table.mean()) ** 2 for column in table.T) / (images - 1),
    }
    within = sum((value - table.mean()) ** 2 for value in table.flat)
    explained = squares["seeds"] * (seeds - 1) + squares["images"] * (images - 1)
    rest = (within - explained) / ((seeds - 1) * (images - 1))
    variance = (squares["seeds"] + squares["images"] - rest) / (seeds * images)
    degrees = ((squares["seeds"], seeds - 1), (squares["images"], images - 1), (rest, (seeds - 1) * (images - 1)))
    freedom = (variance * seeds * images) ** 2 / sum(value**2 / count for value, count in degrees)
    half = scipy.stats.t.ppf(0.975, freedom) * np.sqrt(variance)
    assert squares["images"] > rest
    assert crossed.interval(distilled, scratch, 0.05) == pytest.approx((table.mean() - half, table.mean() + half))


@pytest.mark.parametrize(("better", "sure"), [(3, False), (20, True)])
def test_a_word_that_holds_for_these_test_images_alone_says_so(better, sure):
    """Some of 60 images are gained on by every seed: sure of seeds, but of other images only where they are many."""
    rows = []
    for seed in range(5):
        for arm, known in ((names.SCRATCH, 30), (names.DISTILLED, 30 + better)):
            right = np.arange(60) < known
            right[59] = seed == 0 and arm == names.DISTILLED  # so that seeds differ
            score = {names.TEST_ACCURACY: right.mean(), names.CORRECT: bits(right)}
            rows.append({"arm": arm, "state": names.COMPLETE, "seed": seed, names.VAL_ACCURACY: 0.5} | score)
    (cell,) = judge({"study": "s"}, pd.DataFrame(), pd.DataFrame(rows), {}, {})["cells"]
    assert cell["word"] == statistics.HELPS
    assert (cell["gain"]["seeds_and_images"][0] > 0) is sure
    assert ("with others of the same kind, the interval includes zero" not in cell["but"]) is sure

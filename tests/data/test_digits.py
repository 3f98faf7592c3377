import numpy as np

from tune_kd.data import digits, sources


def test_both_sources_hold_bytes_of_block_counts() -> None:
    dataset = sources.load(digits.Settings(drawn=100))
    assert dataset.classes == tuple("0123456789")
    assert {name: source.images.shape for name, source in dataset.sources.items()} == {
        "scanned": (1797, 1, 8, 8),
        "drawn": (100, 1, 8, 8),
    }
    allowed = np.rint(np.arange(17) * 255 / 16)
    for source in dataset.sources.values():
        assert source.images.dtype == np.uint8
        assert source.labels.dtype == np.int64
        assert np.isin(source.images, allowed).all()
        assert not source.images.flags.writeable


def test_drawn_digits_depend_on_the_seed_alone() -> None:
    images, labels = digits.draw(120, seed=3)
    again, _ = digits.draw(120, seed=3)
    other, _ = digits.draw(120, seed=4)
    np.testing.assert_array_equal(images, again)
    assert (images != other).any(axis=(1, 2, 3)).all()
    assert np.bincount(labels).tolist() == [12] * 10


def test_a_larger_count_only_adds_digits() -> None:
    np.testing.assert_array_equal(digits.draw(30, seed=0)[0], digits.draw(1500, seed=0)[0][:30])


def test_drawn_digits_look_like_the_scanned_ones_but_are_not_the_same_problem() -> None:
    """The nearest drawn digit names a scanned one far better than chance, far worse than a scanned one does."""
    images, labels = digits.draw(2000, seed=0)
    scanned = digits.scanned()
    assert abs(images.mean() - scanned.images.mean()) < 15

    def nearest(known: np.ndarray, names: np.ndarray) -> float:
        flat, queries = known.reshape(len(known), -1).astype(float), scanned.images[:400].reshape(400, -1).astype(float)
        distance = (flat**2).sum(1) - 2 * queries @ flat.T
        return float((names[distance.argmin(1)] == scanned.labels[:400]).mean())

    assert 0.4 < nearest(images, labels) < 0.85
    assert nearest(scanned.images[400:], scanned.labels[400:]) > 0.95


def test_fonts_without_real_digits_are_left_out() -> None:
    names = {path.stem for path in digits._font_files()}
    assert {"DejaVuSans", "STIXGeneral", "cmr10"} <= names
    assert not names & {"cmsy10", "cmex10", "DejaVuSansDisplay", "LastResortHE-Regular"}


def test_the_scanned_digits_are_those_of_scikit_learn() -> None:
    from sklearn.datasets import load_digits

    expected, scanned = load_digits(), digits.scanned()
    np.testing.assert_array_equal(scanned.images[:, 0], np.rint(expected.images * 255 / 16))
    np.testing.assert_array_equal(scanned.labels, expected.target)

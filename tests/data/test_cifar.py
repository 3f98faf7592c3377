import hashlib
import pickle
from pathlib import Path

import numpy as np
import pytest

from tune_kd.data import cifar, sources
from tune_kd.errors import InputError


def test_a_word_ends_before_the_running_number() -> None:
    assert cifar.word_of("felis_catus_s_000123.png") == "felis_catus"
    assert cifar.word_of("bus_s_class_s_000001.png") == "bus_s_class"


def test_groups_cut_each_class_at_words_in_alphabetical_order() -> None:
    words = np.array(["d", "a", "b", "c", "e", "a", "x", "y", "z", "w", "x", "y"])
    labels = np.array([0] * 6 + [1] * 6)
    groups = cifar.word_groups(words, labels)
    assert dict(zip(words[:6], groups[:6].tolist(), strict=True)) == {"a": 0, "b": 1, "c": 2, "d": 3, "e": 3}
    assert dict(zip(words[6:], groups[6:].tolist(), strict=True)) == {"w": 0, "x": 1, "y": 2, "z": 3}


def test_groups_are_of_about_equal_size_where_words_are_many() -> None:
    rng = np.random.default_rng(0)
    words = np.array([f"word{number:02}" for number in rng.integers(40, size=4000)])
    groups = cifar.word_groups(words, np.zeros(4000, dtype=np.int64))
    assert np.bincount(groups).min() > 850
    assert len(set(zip(words, groups, strict=True))) == 40


def test_a_missing_root_says_what_to_put_where(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUNE_KD_CACHE", str(tmp_path / "cache"))
    for root, place in ((None, tmp_path / "cache"), (str(tmp_path), tmp_path)):
        with pytest.raises(InputError) as caught:
            sources.load(cifar.Settings(dataset="cifar100", root=root))
        for part in ("data.root", str(place), "cifar-100-python", "--set data.root=", "--set data.download=true"):
            assert part in str(caught.value)


def test_damaged_batches_are_refused_before_they_are_unpickled(tmp_path: Path) -> None:
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    (folder / "data_batch_1").write_bytes(b"cos\nsystem\n(S'touch /tmp/tune_kd_was_here'\ntR.")
    with pytest.raises(InputError, match="incomplete or damaged"):
        sources.load(cifar.Settings(dataset="cifar10", root=str(tmp_path)))
    assert not Path("/tmp/tune_kd_was_here").exists()


def write_cifar10(root: Path, monkeypatch: pytest.MonkeyPatch, each: int = 10) -> list[dict[str, object]]:
    """Two batches of two words and one for tests, `each` images of a word; torchvision is told their md5."""
    from torchvision.datasets import CIFAR10

    rng = np.random.default_rng(0)
    folder = root / CIFAR10.base_folder
    folder.mkdir()

    def store(name: str, content: object) -> list[str]:
        raw = pickle.dumps(content, protocol=2)
        (folder / name).write_bytes(raw)
        return [name, hashlib.md5(raw).hexdigest()]

    def batch(words: list[str]) -> dict[str, object]:
        labels = [number % 10 for number in range(len(words) * each)]
        names = [f"{words[number // each]}_s_{number:06}.png" for number in range(len(labels))]
        pixels = rng.integers(256, size=(len(labels), 3072), dtype=np.uint8)
        return {"data": pixels, "labels": labels, "filenames": names}

    batches = [batch(["zebra", "ant"]), batch(["cow", "bee"])]
    lists = [store(f"data_batch_{number}", content) for number, content in enumerate(batches)]
    # torchvision checks the md5 it knows; here it is told those of our files instead.
    monkeypatch.setattr(CIFAR10, "train_list", lists)
    monkeypatch.setattr(CIFAR10, "test_list", [store("test_batch", batch(["ant"]))])
    meta = store("batches.meta", {"label_names": list("abcdefghij")})
    monkeypatch.setattr(CIFAR10, "meta", {"filename": meta[0], "key": "label_names", "md5": meta[1]})
    return batches


def test_batches_become_word_sources_and_an_official_test(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    batches = write_cifar10(tmp_path, monkeypatch)
    dataset = sources.load(cifar.Settings(dataset="cifar10", root=str(tmp_path)))
    assert dataset.classes == tuple("abcdefghij")
    found = {name: {cifar.word_of(file) for file in source.names} for name, source in dataset.sources.items()}
    assert found == {"words1": {"ant"}, "words2": {"bee"}, "words3": {"cow"}, "words4": {"zebra"}}
    zebras = dataset.sources["words4"]
    np.testing.assert_array_equal(zebras.images.reshape(10, -1), np.asarray(batches[0]["data"])[:10])
    assert zebras.labels.tolist() == list(range(10))
    assert dataset.official_test is not None
    assert dataset.official_test.images.shape == (10, 3, 32, 32)

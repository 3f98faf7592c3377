"""Every kind of data set passes the shared suite."""

import errno
import json
import shutil
import struct
import tempfile
import tracemalloc
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.data.suite import DatasetSuite, DecodedSuite, digest, png
from tests.data.test_cifar import write_cifar10
from tune_kd.data import cifar, digits, folders, hugging_face, objects, parquet, sources, tables, torchvision_sets
from tune_kd.data.sources import Asked, Dataset
from tune_kd.data.splits import split
from tune_kd.errors import InputError
from tune_kd.space import datasets
from tune_kd.space.load import load
from tune_kd.space.schema import Data, Split

EACH = 5
"""Images of each class and source."""
PLACES = [(source, label) for source in ("bing", "google") for label in ("cat", "dog")]


class TestDigits(DatasetSuite):
    classes = tuple("0123456789")
    counts = {"scanned": 1797, "drawn": 100}  # noqa: RUF012
    side = 8
    silent = True

    def settings(self, tmp_path: Path) -> Data:
        return digits.Settings(drawn=100)


class TestCifar(DatasetSuite):
    classes = tuple("abcdefghij")
    counts = {f"words{number}": 30 for number in (1, 2, 3, 4)}  # noqa: RUF012
    side = 32
    tests = 30

    @pytest.fixture(autouse=True)
    def written(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        write_cifar10(tmp_path, monkeypatch, each=30)

    def settings(self, tmp_path: Path) -> Data:
        return cifar.Settings(dataset="cifar10", root=str(tmp_path))


class TestObjects(DatasetSuite):
    """Given in Python: pairs of an array and a label."""

    classes = ("0", "1")
    counts = {"bing": 20, "google": 10}  # noqa: RUF012
    side = 12
    silent = True

    def settings(self, tmp_path: Path) -> Data:
        return objects.Settings()

    def made(self, data: Data, asked: Asked | None = None) -> Dataset:
        rng = np.random.default_rng(0)
        pictures = {
            name: [(rng.integers(256, size=(12, 12, 3), dtype=np.uint8), k % 2) for k in range(count)]
            for name, count in self.counts.items()
        }
        return objects.dataset(pictures)


class TestFolder(DecodedSuite):
    classes = ("cat", "dog")
    counts = {"bing": 2 * EACH, "google": 2 * EACH}  # noqa: RUF012
    side = 16

    def settings(self, tmp_path: Path) -> Data:
        for number, (source, label) in enumerate(PLACES):
            folder = tmp_path / "photos" / source / label
            folder.mkdir(parents=True)
            for image in range(EACH):
                (folder / f"{image}.png").write_bytes(png(number * EACH + image))
        return folders.Settings(root=str(tmp_path / "photos"), image_size=16)

    def spoil(self, tmp_path: Path, index: int, raw: bytes) -> str:
        (tmp_path / "photos" / "bing" / "cat" / f"{index}.png").write_bytes(raw)
        return f"bing/cat/{index}.png"


class TestTableOfPaths(DecodedSuite):
    """A CSV with a column of sources, its images in a folder beside it."""

    classes = ("cat", "dog")
    counts = {"bing": 2 * EACH, "google": 2 * EACH}  # noqa: RUF012
    side = 16

    def settings(self, tmp_path: Path) -> Data:
        rows = ["filename,label,source"]
        (tmp_path / "pictures").mkdir()
        for number, (source, label) in enumerate(PLACES):
            for image in range(EACH):
                name = f"pictures/{source}-{label}-{image}.png"
                (tmp_path / name).write_bytes(png(number * EACH + image))
                rows.append(f"{name},{label},{source}")
        (tmp_path / "photos.csv").write_text("\n".join(rows) + "\n")
        return tables.Settings(file=str(tmp_path / "photos.csv"), image_size=16)

    def spoil(self, tmp_path: Path, index: int, raw: bytes) -> str:
        name = f"pictures/bing-cat-{index}.png"
        (tmp_path / name).write_bytes(raw)
        return name

    def test_a_row_without_a_label_is_named_and_left_out(self, data: Data, tmp_path: Path) -> None:
        with (tmp_path / "photos.csv").open("a") as file:
            file.write("pictures/bing-cat-0.png,,bing\n")
        assert "pictures/bing-cat-0.png (it has no label)" in sources.load(data).notes[0]

    def test_columns_that_are_not_there_are_answered_with_those_that_are(self, data: Data) -> None:
        wrong = data.model_copy(update={"label_column": "labels"})
        with pytest.raises(InputError, match=r"no column 'labels'\. Did you mean 'label'\? Columns: filename, label"):
            sources.load(wrong)

    def test_what_is_no_table_says_so(self, tmp_path: Path) -> None:
        (tmp_path / "x.parquet").write_bytes(b"no parquet")
        for file, words in (("x.parquet", "cannot be read as parquet"), ("none.csv", "there is no file")):
            with pytest.raises(InputError, match=words):
                sources.load(tables.Settings(file=str(tmp_path / file)))
        (tmp_path / "y.csv").write_text("a,b\n1,2\n")
        with pytest.raises(InputError, match=r"data.image_column: no column is called image.*Columns: a, b"):
            sources.load(tables.Settings(file=str(tmp_path / "y.csv")))


class TestTableOfBytes(DecodedSuite):
    """A parquet file as Hugging Face writes it: bytes beside a path, classes as numbers, a column of splits."""

    classes = ("cat", "dog")
    counts = {"test": 2 * EACH, "train": 2 * EACH}  # noqa: RUF012
    side = 16

    def settings(self, tmp_path: Path) -> Data:
        self.write(tmp_path, {})
        return tables.Settings(file=str(tmp_path / "photos.parquet"), image_size=16)

    def write(self, tmp_path: Path, other: dict[int, bytes]) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        rows = [(split, label) for split in ("test", "train") for label in (0, 1) for _ in range(EACH)]
        images = [{"bytes": other.get(n, png(n)), "path": f"{n}.png"} for n in range(len(rows))]
        table = pa.table(
            {"image": images, "label": [label for _, label in rows], "split": [split for split, _ in rows]}
        )
        names = {"info": {"features": {"label": {"names": ["cat", "dog"], "_type": "ClassLabel"}}}}
        about = {b"huggingface": json.dumps(names).encode()}
        pq.write_table(table.replace_schema_metadata(about), tmp_path / "photos.parquet")

    def spoil(self, tmp_path: Path, index: int, raw: bytes) -> str:
        self.spoiled = getattr(self, "spoiled", {}) | {index: raw}
        self.write(tmp_path, self.spoiled)
        return f"row {index + 1}"


def test_a_parquet_file_larger_than_memory_is_read_a_few_rows_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """48 MB in eight groups of rows, in a third of that; what is read is there, and nothing is left of it."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    monkeypatch.setenv("TUNE_KD_CACHE", str(tmp_path / "cache"))
    rng = np.random.default_rng(0)
    raw = [rng.bytes(120_000) for _ in range(400)]
    names = [{"bytes": each if n % 100 else None, "path": f"{n}.png"} for n, each in enumerate(raw)]
    table = pa.table({"image": names, "label": [n % 3 for n in range(400)]})
    pq.write_table(table, tmp_path / "t.parquet", row_group_size=50)
    del table, names
    held: list[int] = []
    honest, before = parquet.Stretch, pa.total_allocated_bytes()

    def counted(*given: Any) -> parquet.Stretch:
        held.append(pa.total_allocated_bytes() - before)
        return honest(*given)

    monkeypatch.setattr(parquet, "Stretch", counted)
    tracemalloc.start()
    try:
        rows, columns = parquet.rows(tmp_path / "t.parquet", None)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert max(most, *held) < 16_000_000
    assert len(held) == 396
    assert columns == ["image", "label"]
    assert [row["label"] for row in rows] == [n % 3 for n in range(400)]
    for n in (399, 1, 250, 57):
        assert rows[n]["image"].read() == raw[n]
    assert rows[100]["image"] == {"bytes": None, "path": "100.png"}
    assert list((tmp_path / "cache").iterdir()) == []


def test_bytes_that_a_disk_has_no_room_for_are_refused_in_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    monkeypatch.setenv("TUNE_KD_CACHE", str(tmp_path / "cache"))
    pq.write_table(pa.table({"image": [png(1)] * 4, "label": ["a", "b"] * 2}), tmp_path / "t.parquet")

    def full(**given: Any) -> Any:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(tempfile, "TemporaryFile", full)
    with pytest.raises(InputError, match=r"cannot be copied to .*No space left.*TUNE_KD_CACHE"):
        sources.load(tables.Settings(file=str(tmp_path / "t.parquet")))


class TestHuggingFace(DecodedSuite):
    """As save_to_disk writes it."""

    classes = ("cat", "dog")
    counts = {"test": 2 * EACH, "train": 2 * EACH}  # noqa: RUF012
    side = 16

    @pytest.fixture(autouse=True)
    def installed(self) -> None:
        pytest.importorskip("datasets")

    def settings(self, tmp_path: Path) -> Data:
        self.write(tmp_path, "saved", {})
        return hugging_face.Settings(root=str(tmp_path / "saved"), image_size=16)

    def write(self, tmp_path: Path, place: str, other: dict[int, bytes]) -> None:
        datasets = pytest.importorskip("datasets")
        kinds = datasets.Features({"picture": datasets.Image(), "kind": datasets.ClassLabel(names=["cat", "dog"])})
        made = {}
        for number, name in enumerate(("test", "train")):
            labels = [label for label in (0, 1) for _ in range(EACH)]
            images = [
                {"bytes": other.get(n if number == 0 else -1, png(number * 50 + n)), "path": None}
                for n in range(len(labels))
            ]
            made[name] = datasets.Dataset.from_dict({"picture": images, "kind": labels}, features=kinds)
        shutil.rmtree(tmp_path / place, ignore_errors=True)
        datasets.DatasetDict(made).save_to_disk(str(tmp_path / place))

    def spoil(self, tmp_path: Path, index: int, raw: bytes) -> str:
        self.spoiled = getattr(self, "spoiled", {}) | {index: raw}
        self.write(tmp_path, "saved", self.spoiled)
        return f"test/{index:06}"

    def test_what_is_not_there_says_what_to_do(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match=r"data.root: .*cannot be opened.*save_to_disk"):
            sources.load(hugging_face.Settings(root=str(tmp_path)))
        with pytest.raises(InputError, match=r"needs one of two.*data.name"):
            sources.load(hugging_face.Settings())

    def test_parquet_files_of_splits(self, data: Data, tmp_path: Path) -> None:
        datasets = pytest.importorskip("datasets")
        (tmp_path / "parquet").mkdir()
        for name, rows in datasets.load_from_disk(str(tmp_path / "saved")).items():
            rows.to_parquet(str(tmp_path / "parquet" / f"{name}-00000-of-00001.parquet"))
        again = sources.load(hugging_face.Settings(root=str(tmp_path / "parquet"), image_size=16))
        assert digest(again) == digest(sources.load(data))


class TestTorchvision(DatasetSuite):
    """FashionMNIST's files, made here."""

    classes = tuple(sorted(
        ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")
    ))  # fmt: skip
    counts = {"train": 10 * EACH}  # noqa: RUF012
    side = 28
    tests = 10 * EACH

    def settings(self, tmp_path: Path) -> Data:
        raw = tmp_path / "FashionMNIST" / "raw"
        raw.mkdir(parents=True)
        rng = np.random.default_rng(0)
        for prefix in ("train", "t10k"):
            images = rng.integers(256, size=(10 * EACH, 28, 28), dtype=np.uint8)
            labels = (np.arange(10 * EACH) % 10).astype(np.uint8)
            (raw / f"{prefix}-images-idx3-ubyte").write_bytes(
                struct.pack(">4i", 0x803, *images.shape) + images.tobytes()
            )
            (raw / f"{prefix}-labels-idx1-ubyte").write_bytes(struct.pack(">2i", 0x801, len(labels)) + labels.tobytes())
        return torchvision_sets.Settings(dataset="torchvision.FashionMNIST", root=str(tmp_path), image_size=28)


class TestTorchvisionsFiles(DecodedSuite):
    """Country211's files, made here: pictures in folders, three splits."""

    classes = ("cat", "dog")
    counts = {"train": 2 * EACH, "valid": 2 * EACH}  # noqa: RUF012
    side = 16
    tests = 2 * EACH

    def settings(self, tmp_path: Path) -> Data:
        for number, (split_name, label) in enumerate(product(("train", "valid", "test"), self.classes)):
            folder = tmp_path / "country211" / split_name / label
            folder.mkdir(parents=True)
            for image in range(EACH):
                (folder / f"{image}.png").write_bytes(png(number * EACH + image))
        return torchvision_sets.Settings(dataset="torchvision.Country211", root=str(tmp_path), image_size=16)

    def spoil(self, tmp_path: Path, index: int, raw: bytes) -> str:
        (tmp_path / "country211" / "train" / "cat" / f"{index}.png").write_bytes(raw)
        return f"train/{index:06}"


@pytest.mark.parametrize("name", torchvision_sets.KNOWN)
def test_what_torchvision_has_not_says_how_to_get_it(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match=rf"torchvision's {name} is not in .*--set data.download=true"):
        sources.load(torchvision_sets.Settings(dataset=f"torchvision.{name}", root=str(tmp_path)))


def test_an_unknown_one_of_torchvision_is_answered_with_the_nearest() -> None:
    with pytest.raises(InputError, match=r"torchvision.SVHM is not known here\. Did you mean 'SVHN'"):
        sources.load(torchvision_sets.Settings(dataset="torchvision.SVHM"))


def test_splits_as_people_have_them_are_taken_as_such(tmp_path: Path) -> None:
    number = 0
    for split_name, count in (("train", 8), ("val", 3), ("test", 4)):
        for label in ("cat", "dog"):
            (tmp_path / "photos" / split_name / label).mkdir(parents=True)
            for image in range(count):
                (tmp_path / "photos" / split_name / label / f"{image}.png").write_bytes(png(number))
                number += 1
    data = folders.Settings(root=str(tmp_path / "photos"), image_size=8)
    dataset = sources.load(data)
    for wanted in (data, data.model_copy(update={"test_on": ("test",), "validation_on": ("val",)})):
        parts = split(dataset, wanted.model_copy(update={"split": Split(teacher=0.5)}), 0)
        assert (len(parts.test), len(parts.validation), len(parts.teacher)) == (8, 6, 8)
        assert {name: len(index) for name, index in parts.student.items()} == {"test": 0, "train": 8, "val": 0}
    for root in (tmp_path, tmp_path / "photos" / "train"):
        with pytest.raises(InputError, match=f"--set data.root={tmp_path / 'photos'}"):
            sources.load(folders.Settings(root=str(root)))
    with pytest.raises(InputError, match=r"data.test_on: there is no source 'tests'\. Did you mean 'test'"):
        split(dataset, data.model_copy(update={"test_on": ("tests",)}), 0)
    with pytest.raises(InputError, match=r"data.evaluate_on: source 'test' is wholly for tests"):
        split(dataset, data.model_copy(update={"test_on": ("test",), "evaluate_on": ("test",)}), 0)


@pytest.mark.parametrize(("fit", "corner", "middle"), [("crop", 200, 200), ("pad", 0, 200), ("squash", 200, 200)])
def test_an_image_that_is_not_square_becomes_one(tmp_path: Path, fit: str, corner: int, middle: int) -> None:
    """A wide white image with a red left end: cut off, kept between bars, or squeezed in."""
    for label in ("cat", "dog"):
        (tmp_path / "mine" / label).mkdir(parents=True)
        wide = Image.new("RGB", (64, 16), (200, 200, 200))
        wide.paste((255, 0, 0), (0, 0, 8, 16))
        wide.save(tmp_path / "mine" / label / "1.png")
    made = sources.load(folders.Settings(root=str(tmp_path), image_size=16, fit=fit))  # type: ignore[arg-type]
    picture = made.sources["mine"].images[0]
    assert abs(int(picture[1, 0, 8]) - corner) < 3
    assert abs(int(picture[1, 8, 8]) - middle) < 3
    assert (picture[0, 8, 0] > 240) == (fit != "crop")


@pytest.mark.parametrize("kind", datasets.KINDS)
def test_every_kind_names_itself(kind: str) -> None:
    assert "dataset" in datasets.settings_of(kind).model_fields
    assert callable(datasets.member(kind).load)


def test_an_unknown_kind_is_answered_with_all_there_are() -> None:
    with pytest.raises(InputError, match=r"one of digits, cifar10.*Did you mean 'folder'"):
        load("study: x\ndata: {dataset: folders}\n")

"""What every data set must be, whatever its kind: a subclass makes one of `CLASSES` × `SOURCES` in a folder.

Kinds whose images lie in files of the user's spoil some of them as well.
"""

import hashlib
from abc import ABC, abstractmethod
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tune_kd.data import sources
from tune_kd.data.sources import Asked, Dataset
from tune_kd.data.splits import split, student_indices
from tune_kd.errors import InputError
from tune_kd.space.load import dump, load
from tune_kd.space.schema import Data, Split
from tune_kd.space.study import Study


def png(value: int, size: tuple[int, int] = (12, 9)) -> bytes:
    """A picture of one colour, a different one for each value."""
    target = BytesIO()
    Image.new("RGB", size, (value % 256, value // 256, 77)).save(target, "PNG")
    return target.getvalue()


class DatasetSuite(ABC):
    classes: tuple[str, ...]
    counts: dict[str, int]
    """Images of each source."""
    side: int
    tests = 0
    """Images of the official test."""
    silent = False
    """Whether it is there at once, so that there is nothing to say."""

    def made(self, data: Data, asked: Asked | None = None) -> Dataset:
        return sources.load(data, asked)

    @abstractmethod
    def settings(self, tmp_path: Path) -> Data:
        """A small one of the kind; what it reads is written to the folder."""

    @pytest.fixture(autouse=True)
    def own_cache(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("TUNE_KD_CACHE", str(tmp_path / "cache"))

    @pytest.fixture
    def data(self, tmp_path: Path) -> Data:
        return self.settings(tmp_path)

    def test_counts_classes_and_labels(self, data: Data) -> None:
        dataset = self.made(data)
        assert dataset.classes == self.classes
        assert {name: len(source.images) for name, source in dataset.sources.items()} == self.counts
        for source in dataset.sources.values():
            assert source.images.dtype == np.uint8
            assert source.images.shape[2:] == (self.side, self.side)
            assert set(source.labels.tolist()) == set(range(len(self.classes)))
            assert not source.images.flags.writeable
            assert not source.labels.flags.writeable
            assert len(source.names) in (0, len(source.images))
        assert self.tests == (len(dataset.official_test.images) if dataset.official_test else 0)

    def test_the_same_again_to_the_last_pixel(self, data: Data) -> None:
        assert digest(self.made(data)) == digest(self.made(data))

    def test_every_image_is_in_one_part_only(self, data: Data) -> None:
        dataset = self.made(data)
        wanted = data.model_copy(update={"split": Split(test=0.2, validation=0.2, teacher=0.2)})
        splits = split(dataset, wanted, 0)
        parts = [splits.teacher, splits.validation, splits.test, *splits.student.values()]
        together = np.concatenate(parts)
        assert len(set(together.tolist())) == len(together)
        assert len(together) <= len(splits.labels)
        assert len(student_indices(splits, "all", "all", None)) == sum(map(len, splits.student.values()))

    def test_it_says_how_far_it_is(self, data: Data) -> None:
        said: list[str] = []
        self.made(data, Asked(progress=said.append))
        assert said or self.silent
        assert all(isinstance(text, str) and text for text in said)

    def test_a_study_names_it_and_is_written_and_read_again(self, data: Data) -> None:
        keys = data.model_dump()
        study = Study.model_validate({"study": "x", "data": keys}, strict=True)
        assert study.data == data
        assert load(dump(study)) == study


class DecodedSuite(DatasetSuite):
    """Kinds whose images are decoded here."""

    @abstractmethod
    def spoil(self, tmp_path: Path, index: int, raw: bytes) -> str:
        """Puts other bytes in the place of one image of the first source and class; its name."""

    def test_what_cannot_be_read_is_named_and_left_out(self, data: Data, tmp_path: Path) -> None:
        name = self.spoil(tmp_path, 0, png(1)[:40])
        dataset = sources.load(data)
        first = next(iter(self.counts))
        assert len(dataset.sources[first].images) == self.counts[first] - 1
        assert f"{name} (" in dataset.notes[0]
        assert f"1 of {sum(self.counts.values()) + self.tests}" in dataset.notes[0]

    def test_a_class_that_runs_empty_is_refused(self, data: Data, tmp_path: Path) -> None:
        first = next(iter(self.counts))
        for index in range(self.counts[first] // len(self.classes)):
            self.spoil(tmp_path, index, b"no picture")
        with pytest.raises(InputError, match=f"source '{first}' has no readable image of class '{self.classes[0]}'"):
            sources.load(data)

    def test_an_interruption_while_decoding_leaves_nothing_half_done(self, data: Data) -> None:
        def interrupt(text: str) -> None:
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            sources.load(data, Asked(progress=interrupt))
        whole = sources.load(data)
        assert {name: len(source.images) for name, source in whole.sources.items()} == self.counts


def digest(dataset: Dataset) -> str:
    content = hashlib.sha256()
    for source in dataset.sources.values():
        content.update(source.images.tobytes())
        content.update(source.labels.tobytes())
    return content.hexdigest()

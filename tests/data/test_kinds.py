"""Every kind of data set passes the shared suite."""

from pathlib import Path

import pytest

from tests.data.suite import DatasetSuite, DecodedSuite, png
from tune_kd.data import digits, folders
from tune_kd.errors import InputError
from tune_kd.space import datasets
from tune_kd.space.load import load
from tune_kd.space.schema import Data

EACH = 5
"""Images of each class and source."""
PLACES = [(source, label) for source in ("bing", "google") for label in ("cat", "dog")]


class TestDigits(DatasetSuite):
    classes = tuple("0123456789")
    counts = {"scanned": 1797, "drawn": 100}  # noqa: RUF012
    side = 8

    def settings(self, tmp_path: Path) -> Data:
        return digits.Settings(drawn=100)


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


@pytest.mark.parametrize("kind", datasets.KINDS)
def test_every_kind_names_itself(kind: str) -> None:
    assert "dataset" in datasets.settings_of(kind).model_fields
    assert callable(datasets.member(kind).load)


def test_an_unknown_kind_is_answered_with_all_there_are() -> None:
    with pytest.raises(InputError, match=r"one of digits, cifar10.*Did you mean 'folder'"):
        load("study: x\ndata: {dataset: folders}\n")

"""The example of docs/add/dataset.md is a kind of data set like any other."""

import re
import sys
import zipfile
from pathlib import Path

import pytest

from tests.data.suite import DecodedSuite, png
from tune_kd.space import datasets
from tune_kd.space.schema import Data

PAGE = Path(__file__).parents[2] / "docs" / "add" / "dataset.md"


class TestTheExample(DecodedSuite):
    classes = ("cat", "dog")
    counts = {"bing": 10, "google": 10}  # noqa: RUF012
    side = 16

    @pytest.fixture(autouse=True)
    def added(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        code, line = re.findall(r"```(?:python|text)\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
        kind = re.match(r'"(\w+)": "tune_kd.data.(\w+)",\n$', line)
        assert kind
        (tmp_path / "kd_archives.py").write_text(code)
        monkeypatch.syspath_prepend(str(tmp_path))
        monkeypatch.delitem(sys.modules, "kd_archives", raising=False)
        monkeypatch.setitem(datasets.KINDS, kind.group(1), "kd_archives")  # type: ignore[arg-type]

    def settings(self, tmp_path: Path) -> Data:
        self.write(tmp_path, {})
        return datasets.settings_of("zip")(dataset="zip", archive=str(tmp_path / "photos.zip"), image_size=16)  # type: ignore[call-arg]

    def write(self, tmp_path: Path, other: dict[str, bytes]) -> None:
        with zipfile.ZipFile(tmp_path / "photos.zip", "w") as archive:
            places = [(source, label) for source in self.counts for label in self.classes]
            for number, (source, label) in enumerate(places):
                for image in range(5):
                    name = f"{source}/{label}/{image}.png"
                    archive.writestr(name, other.get(name, png(5 * number + image)))

    def spoil(self, tmp_path: Path, index: int, raw: bytes) -> str:
        name = f"bing/cat/{index}.png"
        self.spoiled = getattr(self, "spoiled", {}) | {name: raw}
        self.write(tmp_path, self.spoiled)
        return name

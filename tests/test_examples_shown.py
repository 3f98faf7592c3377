"""Some images of each source, in the report: as they were decoded, and as they are varied."""

import base64
import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.browser import NEEDED, opened
from tests.data.test_duplicates import photo
from tests.summary import synthetic
from tune_kd import examples, names, plan
from tune_kd.preparation import Prepared, prepare
from tune_kd.space.load import load
from tune_kd.summary.writing import write

STUDY = """
study: shown
data: {dataset: folder, image_size: 64, split: {test: 0.2, validation: 0.2, teacher: 0.2}}
teacher: {model: lightnn}
student: {model: lightnn}
augment: {kind: flip}
conditions: {augment.kind: [none, flip+trivialaugment+erasing+mixup]}
"""
SHOWN = load(STUDY, ["data.root=photos"])
CLASSES = ("cat", "dog", "owl")


def marked(number: int) -> np.ndarray:
    """Grey, with a white bar on top and a black one on the left."""
    picture = np.clip(photo(number, 80).astype(int) // 3 + 90, 0, 255).astype(np.uint8)
    picture[:20], picture[20:, :20] = 255, 0
    return picture


def saved(picture: np.ndarray, kind: str, file: Path) -> None:
    """As people have them; each is `marked` once it is read rightly."""
    image = Image.fromarray(picture)
    if kind == "turned":
        exif = Image.Exif()
        exif[0x0112] = 6  # held on its side
        image.rotate(90, expand=True).save(file, "JPEG", quality=95, exif=exif)
    elif kind == "deep":
        Image.fromarray(picture[:, :, 0].astype(np.uint16) * 257).save(file, "PNG")
    elif kind == "transparent":
        see_through = np.dstack([picture, np.full(picture.shape[:2], 255, np.uint8)])
        see_through[:20] = 0  # nothing there: white
        Image.fromarray(see_through).save(file, "PNG")
    else:
        image.save(file, "PNG")


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    root = tmp_path_factory.mktemp("photos")
    for source in ("plain", "turned", "deep", "transparent"):
        for number in range(30):
            folder = root / source / CLASSES[number % 3]
            folder.mkdir(parents=True, exist_ok=True)
            saved(marked(number + 100 * len(source)), source, folder / f"{number}.img")
    return prepare(plan.make(load(STUDY, [f"data.root={root}"])), lambda text: None)


@pytest.fixture(scope="module")
def folder(prepared: Prepared, tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = synthetic.write_folder(tmp_path_factory.mktemp("search"))
    (made / names.EXAMPLES_FILE).write_bytes(examples.written(SHOWN, prepared))
    write(made)
    return made


def strip(text: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(text))).convert("RGB"))


def test_each_source_is_shown_upright_as_bright_as_it_is_and_varied(prepared: Prepared) -> None:
    found = examples.make(SHOWN, prepared)
    assert (found["augmentation"], found["side"]) == ("flip+trivialaugment+erasing+mixup", "64 x 64")
    assert [source["name"] for source in found["sources"]] == ["deep", "plain", "transparent", "turned"]
    for source in found["sources"]:
        assert set(source["classes"]) == set(CLASSES)
        shown, varied = map(strip, source["strips"])
        assert shown.shape == varied.shape == (64, 8 * 68 - 4, 3)
        assert np.abs(shown.astype(int) - varied).mean() > 10
        for place in range(8):
            picture = shown[:, place * 68 : place * 68 + 64].astype(float)
            assert picture[2:12].mean() > 235, source["name"]
            assert picture[24:, 2:12].mean() < 30, source["name"]
            assert 80 < picture[24:, 24:].mean() < 180, source["name"]


def test_the_pictures_of_a_page_are_small_and_have_words(prepared: Prepared, folder: Path) -> None:
    page = (folder / names.REPORT_FILE).read_text()
    pictures = json.loads((folder / names.EXAMPLES_FILE).read_text())
    text = "".join(each for source in pictures["sources"] for each in source["strips"])
    assert len(text) <= 60_000
    assert page.count("<img ") == 8
    assert 'alt="8 images of turned: cat, ' in page
    assert "varied by flip+trivialaugment+erasing+mixup" in page
    assert "img-src data:" in page


def test_of_noise_as_well(prepared: Prepared) -> None:
    """Which no format makes small."""
    noise = np.random.default_rng(0).integers(0, 256, (64, 540, 3), dtype=np.uint8)
    assert sum(map(len, examples._encoded([noise] * 16))) <= 60_000


def test_a_report_without_them_or_with_something_else_is_whole(tmp_path: Path) -> None:
    made = synthetic.write_folder(tmp_path / "search")
    strips = [["no base64!"], ["A" * 100_000], None]
    for text in ("", "[]", "{", *(json.dumps({"augmentation": "none", "left_out": 0,
                 "sources": [{"name": "a", "classes": ["b"], "strips": each}]}) for each in strips)):  # fmt: skip
        (made / names.EXAMPLES_FILE).write_text(text)
        write(made)
        page = (made / names.REPORT_FILE).read_text()
        assert "<img " not in page
        assert 'id="run"' in page


@NEEDED
def test_a_browser_shows_them(folder: Path, tmp_path: Path) -> None:
    with opened(tmp_path) as seen:
        for width in (1280, 400):
            seen.look((folder / names.REPORT_FILE).as_uri(), width)
            sizes = seen.ask(
                "[...document.images].map(i => [i.naturalWidth, i.naturalHeight, i.getBoundingClientRect().right])"
            )
            assert len(sizes) == 8
            assert all((wide, high) == (540, 64) and right <= width for wide, high, right in sizes)

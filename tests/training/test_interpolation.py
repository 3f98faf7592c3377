"""Pictures are resized by the filter that a network's weights were trained with, wherever they are resized."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tune_kd import plan
from tune_kd.models.network import Inputs
from tune_kd.names import Interpolation
from tune_kd.preparation import Prepared, prepare
from tune_kd.space.load import load
from tune_kd.teacher import making
from tune_kd.training import predict
from tune_kd.training.images import Images, resized

FILTERS: dict[Interpolation, Image.Resampling] = {
    "bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR,
}  # fmt: skip
BILINEAR, BICUBIC = "timm.test_resnet", "timm.test_efficientnet"
"""As timm says of their weights."""


def pixels(side: int = 64, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)


def by_pillow(picture: np.ndarray, side: int, by: Interpolation) -> torch.Tensor:
    made = Image.fromarray(picture).resize((side, side), FILTERS[by])
    return torch.from_numpy(np.array(made)).permute(2, 0, 1)


@pytest.mark.parametrize("side", [24, 40])
@pytest.mark.parametrize("by", FILTERS)
def test_both_are_pillows_to_a_level(by: Interpolation, side: int) -> None:
    """As people resize before they train. Noise overshoots where anything does; Pillow cuts that off after each of two
    passes, so what is compared has some room to both sides."""
    wild = resized(torch.from_numpy(pixels()).permute(2, 0, 1)[None], side, by)
    assert wild.min() >= 0
    assert wild.max() <= 255
    picture = 64 + pixels() // 2
    found = resized(torch.from_numpy(picture).permute(2, 0, 1)[None], side, by)[0]
    assert (found - by_pillow(picture, side, by).float()).abs().max() <= 1.01
    other = next(each for each in FILTERS if each != by)
    assert (found - by_pillow(picture, side, other).float()).abs().max() > 5


@pytest.mark.parametrize(("said", "used"), [("bicubic", "bicubic"), ("bilinear", "bilinear"), ("lanczos", "bicubic")])
def test_what_is_neither_is_bicubic(said: str, used: str) -> None:
    assert Inputs((0.5,), (0.5,), 224, said).filter == used


def test_a_file_is_classified_by_the_same(tmp_path: Path) -> None:
    picture = pixels()
    Image.fromarray(picture).save(tmp_path / "it.png")
    for by in FILTERS:
        assert torch.equal(predict.pixels(tmp_path / "it.png", (3, 16, 16), by)[0], by_pillow(picture, 16, by))


@pytest.fixture
def prepared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Prepared]:
    """Of photos, and a timm network's weights in a file for the teacher and the student each."""
    timm, save_file = pytest.importorskip("timm"), pytest.importorskip("safetensors.torch").save_file
    monkeypatch.setenv("TUNE_KD_CACHE", str(tmp_path / "cache"))
    for name in (BILINEAR, BICUBIC):
        made = timm.create_model(name.removeprefix("timm."), num_classes=2)
        save_file(made.state_dict(), tmp_path / f"{name}.safetensors")
    for number in range(24):
        file = tmp_path / "photos" / "mine" / "ab"[number % 2] / f"{number}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels(100, number)).save(file)

    def made(text: str) -> Prepared:
        text = text.replace("WEIGHTS", str(tmp_path))
        study = load(f"study: s\ndata: {{dataset: folder, root: '{tmp_path / 'photos'}'}}\n{text}")
        return prepare(plan.make(study), lambda said: None)

    return made


def of(name: str, side: int) -> str:
    return f"{{model: {name}, pretrained: 'WEIGHTS/{name}.safetensors', image_size: {side}}}"


def decoded_by(found: Prepared) -> Interpolation:
    """The filter that made the kept pictures from the files."""
    side = found.splits.images.shape[-1]
    for by in FILTERS:
        files = {by_pillow(pixels(100, number), side, by).numpy().tobytes() for number in range(24)}
        if all(np.asarray(each).tobytes() in files for each in found.splits.images):
            return by
    raise AssertionError("neither")


def test_the_teachers_filter_makes_the_kept_pictures_and_the_students_its_smaller_ones(
    prepared: Callable[[str], Prepared],
) -> None:
    found = prepared(f"teacher: {of(BILINEAR, 176)}\nstudent: {of(BICUBIC, 64)}\n")
    assert decoded_by(found) == "bilinear"
    assert not any("filter" in note for note in found.notes)
    assert found.interpolation(BICUBIC) == "bicubic"
    # The other way round nothing that was kept for the first is taken for it.
    other = prepared(f"teacher: {of(BICUBIC, 176)}\nstudent: {of(BILINEAR, 64)}\n")
    assert decoded_by(other) == "bicubic"
    assert other.interpolation(BILINEAR) == "bilinear"


def test_a_teacher_sees_its_smaller_pictures_by_its_own_filter(prepared: Callable[[str], Prepared]) -> None:
    study = load(f"study: s\nteacher: {{model: {BICUBIC}, image_size: 64}}\n")
    found = prepared(f"teacher: {of(BICUBIC, 64)}\nstudent: {of(BILINEAR, 176)}\n")
    images = Images(torch.tensor(found.splits.images), torch.tensor(found.splits.labels), (0.1,) * 3, (0.2,) * 3, 2)
    index = torch.arange(4)
    own = making.order(study, images, index, index, start=found.teachers[0]).data
    plain = making.order(study, images, index, index).data
    assert (own.interpolation, plain.interpolation) == ("bicubic", "bilinear")
    kept = images.images[index]
    mean, std = (torch.tensor(each).view(3, 1, 1) for each in (own.mean, own.std))
    wanted = (resized(kept, 64, "bicubic") / 255 - mean) / std
    torch.testing.assert_close(own.inputs(kept), wanted, atol=1e-5, rtol=0)
    teacher = making.Teacher(BICUBIC, {}, own.mean, own.std, own.shape, 2, own.interpolation)
    assert torch.equal(teacher.ready(kept), own.inputs(kept))
    assert teacher.read(images) == own
    # What it says of other pictures is no other's, although its weights are.
    assert teacher.digest != making.Teacher(BICUBIC, {}, own.mean, own.std, own.shape, 2).digest


def test_where_both_see_the_same_pictures_and_want_others_it_is_said(prepared: Callable[[str], Prepared]) -> None:
    found = prepared(f"teacher: {of(BILINEAR, 160)}\nstudent: {of(BICUBIC, 160)}\n")
    assert decoded_by(found) == "bicubic"
    (note,) = (note for note in found.notes if "filter" in note)
    assert f"{BILINEAR} bilinear, {BICUBIC} bicubic" in note

"""model/ as others take it: its files say the same as the program, and predict.py sees pictures as training did."""

import csv
import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from tune_kd.data.pictures import decode
from tune_kd.models import build
from tune_kd.models.weight_files import _safetensors
from tune_kd.training import export, predict, release
from tune_kd.training.export import FromPixels

SHAPE = [3, 16, 16]
FACTS: dict[str, Any] = {
    "study": "pets", "architecture": "resnet8", "arm": "distilled", "pretrained": False,
    "cell": {"data.size": 100}, "config": {}, "seed": 7,
    "test_accuracy": 0.9, "test_images": 200, "digests": {"test": "ab" * 20}, "classes": ["cat", "dog", "fish"],
    "in_shape": SHAPE, "interpolation": "bicubic", "mean": [0.5, 0.5, 0.5], "std": [0.2, 0.2, 0.2], "torch": "2",
}  # fmt: skip


@pytest.fixture(scope="module")
def model() -> torch.nn.Module:
    torch.manual_seed(0)
    return build("resnet8", classes=3, in_shape=(3, 16, 16)).eval()


@pytest.fixture(scope="module")
def folder(model: torch.nn.Module, tmp_path_factory: pytest.TempPathFactory) -> Path:
    here = tmp_path_factory.mktemp("model")
    export.export(here, model, (0.5, 0.5, 0.5), (0.2, 0.2, 0.2), FACTS)
    return here


def test_safetensors_hold_the_weights(folder: Path, model: torch.nn.Module) -> None:
    found = _safetensors(folder / release.SAFETENSORS)
    assert set(found) == set(model.state_dict())
    for name, tensor in model.state_dict().items():
        assert torch.equal(found[name], tensor), name


def test_other_readers_of_safetensors_agree(folder: Path, model: torch.nn.Module) -> None:
    theirs = pytest.importorskip("safetensors.torch", reason="not needed: their reader is only compared with")
    found = theirs.load_file(folder / release.SAFETENSORS)
    assert all(torch.equal(found[name], tensor) for name, tensor in model.state_dict().items())


def test_the_card_has_the_figure_with_its_interval(folder: Path) -> None:
    card = (folder / release.CARD).read_text(encoding="utf-8")
    assert card.startswith("---\nlicense: other")
    assert "90.0 % (95 % interval of other test images: 85.1 to 93.4 %)" in card
    assert "test abababababababab" in card
    assert "distilled from a teacher, from\nrandom weights" in card
    assert ("model.onnx" in card) == (folder / release.ONNX).exists()


@pytest.mark.parametrize(("share", "count", "low", "high"), [(1.0, 20, 0.839, 1.0), (0.0, 20, 0.0, 0.161)])
def test_wilson_where_the_normal_interval_fails(share: float, count: int, low: float, high: float) -> None:
    assert release.wilson(share, count) == pytest.approx((low, high), abs=5e-4)


def test_predict_sees_pictures_as_training_did(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    file = tmp_path / "wide.png"
    Image.fromarray(random.integers(0, 255, (20, 50, 4), dtype=np.uint8), "RGBA").save(file)
    assert np.array_equal(predict.pixels(file, SHAPE)[0].numpy(), decode(file.read_bytes(), 16))


def test_predict_takes_a_folder_and_writes_csv(folder: Path, tmp_path: Path) -> None:
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for number in range(3):
        Image.new("RGB", (30, 20), (80 * number, 0, 0)).save(pictures / f"{number}.png")
    (pictures / "notes.txt").write_text("no picture")
    command = [sys.executable, "-P", str(folder / "predict.py"), str(pictures), "--csv", "out.csv", "--benchmark"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr
    rows = list(csv.DictReader((tmp_path / "out.csv").open()))
    assert [Path(row["file"]).name for row in rows] == ["0.png", "1.png", "2.png"]
    classes = json.loads((folder / "model.json").read_text())["classes"]
    assert all(row["class"] in classes and 1 / 3 <= float(row["chance"]) <= 1 for row in rows)
    assert "notes.txt: left out" in done.stderr
    assert "pictures a second" in done.stdout


@pytest.mark.skipif(importlib.util.find_spec("onnxruntime") is None, reason="needs `pip install -e '.[onnx]'`")
def test_onnx_says_the_same_for_any_number_of_pictures(folder: Path, model: torch.nn.Module) -> None:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(folder / release.ONNX))
    ready = FromPixels(model, (0.5, 0.5, 0.5), (0.2, 0.2, 0.2)).eval()
    for count in (1, 7):
        images = torch.randint(0, 256, (count, *SHAPE), dtype=torch.uint8)
        found = session.run(None, {"pixels": images.numpy()})[0]
        assert np.allclose(found, ready(images).detach().numpy(), atol=release.PARITY)


@pytest.mark.skipif(importlib.util.find_spec("onnxruntime") is None, reason="needs `pip install -e '.[onnx]'`")
def test_onnx_that_says_something_else_is_not_kept(
    model: torch.nn.Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(release, "PARITY", -1.0)
    ready = FromPixels(model, (0.5, 0.5, 0.5), (0.2, 0.2, 0.2)).eval()
    assert not release.onnx_model(tmp_path / "m.onnx", ready, SHAPE)
    assert not (tmp_path / "m.onnx").exists()
    assert "from the program's" in caplog.text


def test_pixels_are_normalised_as_in_training() -> None:
    mean, std = (0.5, 0.25, 0.125), (0.2, 0.3, 0.4)
    pixels = torch.randint(0, 256, (3, 3, 4, 4), dtype=torch.uint8)
    shaped = torch.tensor(mean).view(3, 1, 1), torch.tensor(std).view(3, 1, 1)
    wanted = (pixels / 255 - shaped[0]) / shaped[1]
    assert torch.allclose(FromPixels(torch.nn.Identity(), mean, std)(pixels), wanted, atol=1e-5)

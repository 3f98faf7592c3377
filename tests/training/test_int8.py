"""The winner in int8: smaller, measured on the very test images, beside the winner, and run by predict.py."""

import importlib.util
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torch.nn import functional

from tests.training.test_release import FACTS
from tune_kd.data.digits import scanned
from tune_kd.models import build
from tune_kd.training import export, int8, release
from tune_kd.training.images import as_tensor
from tune_kd.training.int8 import Probe

pytestmark = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in int8.NEEDED), reason="needs `pip install -e '.[int8]'`"
)
MEAN, STD = (0.3,), (0.35,)


@pytest.fixture(scope="module")
def probe() -> Probe:
    source = scanned()
    images, labels = as_tensor(source.images.copy()), as_tensor(source.labels.copy())
    return Probe(images, labels, np.arange(1000), np.arange(1000, len(labels)))


@pytest.fixture(scope="module")
def trained(probe: Probe) -> nn.Module:
    torch.manual_seed(0)
    model = build("digits_student", classes=10, in_shape=tuple(probe.images.shape[1:]))
    ready = export.FromPixels(model, MEAN, STD)
    optimizer = torch.optim.Adam(model.parameters(), 0.01)
    for _ in range(6):
        for pixels, labels in probe.pixels(probe.training):
            optimizer.zero_grad()
            functional.cross_entropy(ready(pixels), labels).backward()
            optimizer.step()
    return model.eval()


@pytest.fixture(scope="module")
def folder(trained: nn.Module, probe: Probe, tmp_path_factory: pytest.TempPathFactory) -> Path:
    here = tmp_path_factory.mktemp("model")
    shape = list(probe.images.shape[1:])
    facts = FACTS | {"in_shape": shape, "classes": list("0123456789"), "mean": MEAN, "std": STD}
    export.export(here, trained, MEAN, STD, facts, probe)
    return here


def facts(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / export.FACTS).read_text(encoding="utf-8"))
    return found


def test_its_accuracy_is_that_of_the_test_images_and_near_the_winners(
    folder: Path, trained: nn.Module, probe: Probe
) -> None:
    import onnxruntime

    run = onnxruntime.InferenceSession(str(folder / int8.INT8)).run
    pixels, labels = probe.images[1000:], probe.labels[1000:].numpy()
    found = run(None, {"pixels": pixels.numpy()})[0]
    told = facts(folder)["int8"]["test_accuracy"]
    assert told == pytest.approx(float((found.argmax(1) == labels).mean()))
    with torch.inference_mode():
        own = export.FromPixels(trained, MEAN, STD)(pixels).numpy()
    assert told == pytest.approx(float((own.argmax(1) == labels).mean()), abs=0.03)
    assert told > 0.8
    # It is another model than the one in 32 bits: its answers are near, not equal.
    assert np.abs(found - own).max() > 1e-4


def test_it_is_smaller_and_its_weights_are_bytes(folder: Path) -> None:
    import onnx

    told = facts(folder)["int8"]
    assert told["bytes"] == (folder / int8.INT8).stat().st_size < told["bytes_fp32"]
    assert told["bytes_fp32"] == (folder / release.ONNX).stat().st_size
    assert told["milliseconds"] > 0
    assert told["milliseconds_fp32"] > 0
    assert str(Path.cwd()).encode() not in (folder / int8.INT8).read_bytes()
    kept = onnx.load(folder / int8.INT8).graph.initializer
    matrices = [one for one in kept if max(one.dims, default=1) > 1 and len(one.dims) > 1]
    assert matrices
    assert all(one.data_type == onnx.TensorProto.INT8 for one in matrices)


def test_the_card_tells_it_beside(folder: Path) -> None:
    card, told = (folder / release.CARD).read_text(encoding="utf-8"), facts(folder)["int8"]
    assert f"in int8 (`model.int8.onnx`) | {100 * told['test_accuracy']:.1f} %" in card
    assert f"{told['bytes']:,}" in card


def test_predict_runs_it(folder: Path, probe: Probe, tmp_path: Path) -> None:
    Image.fromarray(probe.images[0, 0].numpy()).save(tmp_path / "digit.png")
    command = [sys.executable, "-P", str(folder / "predict.py"), "digit.png", "--int8", "--benchmark"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr
    assert f"digit.png: {int(probe.labels[0])} (" in done.stdout
    assert "pictures a second" in done.stdout


def test_predict_says_that_there_is_none(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "predict.py").write_text((folder / "predict.py").read_text())
    (tmp_path / "model.json").write_text("{}")
    done = subprocess.run(
        [sys.executable, "predict.py", "--int8", "x.png"], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 2
    assert "there is no model.int8.onnx beside this file" in done.stderr


def test_pictures_of_another_size_are_seen_as_the_winner_saw_them(probe: Probe) -> None:
    small = replace(probe, side=8)
    pixels, _ = next(small.pixels(probe.test))
    assert pixels.shape[2:] == (8, 8)
    assert pixels.dtype == torch.uint8


def test_what_cannot_be_quantized_leaves_nothing_but_a_line(
    probe: Probe, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(*_: object) -> None:
        (tmp_path / int8.INT8).write_bytes(b"half")
        raise RuntimeError("no such operator\nand a page of more")

    monkeypatch.setattr(int8, "_write", fails)
    assert int8.quantize(tmp_path, nn.Identity(), folder / release.ONNX, probe) == {}
    assert list(tmp_path.iterdir()) == []
    assert "there is no model.int8.onnx: no such operator" in caplog.text
    assert "a page of more" not in caplog.text

"""Weights out of other people's files, without running anything in them."""

import argparse
import json
import pickle
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from tune_kd.errors import InputError
from tune_kd.models import build, fitting, weight_files
from tune_kd.models.unpickling import read as unpickled

TEACHERS = next(
    (path / "shared" / "data" for path in Path(__file__).parents if (path / "shared").is_dir()), Path("none")
)
SHAPE = (3, 32, 32)


@pytest.fixture(scope="module")
def model() -> nn.Module:
    return build("resnet8x4", classes=100, in_shape=SHAPE)


def loads(path: Path, model: nn.Module, ema: bool = False) -> None:
    """Into another network of the kind; all numbers must be those of `model`."""
    other = build("resnet8x4", classes=100, in_shape=SHAPE)
    fitting.load_into(other, weight_files.weights_of(weight_files.read(path), path, ema), path)
    for key, value in model.state_dict().items():
        assert torch.equal(other.state_dict()[key], value), key


@pytest.mark.parametrize("zipped", [True, False])
def test_a_checkpoint_as_repdistiller_writes_it(model: nn.Module, tmp_path: Path, zipped: bool) -> None:
    content = {
        "opt": argparse.Namespace(lr=0.05, model="resnet8x4", lr_decay_epochs=[150, 180]),
        "epoch": 240,
        "model": model.state_dict(),
        "best_acc": np.float64(73.3),
        "accuracy": np.zeros(3),
        "optimizer": torch.optim.SGD(model.parameters(), 0.1, momentum=0.9).state_dict(),
        "where": Path("/data"),
    }
    file = tmp_path / "ckpt_epoch_240.pth"
    torch.save(content, file, _use_new_zipfile_serialization=zipped)
    loads(file, model)
    with pytest.raises(pickle.UnpicklingError):  # which is why there is a reader of our own
        torch.load(file, weights_only=True)


@pytest.mark.parametrize(
    "prefix",
    ["", "module.", "_orig_mod.", "model.", "backbone.", "module._orig_mod.", "model._orig_mod.module.", "x.y."],
)
@pytest.mark.parametrize("wrapper", [None, "state_dict", "model", "state_dict_ema", "net"])
def test_prefixes_and_wrappers(model: nn.Module, tmp_path: Path, prefix: str, wrapper: str | None) -> None:
    weights = {f"{prefix}{key}": value for key, value in model.state_dict().items()}
    file = tmp_path / "wrapped.pt"
    torch.save(weights if wrapper is None else {wrapper: weights, "epoch": 3}, file)
    loads(file, model)


def test_a_lightning_file_has_more_than_the_network(model: nn.Module, tmp_path: Path) -> None:
    weights = {f"model.{key}": value for key, value in model.state_dict().items()} | {"criterion.weight": torch.ones(9)}
    file = tmp_path / "epoch=9.ckpt"
    torch.save({"state_dict": weights, "hyper_parameters": argparse.Namespace(a=1), "callbacks": {}}, file)
    loads(file, model)


def test_a_head_may_stand_beside_a_prefixed_body(model: nn.Module, tmp_path: Path) -> None:
    weights = {key if key.startswith("fc.") else f"backbone.{key}": value for key, value in model.state_dict().items()}
    file = tmp_path / "body.pt"
    torch.save(weights, file)
    loads(file, model)


def test_the_moving_average_by_choice(model: nn.Module, tmp_path: Path) -> None:
    other = build("resnet8x4", classes=100, in_shape=SHAPE)
    file = tmp_path / "timm.pth.tar"
    torch.save({"state_dict": other.state_dict(), "state_dict_ema": model.state_dict(), "version": 2}, file)
    loads(file, model, ema=True)
    loads(file, other)
    torch.save({"state_dict": other.state_dict()}, file)
    with pytest.raises(InputError, match=r"no moving average.*state_dict_ema.*Leave `ema` out"):
        loads(file, model, ema=True)


def test_a_model_that_was_saved_whole(model: nn.Module, tmp_path: Path) -> None:
    file = tmp_path / "whole.pt"
    torch.save(model, file)
    loads(file, model)
    torch.save({"model": model, "epoch": 4}, file)
    loads(file, model)


def test_safetensors_as_the_library_writes_them(model: nn.Module, tmp_path: Path) -> None:
    save_file = pytest.importorskip("safetensors.torch").save_file
    file = tmp_path / "model.safetensors"
    save_file({f"module.{key}": value for key, value in model.state_dict().items()}, file, {"format": "pt"})
    loads(file, model)


def safe(header: object, body: bytes = b"\0" * 8) -> bytes:
    raw = json.dumps(header).encode()
    return struct.pack("<Q", len(raw)) + raw + body


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\xff" * 8,
        safe({"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 800]}}),
        safe({"a": {"dtype": "F32", "shape": [9], "data_offsets": [0, 8]}}),
        safe({"a": {"dtype": "X", "shape": [2], "data_offsets": [0, 8]}}),
        safe({"a": {"dtype": "F32", "shape": [-1], "data_offsets": [-8, 0]}}),
        safe({"a": 3}),
        safe([1]),
    ],
)
def test_damaged_safetensors_are_refused(tmp_path: Path, raw: bytes) -> None:
    file = tmp_path / "bad.safetensors"
    file.write_bytes(raw)
    with pytest.raises(InputError, match="cannot be read"):
        weight_files.read(file)


def test_every_kind_of_number(tmp_path: Path) -> None:
    kinds = (torch.float16, torch.bfloat16, torch.float64, torch.int8, torch.uint8, torch.bool, torch.int32)
    content = {str(kind): torch.arange(6).reshape(2, 3).to(kind).t() for kind in kinds} | {"none": torch.empty(0)}
    for zipped in (True, False):
        torch.save(content, tmp_path / "kinds.pt", _use_new_zipfile_serialization=zipped)
        found = unpickled(tmp_path / "kinds.pt")
        for key, value in content.items():
            assert torch.equal(found[key], value)
            assert found[key].dtype == value.dtype


def test_a_key_that_does_not_fit_is_named_with_the_nearest_that_would(model: nn.Module, tmp_path: Path) -> None:
    weights = {key.replace("fc.", "classifier."): value for key, value in model.state_dict().items()}
    torch.save(weights, tmp_path / "renamed.pt")
    with pytest.raises(InputError, match=r"missing: fc\.weight \(the nearest of its shape is classifier\.weight\)"):
        loads(tmp_path / "renamed.pt", model)


@pytest.mark.skipif(not TEACHERS.is_dir(), reason="the foreign teachers are not here")
@pytest.mark.parametrize("name", ["resnet20-12fca82f", "resnet56-4bfd9763"])
def test_foreign_teachers_to_the_last_bit(name: str) -> None:
    file = TEACHERS / f"{name}.th"
    own = build(f"{name.partition('-')[0]}_a", classes=10, in_shape=SHAPE)
    fitting.load_into(own, weight_files.weights_of(weight_files.read(file), file), file)
    for key, value in torch.load(file, map_location="cpu", weights_only=True)["state_dict"].items():
        assert torch.equal(own.state_dict()[key.removeprefix("module.")], value)

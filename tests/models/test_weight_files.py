"""Weights out of other people's files, without running anything in them."""

import argparse
import collections
import contextlib
import json
import os
import pickle
import struct
import tempfile
import zipfile
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from tune_kd.errors import InputError
from tune_kd.models import build, fitting, weight_files
from tune_kd.models.unpickling import Inert, NoTensors
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


# Hostile files. Each op that calls something is tried with names that would leave a trace.

TRACE = "/tmp/tune_kd_was_here"
NAMES = [
    ("os", "system"),
    ("posix", "system"),
    ("builtins", "eval"),
    ("builtins", "exec"),
    ("builtins", "__import__"),
    ("builtins", "getattr"),
    ("subprocess", "Popen"),
    ("runpy", "run_path"),
    ("pickle", "loads"),
    ("functools", "partial"),
    ("operator", "attrgetter"),
    ("torch", "load"),
    ("torch.storage", "_load_from_bytes"),
    ("torch._utils", "_rebuild_tensor_v2.__globals__"),
]


def text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value.encode())) + value.encode()


def name_of(module: str, name: str, by: str) -> bytes:
    if by == "GLOBAL":
        return f"c{module}\n{name}\n".encode()
    return text(module) + text(name) + b"\x93"


COMMAND = f"touch {TRACE}"
CALLS = {
    "REDUCE": lambda target: target + text(COMMAND) + b"\x85R",
    "NEWOBJ": lambda target: target + text(COMMAND) + b"\x85\x81",
    "NEWOBJ_EX": lambda target: target + text(COMMAND) + b"\x85}\x92",
    "OBJ": lambda target: b"(" + target + text(COMMAND) + b"o",
    "BUILD": lambda target: target + b")R" + b"}" + text("__setstate__") + text(COMMAND) + b"s" + b"b",
    "SETITEM": lambda target: target + b")R" + text("a") + text(COMMAND) + b"s",
    "APPEND": lambda target: target + b")R" + text(COMMAND) + b"a",
    "ADDITEMS": lambda target: target + b")R(" + text(COMMAND) + b"\x90",
    "APPENDS": lambda target: target + b")R(" + text(COMMAND) + b"e",
    "PERSID": lambda target: b"P" + COMMAND.encode() + b"\n",
    "BINPERSID": lambda target: target + text(COMMAND) + b"\x86Q",
    "TWICE": lambda target: target + text(COMMAND) + b"\x85R" + text(COMMAND) + b"\x85R",
}


def as_file(tmp_path: Path, program: bytes) -> Path:
    file = tmp_path / "evil.pt"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("evil/data.pkl", program)
        archive.writestr("evil/data/0", struct.pack("<2f", 1.0, 2.0))
    return file


TENSOR = (
    b"ctorch._utils\n_rebuild_tensor_v2\n((" + text("storage") + b"ctorch\nFloatStorage\n" + text("0") + text("cpu")
    + b"K\x02tQK\x00K\x02\x85K\x01\x85\x89ccollections\nOrderedDict\n)RtR"
)  # fmt: skip


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("by", ["GLOBAL", "STACK_GLOBAL"])
@pytest.mark.parametrize(("module", "name"), NAMES)
def test_nothing_that_is_named_runs_and_the_weights_come_out(
    tmp_path: Path, call: str, by: str, module: str, name: str
) -> None:
    evil = CALLS[call](name_of(module, name, by))
    program = b"\x80\x04}(" + text("opt") + evil + text("state_dict") + b"}" + text("w") + TENSOR + b"su."
    found = weight_files.read(as_file(tmp_path, program))
    assert weight_files.weights_of(found, "evil.pt")["w"].tolist() == [1.0, 2.0]
    assert not os.path.exists(TRACE)
    if call not in ("PERSID", "BINPERSID"):
        assert isinstance(found["opt"], Inert)


class Evil:
    def __init__(self, inner: Any = None) -> None:
        self.inner = inner

    def __reduce__(self) -> Any:
        return os.system, (COMMAND,), {"inner": self.inner}


def nested(depth: int) -> Any:
    value: Any = Evil()
    for level in range(depth):
        value = Evil([{level: value}, (value, np.float64(1))])
    return value


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("depth", [0, 1, 5])
def test_reduce_to_os_system_however_deep(model: nn.Module, tmp_path: Path, zipped: bool, depth: int) -> None:
    state = collections.OrderedDict(model.state_dict())
    torch.save({"a": nested(depth), "model": state, "b": [nested(depth)]}, tmp_path / "evil.pt",
               _use_new_zipfile_serialization=zipped)  # fmt: skip
    loads(tmp_path / "evil.pt", model)
    assert not os.path.exists(TRACE)


PARTS = [
    *(bytes([op]) for op in range(256)),
    TENSOR,
    text("a"),
    name_of("os", "system", "GLOBAL"),
    text(COMMAND) + b"\x85R",
    b"K\x01",
    b"J\xff\xff\xff\x7f",
    b"r\xff\xff\xff\x7f",
]


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from(PARTS), max_size=30))
def test_any_program_ends_in_an_object_or_a_refusal(parts: list[bytes]) -> None:
    with tempfile.TemporaryDirectory() as folder, contextlib.suppress(NoTensors):
        unpickled(as_file(Path(folder), b"\x80\x04" + b"".join(parts) + b"."))
    assert not os.path.exists(TRACE)


@pytest.mark.parametrize(
    "numbers",
    [
        b"K\x00K\x03\x85K\x01\x85",  # more numbers than the file holds
        b"K\x00K\x02\x85K\x09\x85",  # steps that lead out of it
        b"K\x05K\x02\x85K\x01\x85",  # a start beyond its end
        b"J\xff\xff\xff\xffK\x02\x85K\x01\x85",  # a start before it
    ],
)
def test_a_tensor_never_reaches_beyond_its_bytes(tmp_path: Path, numbers: bytes) -> None:
    program = b"\x80\x02" + TENSOR.replace(b"K\x00K\x02\x85K\x01\x85", numbers) + b"."
    with contextlib.suppress(NoTensors):
        assert isinstance(unpickled(as_file(tmp_path, program)), Inert)


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"", "truncated"),
        (b"\x80\x04\x8a\x04abcd.", "not written by torch.save"),
        (b"\x80\x04r\xff\xff\xff\xff.", "absurd"),
        (b"\x80\x05\x96\xff\xff\xff\xff\xff\x00\x00\x00.", ""),
        (b"hello", "truncated"),
    ],
)
def test_what_is_no_file_of_weights_says_so(tmp_path: Path, raw: bytes, words: str) -> None:
    (tmp_path / "x.pt").write_bytes(raw)
    with pytest.raises(InputError, match=f"x.pt cannot be read: .*{words}"):
        weight_files.read(tmp_path / "x.pt")


def test_storages_that_promise_too_much_take_no_memory(tmp_path: Path) -> None:
    """A legacy file whose tensor is said to have 2^60 numbers."""
    buffer = BytesIO()
    torch.save({"w": torch.zeros(2)}, buffer, _use_new_zipfile_serialization=False)
    raw = buffer.getvalue().replace(b"K\x02Nt", b"\x8a\x08" + struct.pack("<q", 1 << 60) + b"Nt")
    assert raw != buffer.getvalue()
    (tmp_path / "x.pt").write_bytes(raw)
    with pytest.raises(NoTensors):
        unpickled(tmp_path / "x.pt")

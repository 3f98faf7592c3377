"""Files that were made to do harm: each op that calls something is tried with names that would leave a trace."""

import collections
import contextlib
import copyreg
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

from tests.models.test_weight_files import SHAPE, loads
from tune_kd.errors import InputError
from tune_kd.models import build, weight_files
from tune_kd.models.unpickling import KNOWN, Inert, NoTensors
from tune_kd.models.unpickling import read as unpickled


@pytest.fixture(scope="module")
def model() -> nn.Module:
    return build("resnet8x4", classes=100, in_shape=SHAPE)


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


@pytest.mark.parametrize(("module", "name"), NAMES)
def test_a_name_that_is_called_where_it_stands_is_inert_as_well(tmp_path: Path, module: str, name: str) -> None:
    """INST, which names and calls in one."""
    evil = b"(" + text(COMMAND) + f"i{module}\n{name}\n".encode()
    program = b"\x80\x04}(" + text("opt") + evil + text("state_dict") + b"}" + text("w") + TENSOR + b"su."
    found = weight_files.read(as_file(tmp_path, program))
    assert weight_files.weights_of(found, "evil.pt")["w"].tolist() == [1.0, 2.0]
    assert isinstance(found["opt"], Inert)
    assert not os.path.exists(TRACE)


@pytest.mark.parametrize(
    "number", [b"\x82\x4d", b"\x83\x4d\x00", b"\x84\x4d\x00\x00\x00"], ids=["EXT1", "EXT2", "EXT4"]
)
def test_a_name_that_is_a_number_is_refused(tmp_path: Path, number: bytes) -> None:
    copyreg.add_extension("os", "system", 77)
    try:
        assert pickle.loads(b"\x80\x04" + number + b".") is os.system
        file = as_file(tmp_path, b"\x80\x04" + number + text(COMMAND) + b"\x85R.")
        with pytest.raises(NoTensors, match="names objects by numbers"):
            unpickled(file)
        assert not os.path.exists(TRACE)
    finally:
        copyreg.remove_extension("os", "system", 77)


@pytest.mark.parametrize(
    "state",
    [
        b"}" + text("dtype") + b"K\x01s",  # attributes by name
        b"(K\x01l",  # fields in their order
        b"N}" + text("dtype") + b"K\x01s\x86",  # slots
        b"N}" + text("__defaults__") + b"(K\x01K\x02ts\x86",
        b"N}" + text("call") + b"K\x01s\x86",
    ],
)
@pytest.mark.parametrize("named", sorted(KNOWN))
def test_no_file_changes_how_the_next_one_is_read(tmp_path: Path, named: tuple[str, str], state: bytes) -> None:
    with contextlib.suppress(NoTensors):
        unpickled(as_file(tmp_path, b"\x80\x04" + name_of(*named, "GLOBAL") + state + b"b."))
    good = {"a": torch.arange(6.0).view(2, 3), "p": nn.Parameter(torch.ones(2))}
    torch.save(good, tmp_path / "good.pt")
    found = unpickled(tmp_path / "good.pt")
    assert torch.equal(found["a"], good["a"])
    assert torch.equal(found["p"], good["p"])
    for known in KNOWN.values():
        assert getattr(getattr(known, "call", None), "__defaults__", None) is None


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

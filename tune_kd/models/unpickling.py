"""Tensors out of files that torch.save wrote, without running anything that the file names.

A pickle can name any function and have it called. Here every name leads to one of three functions of our own, which
build a tensor from bytes that the file holds, or to `Inert`, which takes whatever it is called with and does nothing.
"""

import pickle
import pickletools
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO, Final

import torch
from torch import Tensor

MAGIC: Final = 0x1950A86A20F9469CFC6C  # of files written before torch 1.6
LARGEST_MEMO: Final = 1 << 24
"""Places where a pickle may note objects; the reader makes room for as many as the highest number says."""

DTYPES: Final[Mapping[str, torch.dtype]] = {
    "FloatStorage": torch.float32, "DoubleStorage": torch.float64, "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16, "LongStorage": torch.int64, "IntStorage": torch.int32,
    "ShortStorage": torch.int16, "CharStorage": torch.int8, "ByteStorage": torch.uint8, "BoolStorage": torch.bool,
    "UntypedStorage": torch.uint8,
}  # fmt: skip


class NoTensors(Exception):
    """Why nothing can be read from a file, in words."""


class Inert:
    """Stands for an object of a class that was named in the file. What it was called with or given is dropped, but for
    a state, in which weights may lie."""

    state: Any = None

    def __new__(cls, *given: Any, **named: Any) -> "Inert":
        return object.__new__(cls)

    def __init__(self, *given: Any, **named: Any) -> None:
        pass

    def __call__(self, *given: Any, **named: Any) -> "Inert":
        return Inert()

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def __setitem__(self, key: Any, value: Any) -> None:
        pass

    def append(self, value: Any) -> None:
        pass

    extend = add = append


class _Storage:
    """Bytes of the file that tensors are cut from."""

    def __init__(self, values: Tensor) -> None:
        self.values = values


@dataclass(frozen=True, slots=True)
class _Shared:
    """What files name here is the same for all of them, so none may write into it. A dataclass with slots would take
    the state that a file gives it, and a function takes attributes."""

    def __setstate__(self, state: Any) -> None:
        pass


@dataclass(frozen=True, slots=True)
class _StorageType(_Shared):
    """What a file calls torch.FloatStorage."""

    dtype: torch.dtype

    __setstate__ = _Shared.__setstate__


@dataclass(frozen=True, slots=True)
class _Function(_Shared):
    call: Callable[..., Any]

    __setstate__ = _Shared.__setstate__

    def __call__(self, *given: Any, **named: Any) -> Any:
        return self.call(*given, **named)


def _tensor(storage: Any, offset: Any, size: Any, stride: Any, *rest: Any) -> Any:
    whole = isinstance(storage, _Storage) and isinstance(offset, int)
    if not whole or not all(isinstance(each, int) and each >= 0 for each in (offset, *size, *stride)):
        return Inert()
    # as_strided itself refuses what would reach beyond the bytes.
    return torch.as_strided(storage.values, tuple(size), tuple(stride), offset)


def _parameter(data: Any, *rest: Any) -> Any:
    return data if isinstance(data, Tensor) else Inert()


def _of_type(function: Any, kind: Any, given: Any, state: Any) -> Any:
    """A subclass of Tensor: its numbers."""
    known = isinstance(function, _Function) and function.call in (_tensor, _parameter)
    return function(*given) if known else Inert()


KNOWN: Final[Mapping[tuple[str, str], Any]] = {
    ("collections", "OrderedDict"): OrderedDict,
    ("torch._utils", "_rebuild_tensor"): _Function(_tensor),
    ("torch._utils", "_rebuild_tensor_v2"): _Function(_tensor),
    ("torch._utils", "_rebuild_parameter"): _Function(_parameter),
    ("torch._utils", "_rebuild_parameter_with_state"): _Function(_parameter),
    ("torch._tensor", "_rebuild_from_type_v2"): _Function(_of_type),
    **{("torch", name): _StorageType(dtype) for name, dtype in DTYPES.items()},
    **{("torch.storage", name): _StorageType(dtype) for name, dtype in DTYPES.items()},
}


class _Reader(pickle.Unpickler):
    """pickle's own reader, for which every name and every reference is looked up here."""

    def __init__(self, file: BinaryIO, storage: Callable[[str, torch.dtype, int], _Storage]) -> None:
        super().__init__(file, encoding="latin1")
        self._storage = storage
        self._made: dict[str, _Storage] = {}

    def find_class(self, module: str, name: str) -> Any:
        return KNOWN.get((module, name), Inert)

    def persistent_load(self, reference: Any) -> Any:
        fits = isinstance(reference, tuple) and len(reference) >= 5 and reference[0] == "storage"
        if not fits or not isinstance(reference[1], _StorageType) or not isinstance(reference[4], int):
            return Inert()
        key = str(reference[2])
        if key not in self._made:
            self._made[key] = self._storage(key, reference[1].dtype, reference[4])
        return self._made[key]


def read(path: Path) -> Any:
    """What the file holds, with tensors where there are any. Raises NoTensors and nothing else."""
    try:
        with path.open("rb") as file:
            if zipfile.is_zipfile(file):
                return _zipped(file)
            file.seek(0)
            return _plain(file, path.stat().st_size)
    except NoTensors:
        raise
    except OSError as error:
        raise NoTensors(f"it cannot be opened: {error.strerror or error}") from None
    except MemoryError:
        raise NoTensors("it asks for more memory than there is") from None
    except RecursionError:
        raise NoTensors("its parts lie too deep inside each other") from None
    except Exception as error:  # broken bytes make a reader fail in any way
        raise NoTensors(f"it is truncated or damaged ({type(error).__name__}: {str(error)[:100]})") from None


def _zipped(file: BinaryIO) -> Any:
    """A file of torch 1.6 or later: a zip archive, nothing in it compressed."""
    with zipfile.ZipFile(file) as archive:
        names = archive.namelist()
        pickled = next((name for name in names if name == "data.pkl" or name.endswith("/data.pkl")), None)
        if pickled is None:
            raise NoTensors("it is a zip archive, but not one of torch.save")
        inside = pickled.removesuffix("data.pkl")
        if f"{inside}byteorder" in names and archive.read(f"{inside}byteorder") == b"big":
            raise NoTensors("it was written on a big-endian machine")
        if f"{inside}constants.pkl" in names:
            raise NoTensors("it is a TorchScript program; save its state_dict() instead")

        def content(name: str) -> bytes:
            entry = archive.getinfo(name)
            if entry.file_size != entry.compress_size:
                raise NoTensors("its parts are compressed, which torch.save never does")
            return archive.read(entry)

        def storage(key: str, dtype: torch.dtype, numel: int) -> _Storage:
            return _Storage(_values(content(f"{inside}data/{key}"), dtype, numel))

        return _load(BytesIO(content(pickled)), storage)


def _plain(file: BinaryIO, size: int) -> Any:
    """A file from before: four pickles, the names of the storages, and their bytes one after the other."""
    made: dict[str, _Storage] = {}

    def refuse(key: str, dtype: torch.dtype, numel: int) -> _Storage:
        raise NoTensors("its head refers to tensors")

    first = _load(file, refuse)
    if first != MAGIC:
        raise NoTensors("it was not written by torch.save")
    for _ in range(2):  # the protocol's version, and facts of the machine
        _load(file, refuse)
    taken = 0

    def storage(key: str, dtype: torch.dtype, numel: int) -> _Storage:
        nonlocal taken
        taken += numel * dtype.itemsize
        if numel < 0 or taken > size:
            raise NoTensors("it holds fewer numbers than it says")
        made[key] = _Storage(torch.zeros(numel, dtype=dtype))
        return made[key]

    # Tensors are views of storages, whose numbers come last.
    found = _load(file, storage)
    for key in _load(file, refuse):
        (numel,) = torch.frombuffer(bytearray(file.read(8)), dtype=torch.int64).tolist()
        values = made[str(key)].values
        if numel != len(values):
            raise NoTensors("it holds other numbers than it says")
        values.copy_(_values(file.read(numel * values.itemsize), values.dtype, numel))
    return found


def _values(raw: bytes, dtype: torch.dtype, numel: int) -> Tensor:
    if not numel:
        return torch.empty(0, dtype=dtype)
    if not 0 < numel * dtype.itemsize <= len(raw):
        raise NoTensors("it holds fewer numbers than it says")
    return torch.frombuffer(bytearray(raw), dtype=dtype, count=numel)


def _load(file: BinaryIO, storage: Callable[[str, torch.dtype, int], _Storage]) -> Any:
    start = file.tell()
    # Every part must be there in full, or the reader would make room for what a few bytes promise.
    for opcode, given, _ in pickletools.genops(file):
        if "PUT" in opcode.name and isinstance(given, int) and given > LARGEST_MEMO:
            raise NoTensors("it notes objects under absurd numbers")
        if opcode.name.startswith("EXT"):  # such a number may lead to an object without a word to find_class
            raise NoTensors("it names objects by numbers, which torch.save never does")
    file.seek(start)
    return _Reader(file, storage).load()

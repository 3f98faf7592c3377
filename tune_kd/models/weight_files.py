"""Files of weights as they are in the wild: torch's two formats and safetensors, and what people wrap weights in."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor

from tune_kd.errors import InputError
from tune_kd.models.unpickling import Inert, NoTensors
from tune_kd.models.unpickling import read as unpickled

Weights = dict[str, Tensor]

WRAPPERS: Final = (
    "state_dict",
    "model_state_dict",
    "model",
    "net",
    "network",
    "student",
    "weights",
    "params",
    "module",
)
EMA_WRAPPERS: Final = ("state_dict_ema", "model_ema", "ema_state_dict", "ema", "ema_model")
"""Where projects keep the moving average of the weights."""

SAFE_DTYPES: Final = {
    "F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16, "I64": torch.int64,
    "I32": torch.int32, "I16": torch.int16, "I8": torch.int8, "U8": torch.uint8, "BOOL": torch.bool,
}  # fmt: skip
LARGEST_HEADER: Final = 100_000_000


def read(path: str | Path) -> Mapping[str, Any]:
    """The file's content as keys and values; tensors are on the CPU. Nothing in it is run."""
    path = Path(path).expanduser()
    if not path.is_file():
        raise InputError(
            f"checkpoint {path}: there is no such file. Check the path; it must be a file of torch weights or of "
            "safetensors."
        )
    try:
        found = _safetensors(path) if path.suffix == ".safetensors" else unpickled(path)
    except NoTensors as error:
        raise InputError(
            f"checkpoint {path} cannot be read: {error}. Copy it again, or write it with "
            "torch.save(model.state_dict(), path)."
        ) from None
    if isinstance(found, Inert):  # a whole model was saved, not its weights
        found = dict(_of_module(found, ""))
    if not isinstance(found, Mapping):
        raise InputError(f"checkpoint {path} holds a {type(found).__name__}; expected a dict, such as a state_dict.")
    return found


def weights_of(content: Mapping[str, Any], path: str | Path, ema: bool = False) -> Weights:
    """The weights in a file's content, out of whatever they are wrapped in; or their moving average."""
    averages = [name for name in EMA_WRAPPERS if name in content]
    if ema and not averages:
        raise InputError(
            f"checkpoint {path} holds no moving average of weights (none of {', '.join(EMA_WRAPPERS)}): its keys are "
            f"{few(map(str, content))}. Leave `ema` out."
        )
    for name in averages if ema else (*WRAPPERS, *EMA_WRAPPERS):
        if found := _tensors(content.get(name)):
            return found
    if found := _tensors(content):
        return found
    raise InputError(
        f"checkpoint {path} holds no weights where they are looked for: its keys are {few(map(str, content))}. "
        f"Expected a state_dict, or one under {', '.join(WRAPPERS)}."
    )


def few(keys: Iterator[str] | list[str]) -> str:
    every = list(keys)
    return ", ".join(every[:3]) + (" and others" if len(every) > 3 else "")


def _tensors(value: Any) -> Weights:
    if isinstance(value, Inert):
        value = dict(_of_module(value, ""))
    if not isinstance(value, Mapping):
        return {}
    own = {str(key): each for key, each in value.items() if isinstance(each, Tensor)}
    if own:
        return own
    # One wrapper may lie in another.
    return next((found for name in WRAPPERS if name in value and (found := _tensors(value[name]))), {})


def _of_module(module: Any, prefix: str) -> Iterator[tuple[str, Tensor]]:
    """The weights of a module that was saved whole: its state says where they lie."""
    state = getattr(module, "state", None)
    if not isinstance(state, Mapping):
        return
    for part in ("_parameters", "_buffers"):
        for name, value in (state.get(part) or {}).items():
            if isinstance(value, Tensor):
                yield f"{prefix}{name}", value
    for name, inner in (state.get("_modules") or {}).items():
        yield from _of_module(inner, f"{prefix}{name}.")


def _safetensors(path: Path) -> Mapping[str, Any]:
    """A length, a header of JSON, and bytes; https://huggingface.co/docs/safetensors describes it in full."""
    try:
        raw = path.read_bytes()
        length = int.from_bytes(raw[:8], "little")
        if not 0 < length <= min(LARGEST_HEADER, len(raw) - 8):
            raise NoTensors("it is truncated, or no safetensors file")
        header = json.loads(raw[8 : 8 + length])
        body = memoryview(raw)[8 + length :]
        return {name: _cut(body, facts) for name, facts in header.items() if name != "__metadata__"}
    except OSError as error:
        raise NoTensors(f"it cannot be opened: {error.strerror or error}") from None
    except (ValueError, KeyError, TypeError, AttributeError, RuntimeError) as error:
        raise NoTensors(f"it is damaged, or no safetensors file ({error})") from None


def _cut(body: memoryview, facts: Mapping[str, Any]) -> Tensor:
    start, end = facts["data_offsets"]
    dtype = SAFE_DTYPES[facts["dtype"]]
    if not 0 <= start <= end <= len(body):
        raise ValueError("a tensor reaches beyond the file")
    own = bytearray(body[start:end])
    values = torch.frombuffer(own, dtype=dtype) if own else torch.empty(0, dtype=dtype)
    return values.reshape(facts["shape"])

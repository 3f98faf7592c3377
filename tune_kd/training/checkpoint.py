"""Files of weights and training state: written whole or not at all, and read without running anything in them."""

import io
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor, nn

from tune_kd.errors import InputError, StorageError

WRAPPERS: Final = ("state_dict", "model", "model_state_dict")
PREFIX: Final = "module."  # what torch's DataParallel puts before every key
COUNTER: Final = "num_batches_tracked"  # absent from old files, and no weight


def save(path: str | Path, state: dict[str, Any]) -> None:
    """Tensors and plain values only: anything else could not be loaded again."""
    path = Path(path)
    unfinished = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with unfinished.open("wb") as file:
                # Not synced: what a power cut takes is trained again, and an epoch can be short.
                torch.save(state, file)
            unfinished.replace(path)
        finally:
            unfinished.unlink(missing_ok=True)
    except OSError as error:
        raise StorageError(f"checkpoint {path} cannot be written: {error.strerror or error}") from error


def packed(state: Mapping[str, Any]) -> bytes:
    """What `save` would write."""
    buffer = io.BytesIO()
    torch.save(dict(state), buffer)
    return buffer.getvalue()


def load(path: str | Path) -> dict[str, Any]:
    """What `save` wrote, on the CPU. A file that is not weights is refused before anything in it can run."""
    if not Path(path).is_file():
        raise InputError(
            f"checkpoint {path}: there is no such file. Check the path; it must be a file of torch weights."
        )
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a broken file can make the reader fail in any way
        raise InputError(
            f"checkpoint {path} cannot be read: it is truncated, or not a file of torch weights, or holds other "
            f"objects than tensors, which are never run here ({_first_line(error)}). "
            "Copy it again, or write it with torch.save(model.state_dict(), path)."
        ) from error
    if not isinstance(state, dict):
        raise InputError(f"checkpoint {path} holds a {type(state).__name__}; expected a dict, such as a state_dict.")
    return state


def load_weights(model: nn.Module, path: str | Path) -> None:
    """Fill a model from a file by ourselves or others; every weight must fit, or nothing is changed."""
    weights = _unwrapped(load(path), path)
    own = model.state_dict()
    problems = _problems(own, weights)
    if problems:
        raise InputError(
            f"checkpoint {path} is of another architecture than the model it is loaded into: "
            f"{'; '.join(problems)}. Name the model it was trained as (for a teacher: teacher.model), "
            "with the same classes and image shape."
        )
    model.load_state_dict(weights, strict=False)


def _unwrapped(state: Mapping[str, Any], path: str | Path) -> dict[str, Tensor]:
    inner = next((state[key] for key in WRAPPERS if isinstance(state.get(key), Mapping)), state)
    if not any(isinstance(value, Tensor) for value in inner.values()):
        raise InputError(
            f"checkpoint {path} holds no weights where they are looked for: its keys are "
            f"{_few([str(key) for key in state])}. Expected a state_dict, or one under {', '.join(WRAPPERS)}."
        )
    if all(str(key).startswith(PREFIX) for key in inner):
        return {key.removeprefix(PREFIX): value for key, value in inner.items()}
    return dict(inner)


def _problems(own: Mapping[str, Tensor], weights: Mapping[str, Any]) -> list[str]:
    missing = [key for key in own if key not in weights and not key.endswith(COUNTER)]
    unexpected = [str(key) for key in weights if key not in own]
    misshapen = [
        f"{key} {_shape(weights[key])} instead of {tuple(own[key].shape)}"
        for key in own
        if key in weights and _shape(weights[key]) != tuple(own[key].shape)
    ]
    found = {"missing": missing, "unexpected": unexpected, "of another shape": misshapen}
    return [f"{len(keys)} {what}: {_few(keys)}" for what, keys in found.items() if keys]


def _shape(value: object) -> object:
    return tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__


def _few(keys: Sequence[str]) -> str:
    return ", ".join(keys[:3]) + (" and others" if len(keys) > 3 else "")


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]

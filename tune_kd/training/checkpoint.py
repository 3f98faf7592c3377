"""Files of weights and training state: written whole or not at all, and read without running anything in them."""

import io
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from tune_kd.errors import InputError, StorageError
from tune_kd.models import fitting, weight_files
from tune_kd.storage import files


def save(path: str | Path, state: dict[str, Any]) -> None:
    """Tensors and plain values only: anything else could not be loaded again."""
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # What a power cut takes is trained again, and an epoch can be short.
        with files.replacing(path, sync=False) as file:
            torch.save(state, file)
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


def load_weights(
    model: nn.Module, path: str | Path, ema: bool = False, known: Callable[[], fitting.Networks] = dict
) -> None:
    """Fill a model from a file by ourselves or others; every weight must fit, or nothing is changed."""
    fitting.load_into(model, weight_files.weights_of(weight_files.read(path), path, ema), path, known)


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]

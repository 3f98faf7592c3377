"""With which numbers a model is computed: fp32, or bf16 where that is faster here and comes to the same.

Decided once per search and model by whoever needs it first, and kept beside the checkpoints: every trial, and a search
that goes on after a kill, computes alike. Weights, losses and the optimizer stay in fp32 always; bf16 is for
what happens inside the model.
"""

import copy
import json
import re
import statistics
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, Final, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tune_kd import names
from tune_kd.storage import files
from tune_kd.training.optim import step

Precision = Literal["fp32", "bf16"]
Wanted = Literal["auto", "fp32", "bf16"]

Agree = Callable[[Path, Callable[[], dict[str, Any]]], dict[str, Any]]
"""The decision that is kept in a file; where there is none yet, that of the given function."""

MOST_ERROR: Final = 0.05
"""Largest relative error of bf16 logits, and of the loss during a few steps, that counts as the same."""
LEAST_SPEEDUP: Final = 1.1
STEPS: Final = 6


def autocast(device: torch.device, precision: Precision) -> AbstractContextManager[Any]:
    if precision == "fp32":
        return nullcontext()
    return torch.autocast(device.type, torch.bfloat16)


def capable(device: torch.device) -> bool:
    """Whether the device computes in bf16 by itself; emulated, it is slower than fp32."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return device.type == "cpu" and torch.cpu._is_avx512_bf16_supported()


def settle(
    wanted: Wanted,
    file: Path,
    device: torch.device,
    compare: Callable[[], tuple[float, float]],
    agree: Agree | None = None,
) -> Precision:
    """What was decided before; else it is decided now. `compare` gives the error and speed-up of bf16.

    Trials may decide at the same moment: the first is right, and `agree` knows which that was.
    """
    if wanted != "auto":
        return wanted
    found = (agree or in_folder)(file, lambda: _decide(device, compare))
    used: Precision = found["precision"]
    return used


def in_folder(file: Path, decide: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Agrees where all trials see the same folder: the first to write is right."""
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        files.write_once(file, json.dumps(decide()).encode())
    found: dict[str, Any] = json.loads(file.read_text())
    return found


def _decide(device: torch.device, compare: Callable[[], tuple[float, float]]) -> dict[str, Any]:
    if not capable(device):
        return {"precision": "fp32", "why": f"this {device.type} has no bf16"}
    try:
        error, speedup = compare()
    except RuntimeError as problem:  # an operation that has no bf16
        return {"precision": "fp32", "why": f"bf16 failed: {problem}".partition("\n")[0]}
    found = {"error": error, "speedup": speedup}
    if not error <= MOST_ERROR:
        return {"precision": "fp32", "why": f"bf16 is off by more than {MOST_ERROR:.0%}", **found}
    if speedup < LEAST_SPEEDUP:
        return {"precision": "fp32", "why": "bf16 is not faster", **found}
    return {"precision": "bf16", "why": "faster, and the same within the tolerance", **found}


def place(folder: Path, role: str, model: str) -> Path:
    """Where the decision on a model lies; `role` is student or teacher."""
    return folder / f"{role}.{re.sub(r'[^A-Za-z0-9_.-]', '_', model)}{names.PRECISION_SUFFIX}"


def decided(folder: Path) -> dict[str, dict[str, Any]]:
    """Every decision of a search, for its record."""
    files = sorted(folder.glob(f"*{names.PRECISION_SUFFIX}"))
    return {file.name.removesuffix(names.PRECISION_SUFFIX): json.loads(file.read_text()) for file in files}


def compare_training(model: nn.Module, inputs: Tensor, labels: Tensor) -> tuple[float, float]:
    """Error and speed-up of bf16 over a few plain steps from the same weights on the same images."""
    both = {precision: copy.deepcopy(model).train() for precision in ("fp32", "bf16")}
    optimizers = {
        precision: torch.optim.SGD(each.parameters(), 0.01, momentum=0.9, fused=True)
        for precision, each in both.items()
    }
    took: dict[str, list[float]] = {"fp32": [], "bf16": []}
    error = _forward_error(both["fp32"], both["bf16"], inputs)
    for _ in range(STEPS):
        losses = {}
        for precision, each in both.items():
            started = _now(inputs.device)
            torch.manual_seed(0)  # the same dropout for both
            with autocast(inputs.device, precision):  # type: ignore[arg-type]
                logits = each(inputs)
            loss = F.cross_entropy(logits.float(), labels)
            optimizers[precision].zero_grad()
            loss.backward()
            step(optimizers[precision])
            losses[precision] = float(loss.detach())
            took[precision].append(_now(inputs.device) - started)
        error = max(error, abs(losses["bf16"] - losses["fp32"]) / max(abs(losses["fp32"]), 0.1))
    return error, _speedup(took)


@torch.inference_mode()
def compare_inference(model: nn.Module, inputs: Tensor) -> tuple[float, float]:
    """The same for a model that is only run."""
    took: dict[str, list[float]] = {"fp32": [], "bf16": []}
    error = _forward_error(model, model, inputs)
    for _ in range(STEPS):
        for precision, each in took.items():
            started = _now(inputs.device)
            with autocast(inputs.device, precision):  # type: ignore[arg-type]
                model(inputs)
            each.append(_now(inputs.device) - started)
    return error, _speedup(took)


@torch.no_grad()
def _forward_error(exact: nn.Module, rough: nn.Module, inputs: Tensor) -> float:
    modes = exact.training, rough.training
    wanted = exact.eval()(inputs).float()
    with autocast(inputs.device, "bf16"):
        found = rough.eval()(inputs).float()
    exact.train(modes[0])
    rough.train(modes[1])
    return float((found - wanted).norm() / wanted.norm().clamp(min=1e-6))


def _speedup(took: dict[str, list[float]]) -> float:
    """The first runs warm up."""
    return statistics.median(took["fp32"][1:]) / statistics.median(took["bf16"][1:])


def _now(device: torch.device) -> float:
    """On a processor the time that this thread had it: what else runs there must not decide."""
    if device.type == "cpu":
        return time.thread_time()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()

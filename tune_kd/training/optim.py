"""Optimizers and their learning rates."""

import inspect
import math
from collections.abc import Sequence
from typing import Any, Final

import torch
from torch import nn

from tune_kd.space.schema import Train
from tune_kd.training import process
from tune_kd.training.fine_tuning import FineTuning
from tune_kd.training.two_momenta import TwoMomenta

FROM_SCRATCH = FineTuning()

PLATEAU: Final = 1e-4
"""A loss that falls by less has not fallen."""


def step(optimizer: torch.optim.Optimizer) -> None:
    """As `optimizer.step()`, without what is wrapped around it for the compiler and the profiler."""
    with torch.no_grad():
        inspect.unwrap(type(optimizer).step)(optimizer)


def make_optimizer(
    model: nn.Module, settings: Train, tuning: FineTuning = FROM_SCRATCH, gap: float = 0.0
) -> torch.optim.Optimizer:
    """A gap between the momenta of both terms of the loss is for a student that has a teacher."""
    process.spare_the_compiler()
    device = next(model.parameters()).device
    # A recorded step reads the rate from the GPU's memory, and counts its steps there.
    on_gpu = device.type == "cuda"
    rate = torch.tensor(settings.lr, device=device) if on_gpu else settings.lr
    weights = _groups(model, settings, tuning, on_gpu)
    if settings.optimizer == "sgd" and gap:
        return TwoMomenta(weights, rate, settings.momentum, gap)
    if settings.optimizer == "sgd":
        # Nesterov momentum is defined only where there is momentum.
        nesterov = settings.nesterov and settings.momentum > 0
        return torch.optim.SGD(weights, rate, settings.momentum, 0, settings.weight_decay, nesterov, fused=True)
    kind = torch.optim.Adam if settings.optimizer == "adam" else torch.optim.AdamW
    return kind(weights, rate, weight_decay=settings.weight_decay, fused=True, capturable=on_gpu)


def _groups(model: nn.Module, settings: Train, tuning: FineTuning, on_gpu: bool) -> list[dict[str, Any]]:
    """All weights alike, or head and body apart, or those of convolutions (without their biases) apart: only they decay
    then. Each group has a rate of its own, also where it lies in the GPU's memory."""
    found: list[dict[str, Any]] = []
    for part, weights in enumerate(tuning.groups(model)):
        kernels, others = ([each for each in weights if (each.dim() == 4) is wanted] for wanted in (True, False))
        apart = [(kernels, settings.weight_decay), (others, 0.0)]
        for own, decay in [(weights, settings.weight_decay)] if settings.decay == "all" else apart:
            rate = torch.tensor(settings.lr, device=weights[0].device) if on_gpu else settings.lr
            found.append({"params": own, "weight_decay": decay, "lr": rate, "part": part})
    return found


def restore(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """The optimizer's past, which may come from another kind of device; how it computes stays as it was made."""
    made = [{key: value for key, value in group.items() if key != "params"} for group in optimizer.param_groups]
    optimizer.load_state_dict(state)
    for group, own in zip(optimizer.param_groups, made, strict=True):
        group.update(own)


def set_rate(optimizer: torch.optim.Optimizer, rate: float, of_parts: Sequence[float] = (1.0,)) -> None:
    """In place where it lies in a GPU's memory: a recorded step knows no other place."""
    for group in optimizer.param_groups:
        own = of_parts[group["part"]]
        if isinstance(group["lr"], torch.Tensor):
            group["lr"].fill_(own * rate)
        else:
            group["lr"] = own * rate


def learning_rate(settings: Train, epoch: int, epochs: int, losses: Sequence[float] = ()) -> float:
    """The rate of one epoch (counted from 1) in a training planned for `epochs`; `losses` are those on the validation
    images after each epoch before it."""
    if epoch <= settings.warmup_epochs:
        return settings.lr * epoch / (settings.warmup_epochs + 1)
    done = epoch - 1
    if settings.schedule == "cosine":
        return settings.lr * 0.5 * (1 + math.cos(math.pi * done / epochs))
    if settings.schedule == "step":
        return settings.lr * settings.gamma ** (done // settings.step_epochs)
    if settings.schedule == "milestones":
        passed = sum(done >= round(share * epochs) for share in settings.milestones)
        return settings.lr * settings.gamma**passed
    if settings.schedule == "plateau":
        return settings.lr * settings.gamma ** _plateaus(losses, settings.patience)
    return settings.lr


def _plateaus(losses: Sequence[float], patience: int) -> int:
    """How often the loss has not fallen for `patience` epochs in a row."""
    best, waited, count = math.inf, 0, 0
    for loss in losses:
        waited = 0 if loss < best - PLATEAU else waited + 1
        best = min(best, loss)
        if waited == patience:
            count, waited = count + 1, 0
    return count

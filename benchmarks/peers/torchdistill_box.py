"""The torchdistill package as its examples drive it: a distillation box, a configuration, a loop over its loader."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import RandomSampler, TensorDataset
from torchdistill.common import constant
from torchdistill.core.distillation import get_distillation_box


def make_box(teacher: nn.Module, student: nn.Module, inputs: Tensor, labels: Tensor, settings: dict[str, Any]) -> Any:
    """Images are normalised tensors already: what a loader costs that decodes and transforms is not held against it."""
    constant.def_logger.setLevel("WARNING")
    loader = {
        "dataset_id": "train",
        "sampler": {"class_or_func": RandomSampler, "kwargs": {}},
        "kwargs": {"batch_size": settings["batch_size"], "num_workers": 0},
    }
    config = {
        "num_epochs": settings["epochs"],
        "train_data_loader": loader,
        "teacher": {"forward_proc": "forward_batch_only", "sequential": [], "requires_grad": False},
        "student": {"forward_proc": "forward_batch_only", "sequential": [], "requires_grad": True},
        "optimizer": {"key": "Adam", "kwargs": {"lr": settings["lr"]}},
        "criterion": {
            "key": "WeightedSumLoss",
            "kwargs": {"sub_terms": {"kd": {"criterion": _loss(settings), "weight": 1.0}}},
        },
    }
    data = {"train": TensorDataset(inputs, labels)}
    return get_distillation_box(teacher, student, data, config, torch.device("cpu"), None, False, 1.0)


def _loss(settings: dict[str, Any]) -> dict[str, Any]:
    paths = {f"{side}_module_path": "." for side in ("student", "teacher")}
    ios = {f"{side}_module_io": "output" for side in ("student", "teacher")}
    # Its alpha weighs the cross-entropy.
    weights = {"temperature": settings["temperature"], "alpha": 1 - settings["alpha"]}
    return {"key": "KDLoss", "kwargs": {**paths, **ios, **weights}}


def epoch(box: Any, number: int, seen: Callable[[int], None]) -> float:
    """One pass as in its image classification example; the mean loss."""
    total = images = 0.0
    box.pre_epoch_process(epoch=number)
    for inputs, targets, extra in box.train_data_loader:
        box.pre_forward_process()
        loss = box.forward_process(inputs, targets, extra)
        box.post_forward_process(loss=loss)
        total += loss.item() * len(inputs)
        images += len(inputs)
        seen(len(inputs))
    return total / images


def loss_of(box: Any, inputs: Tensor, targets: Tensor) -> float:
    """Of one batch, with nothing trained."""
    with torch.no_grad():
        return float(box.forward_process(inputs, targets, {}))

"""How a model's numbers lie in memory: channels last where the model takes it, which is faster on CPU and GPU alike."""

import torch
from torch import Tensor, nn

ImageShape = tuple[int, int, int]
"""Channels, rows, columns."""


def lay_out(model: nn.Module, in_shape: ImageShape) -> nn.Module:
    """The model, channels last unless it breaks on that: a `view` in somebody's own model may."""
    training = model.training
    own = next(model.parameters(), torch.empty(0))
    model.to(memory_format=torch.channels_last)
    try:
        with torch.no_grad():
            model.eval()(torch.zeros(2, *in_shape, device=own.device).contiguous(memory_format=torch.channels_last))
    except RuntimeError:
        model.to(memory_format=torch.contiguous_format)
    return model.train(training)


def layout_of(model: nn.Module) -> torch.memory_format:
    """Read off the weights, so that whoever has the model knows how its pictures should lie."""
    last = any(_channels_last(weight) for weight in model.parameters())
    return torch.channels_last if last else torch.contiguous_format


def _channels_last(weight: Tensor) -> bool:
    return weight.dim() == 4 and not weight.is_contiguous()

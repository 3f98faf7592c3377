"""Weights that know some pictures, without a training."""

import torch
from torch import Tensor, nn
from torch.nn import functional


def knowing(model: nn.Module, pictures: Tensor, labels: Tensor, classes: int) -> nn.Module:
    """Its layers get the statistics of these pictures, and its last one is fitted to their labels by least squares, so
    that it says each class of some."""
    norms = [layer for layer in model.modules() if isinstance(layer, nn.BatchNorm2d)]
    head = [layer for layer in model.modules() if isinstance(layer, nn.Linear)][-1]
    seen: list[Tensor] = []
    hook = head.register_forward_pre_hook(lambda layer, given: seen.append(given[0]))
    with torch.no_grad():
        for norm in norms:
            norm.momentum = 1.0
        model.train()(pictures[:64])
        model.eval()(pictures)
        hook.remove()
        features = functional.pad(seen[-1].double(), (0, 1), value=1.0)
        wanted = 8 * functional.one_hot(labels, classes).double()
        gram = features.t() @ features
        found = torch.linalg.solve(gram + 1e-3 * gram.trace() / len(gram) * torch.eye(len(gram)), features.t() @ wanted)
        head.weight.copy_(found[:-1].t())
        head.bias.copy_(found[-1])
    return model

"""Layers that compute what their sources' do, with less work."""

from collections.abc import Sequence

from torch import nn


def relu() -> nn.Module:
    """In place: what stood there before is needed by nobody, and memory is what a small CNN waits for."""
    return nn.ReLU(inplace=True)


def pooled(layers: Sequence[nn.Module], pool: nn.Module | None = None) -> list[nn.Module]:
    """The pool before the ReLU that ends `layers`, so that the ReLU has a quarter of the numbers to look at.

    All numbers and gradients stay the same: where the largest of several is above zero it is the same one before and
    after, and elsewhere both are zero and pass nothing back.
    """
    *first, last = layers
    assert isinstance(last, nn.ReLU)
    return [*first, pool or nn.MaxPool2d(2), last]

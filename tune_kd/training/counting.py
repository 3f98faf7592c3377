"""Multiplications of a network, counted at the operations themselves: attention has no layer that a hook could see.

torch's own FlopCounterMode does the same, but brings torch._dynamo with it, which would cost every worker seconds.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

Count = Callable[[Sequence[Any], Any], int]


def _convolution(given: Sequence[Any], output: Any) -> int:
    images, weight, transposed = given[0], given[1], given[6]
    moved: Tensor = images if transposed else output
    return moved.numel() * int(weight[0].numel())


def _product(first: int) -> Count:
    """Of the matrices that stand from place `first` on."""
    return lambda given, _: int(given[first].numel() * given[first + 1].shape[-1])


def _attention(given: Sequence[Any], _: Any) -> int:
    """Each query with each key, and the values weighed by that."""
    query, key, value = given[:3]
    return int(query[..., 0].numel() * key.shape[-2] * (query.shape[-1] + value.shape[-1]))


OPERATIONS: Final[Mapping[str, Count]] = {
    "aten::convolution": _convolution,
    "aten::mm": _product(0),
    "aten::bmm": _product(0),
    "aten::addmm": _product(1),
    "aten::baddbmm": _product(1),
    "aten::mv": lambda given, _: int(given[0].numel()),
    "aten::addmv": lambda given, _: int(given[1].numel()),
}
ATTENTION: Final = "scaled_dot_product"
"""In the names of its kernels, of which each processor has its own."""


class Counting(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.total = 0

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Nothing is compiled here; with its guard torch would import its compiler (torch 2.15)."""
        return False

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        output = func(*args, **(kwargs or {}))
        name = func._schema.name
        count = _attention if ATTENTION in name else OPERATIONS.get(name)
        self.total += count(args, output) if count else 0
        return output


def multiplications(model: nn.Module, images: Tensor) -> int:
    """Of one run in eval mode; without gradients, but not in inference mode, which does not show what layers do."""
    with torch.no_grad(), _by_parts(), Counting() as counting:
        model(images)
        return int(counting.total)


@contextmanager
def _by_parts() -> Iterator[None]:
    """Transformer layers do without their single fast operation, in which nothing can be counted."""
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)

"""A network's feature maps by module path."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from tune_kd.distill.method import Network, Shape


def run(network: nn.Module, inputs: Tensor, paths: Iterable[str]) -> tuple[Tensor, dict[str, Tensor]]:
    """Its logits, and what the modules named gave on the way."""
    maps: dict[str, Tensor] = {}
    with _heard({path: network.get_submodule(path) for path in paths}, maps.__setitem__):
        logits: Tensor = network(inputs)
    return logits, maps


@contextmanager
def _heard(modules: dict[str, nn.Module], tell: Callable[[str, Tensor], None]) -> Iterator[None]:
    """Hooks for one run only, so that nothing of them is copied, exported or left behind."""

    def hook(path: str) -> Callable[..., None]:
        return lambda module, inputs, output: tell(path, output) if isinstance(output, Tensor) else None

    handles = [module.register_forward_hook(hook(path)) for path, module in modules.items()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@torch.no_grad()
def network(module: nn.Module, in_shape: Shape, device: torch.device) -> Network:
    """Which maps a network has, found by running it once on two empty pictures."""
    shapes: dict[str, Shape] = {}

    def tell(path: str, output: Tensor) -> None:
        shapes[path] = tuple(output.shape[1:])

    training = module.training
    with _heard({path: each for path, each in module.named_modules() if path}, tell):
        module.eval()(torch.zeros(2, *in_shape, device=device))
    module.train(training)
    return Network(module, shapes)

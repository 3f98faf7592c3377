"""Every network: a step on the GPU is a step on the CPU, and a recorded one is an ordinary one."""

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from tests.gpu.setting import CLASSES, CPU, GPU, study, without_chance
from tune_kd.models import build, ours
from tune_kd.models.layout import lay_out
from tune_kd.training.graph import WARM_STEPS, CudaRecorder, RecordedStep
from tune_kd.training.optim import make_optimizer
from tune_kd.training.precision import Precision
from tune_kd.training.step import Batch, Step

BATCH, STEPS = 32, 12
NETWORKS = (*ours.MODELS, "torchvision.mobilenet_v3_small")
TOO_SLOW_HERE = ("torchvision.vit_b_16",)


def shape_of(name: str) -> tuple[int, int, int]:
    if name.startswith("digits"):
        return 1, 8, 8
    return (3, 224, 224) if "vit" in name else (3, 32, 32)


def network(name: str, shape: tuple[int, int, int]) -> nn.Module:
    torch.manual_seed(0)
    return without_chance(build(name, classes=CLASSES, in_shape=shape))


def batches(shape: tuple[int, int, int], number: int, like: Tensor) -> list[Batch]:
    generator = torch.Generator().manual_seed(1)
    inputs = torch.randn(number, BATCH, *shape, generator=generator)
    labels = torch.randint(0, CLASSES, (number, BATCH), generator=generator)
    return [Batch(each.to(like), label.to(like.device), None, 1) for each, label in zip(inputs, labels, strict=True)]


def losses(
    model: nn.Module,
    device: torch.device,
    shape: tuple[int, int, int],
    steps: int,
    used: Precision = "fp32",
    wrapped: Callable[[Step], Callable[[Batch], Tensor]] = lambda step: step,
) -> tuple[Tensor, nn.Module]:
    settings = study("train.optimizer=sgd", "train.lr=0.01", f"train.batch_size={BATCH}")
    mine = lay_out(copy.deepcopy(model).to(device), shape).train()
    step = wrapped(Step(mine, make_optimizer(mine, settings.train), settings, used))
    return torch.stack([step(each)[0] for each in batches(shape, steps, next(mine.parameters()))]).cpu(), mine


@pytest.mark.parametrize("name", NETWORKS)
def test_three_steps_are_the_same_on_both_and_bf16_comes_near(exact: None, name: str) -> None:
    """In double precision but for the loss: in a deep network the roundings of single precision grow to a hundredth in
    three steps."""
    shape = shape_of(name)
    model = network(name, shape)
    here, mine = losses(model.double(), CPU, shape, 3)
    there, its = losses(model, GPU, shape, 3)
    torch.testing.assert_close(there, here, rtol=1e-3, atol=1e-3)
    moved = [(a - b).norm() for a, b in zip(mine.parameters(), model.parameters(), strict=True)]
    apart = [(a.cpu() - b).norm() for a, b in zip(its.parameters(), mine.parameters(), strict=True)]
    print(f"{name}: weights {torch.stack(apart).norm() / torch.stack(moved).norm():.1e} apart")
    assert torch.stack(apart).norm() <= 0.02 * torch.stack(moved).norm()
    single, rough = (losses(model.float(), GPU, shape, 3, used)[0] for used in ("fp32", "bf16"))
    print(f"{name}: single precision {(single - here).abs().tolist()}, bf16 {(rough - here).abs().tolist()} off")
    torch.testing.assert_close(single[0], here[0], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(rough[0], here[0], rtol=0.05, atol=0.05)


@pytest.mark.parametrize("name", [*NETWORKS, *TOO_SLOW_HERE])
@pytest.mark.parametrize("used", ["fp32", "bf16"])
def test_recorded_steps_are_ordinary_ones(exact: None, name: str, used: Precision) -> None:
    shape = shape_of(name)
    model = network(name, shape)
    taken: list[RecordedStep] = []

    def recorded(step: Step) -> RecordedStep:
        taken.append(RecordedStep(step, CudaRecorder()))
        return taken[-1]

    ordinary, one = losses(model, GPU, shape, STEPS, used)
    replayed, other = losses(model, GPU, shape, STEPS, used, recorded)
    assert taken[0].given_up == ""
    assert taken[0].replayed == STEPS - WARM_STEPS - 1
    same = all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))
    print(f"{name} {used}: {'bit by bit' if same else 'not bit by bit'}, {(replayed - ordinary).abs().max():.1e}")
    torch.testing.assert_close(replayed, ordinary, rtol=2e-2, atol=2e-2)

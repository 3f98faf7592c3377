"""DOT: two momenta, one for each term of the loss."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from tune_kd import names
from tune_kd.errors import InputError
from tune_kd.space.load import load
from tune_kd.space.schema import Train
from tune_kd.training.images import Images
from tune_kd.training.optim import make_optimizer, step
from tune_kd.training.train import Job, train
from tune_kd.training.two_momenta import TwoMomenta

RATE, MOMENTUM, DECAY = 0.1, 0.8, 0.01
SGD = Train(optimizer="sgd", lr=RATE, momentum=MOMENTUM, weight_decay=DECAY)


def terms(weights: Tensor, turn: int) -> tuple[Tensor, Tensor]:
    target = torch.arange(weights.numel(), dtype=weights.dtype).view_as(weights) / 10
    return (weights - target).square().sum(), (weights * (turn + 1) - 1).abs().pow(1.5).sum()


def steps(gap: float, count: int = 5) -> Tensor:
    torch.manual_seed(0)
    model = nn.Linear(3, 2, bias=False)
    optimizer = make_optimizer(model, SGD, gap=gap)
    for turn in range(count):
        optimizer.zero_grad()
        if isinstance(optimizer, TwoMomenta):
            optimizer.backward(*terms(model.weight, turn))
        else:
            sum(terms(model.weight, turn)).backward()  # type: ignore[union-attr]
        step(optimizer)
    return model.weight.detach()


def test_without_a_gap_it_is_plain_momentum() -> None:
    assert not isinstance(make_optimizer(nn.Linear(2, 2), SGD), TwoMomenta)
    torch.testing.assert_close(steps(1e-12), steps(0.0))


def test_it_equals_its_formula_written_out_in_float64() -> None:
    gap = 0.15
    torch.manual_seed(0)
    weights = nn.Linear(3, 2, bias=False).weight.detach().double()
    own = taught = torch.zeros_like(weights)
    for turn in range(5):
        weights.requires_grad_()
        slopes = [torch.autograd.grad(term, weights)[0] for term in terms(weights, turn)]
        weights = weights.detach()
        own = (MOMENTUM - gap) * own + slopes[0] + DECAY * weights
        taught = (MOMENTUM + gap) * taught + slopes[1]
        weights = weights - RATE * (own + taught)
    torch.testing.assert_close(steps(gap).double(), weights, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(steps(gap), steps(0.0))


def test_what_one_term_alone_changes_has_one_momentum() -> None:
    """As its authors have it for the parts of a method."""

    def after(gap: float) -> list[Tensor]:
        torch.manual_seed(0)
        model = nn.ModuleList([nn.Linear(3, 2, bias=False) for _ in range(3)])
        optimizer = make_optimizer(model, SGD, gap=gap)
        first, second, both = (layer.weight for layer in model)
        for turn in range(5):
            optimizer.zero_grad()
            own = terms(first, turn)[0] + terms(both, turn)[0]
            taught = terms(second, turn)[1] + terms(both, turn)[1]
            if isinstance(optimizer, TwoMomenta):
                optimizer.backward(own, taught)
            else:
                (own + taught).backward()
            step(optimizer)
        return [first.detach(), second.detach(), both.detach()]

    plain, apart = after(0.0), after(0.15)
    torch.testing.assert_close(apart[:2], plain[:2])
    assert not torch.allclose(apart[2], plain[2])


TEXT = "study: s\ntrain: {optimizer: sgd, lr: 0.01, batch_size: 20}\nprecision: fp32\nbudget: {trials: 1, epochs: 3}\n"


@pytest.mark.parametrize("method", ["kd", "ctkd"])
def test_a_training_goes_on_as_if_never_interrupted_and_a_scratch_one_has_one_momentum(
    tmp_path: Path, method: str
) -> None:
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (80, 1, 8, 8), generator=generator).byte()
    data = Images(pixels, torch.arange(80) % 10, (0.5,), (0.3,), 10)
    logits = 3 * torch.randn(80, 10, generator=generator)

    def curve(name: str, until: int, reported: int, gap: float, taught: bool = True) -> list[float]:
        settings = load(TEXT, [f"kd.momentum_gap={gap}", f"kd.method={method}"])
        rows: list[dict[str, float]] = []
        job = Job(settings, torch.arange(60), torch.arange(60, 80), 1, until, reported)
        guide = (lambda index, view, pictures: logits[index]) if taught else None
        train(job, data, guide, rows.append, tmp_path / name)
        return [row[names.VAL_LOSS] for row in rows]

    whole = curve("whole.pt", 3, 0, 0.075)
    assert curve("parts.pt", 1, 0, 0.075) + curve("parts.pt", 3, 1, 0.075) == whole
    assert curve("plain.pt", 3, 0, 0.0) != whole
    assert curve("alone.pt", 3, 0, 0.075, taught=False) == curve("also.pt", 3, 0, 0.0, taught=False)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("kd: {momentum_gap: 0.05}", "is for train.optimizer sgd"),
        ("kd: {momentum_gap: 0.05}\ntrain: {optimizer: sgd, nesterov: true}", "without train.nesterov"),
        (
            "search: {kd.momentum_gap: {uniform: [0, 0.09]}, train.optimizer: {choice: [sgd, adam]}}",
            "is for train.opti",
        ),
        ("kd: {momentum_gap: 0.2}\ntrain: {optimizer: sgd}", "a momentum of 1.1"),
    ],
)
def test_what_does_not_fit_is_refused(text: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        load(f"study: s\n{text}\n")

import copy
import time

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, f1_score, log_loss, precision_score, recall_score
from torch import Tensor, nn

from tune_kd.models import build
from tune_kd.training.measures import evaluate, latency_ms, macs, parameter_count, size_mb

DIGITS = (1, 8, 8)


def some_logits(images: int, classes: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(images, classes, generator=generator), torch.randint(0, classes, (images,), generator=generator)


@settings(max_examples=60, deadline=None)
@given(images=st.integers(1, 40), classes=st.integers(2, 12), seed=st.integers(0, 10_000))
def test_scores_are_those_of_sklearn(images: int, classes: int, seed: int) -> None:
    logits, labels = some_logits(images, classes, seed)
    scores = evaluate(logits, labels, classes)
    truth, predicted = labels.numpy(), logits.argmax(1).numpy()
    probabilities = logits.double().softmax(1).numpy()
    assert scores.accuracy == pytest.approx(accuracy_score(truth, predicted))
    assert scores.nll == pytest.approx(log_loss(truth, probabilities, labels=range(classes)), rel=1e-5)
    present = sorted(set(truth.tolist()))
    assert scores.balanced_accuracy == pytest.approx(
        recall_score(truth, predicted, labels=present, average="macro", zero_division=0)
    )
    macro = [
        (scores.macro_precision, precision_score),
        (scores.macro_recall, recall_score),
        (scores.macro_f1, f1_score),
    ]
    for ours, theirs in (*macro, (scores.macro_f1, f1_score)):
        assert ours == pytest.approx(theirs(truth, predicted, average="macro", zero_division=0))


def test_accuracy_per_class_is_nan_without_images() -> None:
    logits = torch.eye(4)[[0, 0, 1, 2]]
    scores = evaluate(logits, torch.tensor([0, 1, 1, 2]), 4)
    np.testing.assert_allclose(scores.per_class, [1, 0.5, 1, np.nan])


def naive_ece(probabilities: Tensor, labels: Tensor) -> float:
    confidence, predicted = probabilities.double().max(1)
    total = 0.0
    for bin_ in range(15):
        inside = (confidence > bin_ / 15) & (confidence <= (bin_ + 1) / 15)
        if inside.any():
            accuracy = (predicted[inside] == labels[inside]).double().mean()
            total += float(inside.double().mean() * (accuracy - confidence[inside].mean()).abs())
    return total


@pytest.mark.parametrize("scale", [0.1, 1.0, 10.0])
def test_calibration_error_is_its_definition(scale: float) -> None:
    logits, labels = some_logits(500, 7)
    expected = naive_ece((logits * scale).softmax(1), labels)
    assert evaluate(logits * scale, labels, 7).ece == pytest.approx(expected, abs=1e-6)


def test_calibration_error_at_its_ends() -> None:
    sure = 1000 * torch.eye(3)
    assert evaluate(sure, torch.tensor([0, 1, 2]), 3).ece == pytest.approx(0)
    assert evaluate(sure, torch.tensor([1, 2, 0]), 3).ece == pytest.approx(1)


def test_logits_that_are_no_numbers_give_a_loss_that_is_none() -> None:
    scores = evaluate(torch.full((4, 3), torch.nan), torch.tensor([0, 1, 2, 0]), 3)
    assert np.isnan(scores.nll)


def test_size_counts_parameters_and_buffers() -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2))
    assert parameter_count(model) == 2 * 9 + 2 + 2 + 2
    assert size_mb(model) == pytest.approx((24 * 4 + 2 * 2 * 4 + 8) / 1e6)


def test_macs_of_layers_counted_by_hand() -> None:
    model = nn.Sequential(
        nn.Conv2d(4, 6, 3, stride=2, padding=1, groups=2), nn.ReLU(), nn.Flatten(), nn.Linear(6 * 4 * 4, 5)
    )
    assert macs(model, (4, 8, 8)) == (6 * 4 * 4) * (2 * 9) + 96 * 5


def test_macs_of_lightnn_are_those_known() -> None:
    conv = 16 * 32 * 32 * 27 + 16 * 16 * 16 * 144
    assert macs(build("lightnn", classes=10, in_shape=(3, 32, 32)), (3, 32, 32)) == conv + 1024 * 256 + 256 * 10


def test_macs_of_a_transformer_count_its_attention() -> None:
    from torchvision.models import VisionTransformer

    width, hidden, tokens, layers = 16, 40, 1 + 4 * 4, 2
    vit = VisionTransformer(
        image_size=16, patch_size=4, num_layers=layers, num_heads=4, hidden_dim=width, mlp_dim=hidden, num_classes=7
    )
    patches = 16 * width * (3 * 4 * 4)
    layer = tokens * (4 * width * width + 2 * width * hidden) + 2 * tokens * tokens * width
    assert macs(vit, (3, 16, 16)) == patches + layers * layer + width * 7
    assert torch.backends.mha.get_fastpath_enabled()


def test_macs_of_products_without_layers() -> None:
    class Products(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            rows = x[:, 0]
            return rows @ rows.transpose(1, 2) + torch.einsum("bij,bkj->bik", rows, rows)

    assert macs(Products(), (1, 5, 3)) == 2 * 5 * 5 * 3
    assert macs(nn.ConvTranspose2d(4, 6, 3, groups=2), (4, 5, 5)) == 4 * 25 * 3 * 9


def test_measuring_changes_nothing_in_the_model_or_around_it() -> None:
    model = build("digits_teacher", classes=10, in_shape=DIGITS).train()
    before, threads = copy.deepcopy(model.state_dict()), torch.get_num_threads()
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    macs(model, DIGITS)
    latency_ms(model, DIGITS, 2, repeats=3)
    assert model.training
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert not any(module._forward_hooks for module in model.modules())
    assert torch.get_num_threads() == threads
    assert torch.equal(torch.rand(2), expected)


class Slow(nn.Module):
    """Slow at first, and once in ten calls."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0
        self.threads = 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        if torch.get_num_threads() != 1:
            raise RuntimeError("more than one thread")
        time.sleep(0.03 if self.calls <= 3 or self.calls % 10 == 0 else 0.003)
        return x


def test_latency_is_median_and_tail_on_one_thread_without_the_first_calls() -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        median, tail = latency_ms(Slow(), DIGITS, 1, repeats=20)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)
    assert 3 <= median < 20
    assert tail >= 30


def test_threads_come_back_after_a_model_that_fails() -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with pytest.raises(RuntimeError):
            latency_ms(nn.Linear(3, 3), DIGITS, 1, repeats=3)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)

"""Every term against its formula written out naively in float64."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tune_kd.distill import distiller
from tune_kd.distill.distiller import Distiller, LossParts, loss_weights, temperature
from tune_kd.distill.logits import dist, dkd, kd, standardize
from tune_kd.distill.method import Given, Seen
from tune_kd.space.schema import Distillation

Array = npt.NDArray[np.float64]

STUDENT = torch.randn(16, 5, generator=torch.Generator().manual_seed(0)) * 3
TEACHER = torch.randn(16, 5, generator=torch.Generator().manual_seed(1)) * 4
LABELS = torch.randint(0, 5, (16,), generator=torch.Generator().manual_seed(2))
EXTREME = torch.tensor([[1e4, -1e4, 0.0], [-6e4, 6e4, 6e4], [0.0, 0.0, 0.0], [300.0, 299.0, -300.0]])

METHODS = ("kd", "dkd", "dist")


def softmax(logits: Tensor, temperature: float) -> Array:
    z = logits.double().numpy() / temperature
    return np.asarray(np.exp(z) / np.exp(z).sum(1, keepdims=True))


def naive_kl(p_t: Array, p_s: Array) -> Array:
    return np.asarray((p_t * np.log(p_t / p_s)).sum(1))


def naive_dkd(temperature: float, target_weight: float, rest_weight: float) -> float:
    p_s, p_t = softmax(STUDENT, temperature), softmax(TEACHER, temperature)
    total = 0.0
    for s, t, label in zip(p_s, p_t, LABELS.tolist(), strict=True):
        binary = t[label] * np.log(t[label] / s[label]) + (1 - t[label]) * np.log((1 - t[label]) / (1 - s[label]))
        rest_s, rest_t = np.delete(s, label) / (1 - s[label]), np.delete(t, label) / (1 - t[label])
        total += target_weight * binary + rest_weight * (rest_t * np.log(rest_t / rest_s)).sum()
    return float(temperature**2 * total / len(p_s))


def naive_dist(temperature: float, row_weight: float, column_weight: float) -> float:
    p_s, p_t = softmax(STUDENT, temperature), softmax(TEACHER, temperature)
    rows = np.mean([1 - np.corrcoef(s, t)[0, 1] for s, t in zip(p_s, p_t, strict=True)])
    columns = np.mean([1 - np.corrcoef(s, t)[0, 1] for s, t in zip(p_s.T, p_t.T, strict=True)])
    return float(row_weight * rows + column_weight * columns)


def loss_parts(
    student: Tensor, labels: Tensor, teacher: Tensor | None, settings: Distillation, smoothing: float, epoch: int
) -> LossParts:
    """The loss as a training makes it, which has a method where there is a teacher and it counts."""
    given = Given(temperature(settings), 9, student.shape[1], len(student), 0)
    taught = teacher is not None and settings.alpha > 0
    method = Distiller.of(settings, given) if taught else None
    seen = None if teacher is None else Seen(teacher.float())
    return distiller.loss_parts(method, Seen(student.float()), seen, labels, smoothing, epoch)


def parts_of(teacher: Tensor | None = TEACHER, *, smoothing: float = 0.0, epoch: int = 1, **chosen: Any) -> Any:
    return loss_parts(STUDENT, LABELS, teacher, Distillation(**chosen), smoothing, epoch)


@pytest.mark.parametrize("temperature", [1.0, 2.5, 10.0])
def test_kd_is_its_formula(temperature: float) -> None:
    expected = temperature**2 * naive_kl(softmax(TEACHER, temperature), softmax(STUDENT, temperature)).mean()
    assert float(kd(STUDENT, TEACHER, temperature)) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(("temperature", "weights"), [(1.0, (1.0, 8.0)), (4.0, (0.5, 2.0)), (2.0, (0.0, 1.0))])
def test_dkd_is_its_formula(temperature: float, weights: tuple[float, float]) -> None:
    actual = dkd(STUDENT, TEACHER, LABELS, temperature, *weights)
    assert float(actual) == pytest.approx(naive_dkd(temperature, *weights), rel=1e-5)


@pytest.mark.parametrize(("temperature", "weights"), [(1.0, (1.0, 1.0)), (4.0, (2.0, 0.5))])
def test_dist_is_its_formula(temperature: float, weights: tuple[float, float]) -> None:
    actual = dist(STUDENT, TEACHER, temperature, *weights)
    assert float(actual) == pytest.approx(naive_dist(temperature, *weights), rel=1e-4)


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_dkd_with_the_weights_that_undo_its_cut_is_kd(temperature: float) -> None:
    p_target = F.softmax(TEACHER / temperature, 1).gather(1, LABELS[:, None]).squeeze(1)
    joined = dkd(STUDENT, TEACHER, LABELS, temperature, 1.0, 1 - p_target)
    torch.testing.assert_close(joined, kd(STUDENT, TEACHER, temperature))


def test_dkd_with_two_classes_has_no_rest_to_compare() -> None:
    two = [logits[:, :2] for logits in (STUDENT, TEACHER)]
    labels = LABELS % 2
    torch.testing.assert_close(dkd(two[0], two[1], labels, 3.0, 1.0, 8.0), kd(two[0], two[1], 3.0))


def test_standardized_logits_have_mean_0_and_deviation_1() -> None:
    z = standardize(STUDENT)
    torch.testing.assert_close(z.mean(1), torch.zeros(16), atol=1e-6, rtol=0)
    torch.testing.assert_close(z.std(1), torch.ones(16))


@settings(max_examples=30, deadline=None)
@given(scale=st.floats(0.1, 50), shift=st.floats(-50, 50))
def test_standardization_hides_affine_changes(scale: float, shift: float) -> None:
    torch.testing.assert_close(standardize(STUDENT * scale + shift), standardize(STUDENT), atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("method", METHODS)
def test_standardize_is_applied_to_both_sides_before_any_method(method: str) -> None:
    expected = parts_of(method=method, standardize=True)
    moved = loss_parts(
        STUDENT * 2 - 3, LABELS, TEACHER * 7 + 1, Distillation(method=method, standardize=True), 0.0, 1  # type: ignore[arg-type]
    )  # fmt: skip
    torch.testing.assert_close(moved.kd, expected.kd, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("method", METHODS)
def test_a_teacher_agreed_with_costs_nothing(method: str) -> None:
    assert float(parts_of(STUDENT, method=method).kd) == pytest.approx(0, abs=1e-4)


def test_total_is_made_of_its_parts_and_alpha_weighs_the_teacher() -> None:
    parts = parts_of(alpha=0.7, temperature=4.0)
    ce = F.cross_entropy(STUDENT, LABELS)
    torch.testing.assert_close(parts.ce, ce)
    torch.testing.assert_close(parts.total, 0.3 * ce + 0.7 * kd(STUDENT, TEACHER, 4.0))
    assert loss_weights(Distillation(alpha=0.7), 1, taught=True) == pytest.approx((0.3, 0.7))


def test_the_methods_own_weights_are_used() -> None:
    parts = parts_of(method="dkd", temperature=2.0, target_weight=0.5, rest_weight=3.0)
    torch.testing.assert_close(parts.kd, dkd(STUDENT, TEACHER, LABELS, 2.0, 0.5, 3.0))
    parts = parts_of(method="dist", temperature=2.0, row_weight=0.5, column_weight=3.0)
    torch.testing.assert_close(parts.kd, dist(STUDENT, TEACHER, 2.0, 0.5, 3.0))


@pytest.mark.parametrize(
    ("teacher", "alpha"), [(None, 0.9), (TEACHER, 0.0), (torch.full_like(TEACHER, torch.nan), 0.0)]
)
def test_without_a_teacher_or_at_alpha_0_it_is_cross_entropy(teacher: Tensor | None, alpha: float) -> None:
    parts = parts_of(teacher, alpha=alpha, smoothing=0.1)
    torch.testing.assert_close(parts.total, F.cross_entropy(STUDENT, LABELS, label_smoothing=0.1))
    assert float(parts.kd) == 0.0
    assert loss_weights(Distillation(alpha=alpha), 1, teacher is not None) == (1.0, 0.0)


def test_warm_up_ramps_the_teachers_weight_only() -> None:
    settings = Distillation(alpha=0.8, warmup_epochs=4)
    weights = [loss_weights(settings, epoch, taught=True)[1] for epoch in (1, 2, 4, 9)]
    assert weights == pytest.approx([0.2, 0.4, 0.8, 0.8])
    first = parts_of(alpha=0.8, warmup_epochs=4, epoch=1)
    torch.testing.assert_close(first.total, 0.2 * first.ce + 0.2 * first.kd)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("standardized", [False, True])
@pytest.mark.parametrize("temperature", [0.5, 4.0])
def test_extreme_logits_keep_loss_and_gradient_finite(method: str, standardized: bool, temperature: float) -> None:
    chosen: dict[str, Any] = {"method": method, "standardize": standardized, "temperature": temperature}
    for student, teacher in ((EXTREME, -EXTREME), (EXTREME, EXTREME), (torch.zeros_like(EXTREME), EXTREME)):
        leaf = student.clone().requires_grad_()
        parts = loss_parts(leaf, torch.tensor([0, 1, 2, 0]), teacher, Distillation(**chosen), 0.1, 1)
        (gradient,) = torch.autograd.grad(parts.total, leaf)
        assert torch.isfinite(parts.total)
        assert torch.isfinite(gradient).all()


@pytest.mark.parametrize("method", METHODS)
def test_half_precision_logits_are_computed_in_float32(method: str) -> None:
    chosen = Distillation(method=method)  # type: ignore[arg-type]
    student, teacher = STUDENT.bfloat16(), TEACHER.half()
    expected = loss_parts(student.float(), LABELS, teacher.float(), chosen, 0.0, 1)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        parts = loss_parts(student, LABELS, teacher, chosen, 0.0, 1)
    assert parts.total.dtype == torch.float32
    torch.testing.assert_close(parts.total, expected.total)


@pytest.mark.parametrize("method", METHODS)
def test_only_the_total_carries_a_gradient(method: str) -> None:
    chosen = Distillation(method=method)  # type: ignore[arg-type]
    leaf, teacher = STUDENT.clone().requires_grad_(), TEACHER.clone()
    parts = loss_parts(leaf, LABELS, teacher, chosen, 0.0, 1)
    assert parts.total.requires_grad
    assert not parts.ce.requires_grad
    assert not parts.kd.requires_grad

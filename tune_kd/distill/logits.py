"""Distillation from logits: each term as a pure function, and the loss that a trial minimises.

Every function takes raw logits of shape (images, classes) and works in float32, so that mixed precision is safe.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from tune_kd.space.schema import Distillation


@dataclass(frozen=True)
class LossParts:
    """The total is the two others by their `loss_weights`. Only total carries gradients; kd includes T^2."""

    total: Tensor
    ce: Tensor
    kd: Tensor


def loss_parts(
    student_logits: Tensor,
    labels: Tensor,
    teacher_logits: Tensor | None,
    settings: Distillation,
    label_smoothing: float,
    epoch: int,
) -> LossParts:
    """The loss of one batch in one epoch (counted from 1); without a teacher, or at alpha 0, plain cross-entropy."""
    student = student_logits.float()
    ce = F.cross_entropy(student, labels, label_smoothing=label_smoothing)
    if teacher_logits is None or settings.alpha == 0:
        return LossParts(ce, ce.detach(), torch.zeros_like(ce))
    weight_ce, weight_kd = loss_weights(settings, epoch, taught=True)
    term = teacher_term(student, labels, teacher_logits.float(), settings)
    return LossParts(weight_ce * ce + weight_kd * term, ce.detach(), term.detach())


def loss_weights(settings: Distillation, epoch: int, taught: bool) -> tuple[float, float]:
    """Of cross-entropy and of the teacher's term. In a warm-up only the teacher's grows, as where this was published;
    cross-entropy keeps its own throughout."""
    if not taught or settings.alpha == 0:
        return 1.0, 0.0
    ramp = min(1.0, epoch / settings.warmup_epochs) if settings.warmup_epochs else 1.0
    return 1 - settings.alpha, settings.alpha * ramp


def teacher_term(student: Tensor, labels: Tensor, teacher: Tensor, settings: Distillation) -> Tensor:
    if settings.standardize:
        student, teacher = standardize(student), standardize(teacher)
    if settings.method == "dkd":
        return dkd(student, teacher, labels, settings.temperature, settings.target_weight, settings.rest_weight)
    if settings.method == "dist":
        return dist(student, teacher, settings.temperature, settings.row_weight, settings.column_weight)
    return kd(student, teacher, settings.temperature)


def standardize(logits: Tensor) -> Tensor:
    """Mean 0 and deviation 1 over the classes, so that a student need not copy its teacher's scale."""
    logits = logits.float()
    return (logits - logits.mean(1, keepdim=True)) / (logits.std(1, keepdim=True) + 1e-7)


def kd(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """T^2 * KL(teacher || student) of the softened distributions, batch mean."""
    log_s = F.log_softmax(student.float() / temperature, 1)
    log_t = F.log_softmax(teacher.float() / temperature, 1)
    return temperature**2 * _kl(log_s, log_t).mean()


def dkd(
    student: Tensor,
    teacher: Tensor,
    labels: Tensor,
    temperature: float,
    target_weight: float | Tensor,
    rest_weight: float | Tensor,
) -> Tensor:
    """KD cut in two: target against the rest, and the classes of the rest among themselves, each with its own weight.

    A weight is a number, or a tensor with one number an image.
    """
    log_s = F.log_softmax(student.float() / temperature, 1)
    log_t = F.log_softmax(teacher.float() / temperature, 1)
    binary_s, rest_s = _cut(log_s, labels)
    binary_t, rest_t = _cut(log_t, labels)
    parts = target_weight * _kl(binary_s, binary_t) + rest_weight * _kl(rest_s, rest_t)
    return temperature**2 * parts.mean()


def _cut(log_p: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """(target, rest) in logs, and the rest renormalised; without 1-p, whose log is lost when a model is sure."""
    target = labels[:, None]
    others = torch.arange(log_p.shape[1] - 1, device=log_p.device).expand(len(log_p), -1)
    rest = log_p.gather(1, others + (others >= target))
    mass = rest.logsumexp(1, keepdim=True)
    return torch.cat([log_p.gather(1, target), mass], 1), rest - mass


def dist(student: Tensor, teacher: Tensor, temperature: float, row_weight: float, column_weight: float) -> Tensor:
    """T^2 * (1 - correlation) of the batch's probabilities, over each image's classes and over each class's images."""
    p_s = F.softmax(student.float() / temperature, 1)
    p_t = F.softmax(teacher.float() / temperature, 1)
    rows, columns = _distance(p_s, p_t, 1), _distance(p_s, p_t, 0)
    return temperature**2 * (row_weight * rows + column_weight * columns)


def _distance(a: Tensor, b: Tensor, dim: int) -> Tensor:
    """1 - mean Pearson correlation along dim."""
    a = a - a.mean(dim, keepdim=True)
    b = b - b.mean(dim, keepdim=True)
    return 1 - F.cosine_similarity(a, b, dim).mean()


def _kl(log_s: Tensor, log_t: Tensor) -> Tensor:
    """KL(t || s), one number an image."""
    return (log_t.exp() * (log_t - log_s)).sum(1)

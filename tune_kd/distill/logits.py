"""Methods that compare logits as they are: each term as a pure function, and the method that uses it.

Every function takes raw logits of shape (images, classes) and works in float32, so that mixed precision is safe.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from tune_kd.distill.method import Given, Method, Seen


class KD(Method):
    soft = True

    def term(self, student: Seen, teacher: Seen, labels: Tensor, epoch: int) -> dict[str, Tensor]:
        return {"kd": kd(student.logits, teacher.logits, self.temperature(epoch))}


class DKD(Method):
    soft = True
    one_label = True

    def __init__(self, given: Given, target_weight: float, rest_weight: float) -> None:
        super().__init__(given)
        self.weights = target_weight, rest_weight

    def term(self, student: Seen, teacher: Seen, labels: Tensor, epoch: int) -> dict[str, Tensor]:
        return {"dkd": dkd(student.logits, teacher.logits, labels, self.temperature(epoch), *self.weights)}


class DIST(Method):
    soft = True

    def __init__(self, given: Given, row_weight: float, column_weight: float) -> None:
        super().__init__(given)
        self.weights = row_weight, column_weight

    def term(self, student: Seen, teacher: Seen, labels: Tensor, epoch: int) -> dict[str, Tensor]:
        return {"dist": dist(student.logits, teacher.logits, self.temperature(epoch), *self.weights)}


def standardize(logits: Tensor) -> Tensor:
    """Mean 0 and deviation 1 over the classes, so that a student need not copy its teacher's scale."""
    logits = logits.float()
    return (logits - logits.mean(1, keepdim=True)) / (logits.std(1, keepdim=True) + 1e-7)


def kd(student: Tensor, teacher: Tensor, temperature: float | Tensor) -> Tensor:
    """T^2 * KL(teacher || student) of the softened distributions, batch mean."""
    log_s = F.log_softmax(student.float() / temperature, 1)
    log_t = F.log_softmax(teacher.float() / temperature, 1)
    return temperature**2 * kl(log_s, log_t).mean()


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
    binary_s, rest_s = cut(log_s, labels)
    binary_t, rest_t = cut(log_t, labels)
    parts = target_weight * kl(binary_s, binary_t) + rest_weight * kl(rest_s, rest_t)
    return temperature**2 * parts.mean()


def cut(log_p: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """(target, rest) in logs, and the rest renormalised; without 1-p, whose log is lost when a model is sure."""
    target = labels[:, None]
    others = torch.arange(log_p.shape[1] - 1, device=log_p.device).expand(len(log_p), -1)
    rest = log_p.gather(1, others + (others >= target))
    mass = rest.logsumexp(1, keepdim=True)
    return torch.cat([log_p.gather(1, target), mass], 1), rest - mass


def dist(student: Tensor, teacher: Tensor, temperature: float, row_weight: float, column_weight: float) -> Tensor:
    """1 - correlation of the batch's probabilities, over each image's classes and over each class's images.

    Its authors' code multiplies it by T^2, as KL needs it. A correlation's slopes do not shrink with T, so that would
    make T a second weight, sixteenfold from 1 to 4.
    """
    p_s = F.softmax(student.float() / temperature, 1)
    p_t = F.softmax(teacher.float() / temperature, 1)
    rows, columns = _distance(p_s, p_t, 1), _distance(p_s, p_t, 0)
    return row_weight * rows + column_weight * columns


def _distance(a: Tensor, b: Tensor, dim: int) -> Tensor:
    """1 - mean Pearson correlation along dim."""
    a = a - a.mean(dim, keepdim=True)
    b = b - b.mean(dim, keepdim=True)
    return 1 - F.cosine_similarity(a, b, dim).mean()


def kl(log_s: Tensor, log_t: Tensor) -> Tensor:
    """KL(t || s), one number an image."""
    return (log_t.exp() * (log_t - log_s)).sum(1)

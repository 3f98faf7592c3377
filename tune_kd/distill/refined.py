"""RLD: what a teacher is wrong about is not passed on."""

import torch.nn.functional as F
from torch import Tensor

from tune_kd.distill.logits import cut, kl
from tune_kd.distill.method import Given, Method, Seen

HIDDEN = -1e9
"""In place of a logit that is left out: its probability is 0, and no gradient comes from it."""


class RLD(Method):
    """How sure to be, and the classes that the teacher puts below the label, each with its own weight."""

    soft = True
    one_label = True

    def __init__(self, given: Given, rld_sure: float, rld_rest: float) -> None:
        super().__init__(given)
        self.weights = rld_sure, rld_rest

    def term(self, student: Seen, teacher: Seen, labels: Tensor, epoch: int) -> dict[str, Tensor]:
        temperature = self.temperature(epoch)
        sure, rest = confidence(student, teacher, labels, temperature), masked(student, teacher, labels, temperature)
        return {"sure": self.weights[0] * sure, "rest": self.weights[1] * rest}


def confidence(student: Seen, teacher: Seen, labels: Tensor, temperature: float) -> Tensor:
    """T^2 * KL of (label, rest) from (the class that the teacher is surest of, rest)."""
    log_s = F.log_softmax(student.logits / temperature, 1)
    log_t = F.log_softmax(teacher.logits / temperature, 1)
    own, _ = cut(log_s, labels)
    wanted, _ = cut(log_t, log_t.argmax(1))
    return temperature**2 * kl(own, wanted).mean()


def masked(student: Seen, teacher: Seen, labels: Tensor, temperature: float) -> Tensor:
    """T^2 * KL over the classes that the teacher puts below the label, renormalised; none where there are none."""
    hidden = teacher.logits >= teacher.logits.gather(1, labels[:, None])
    log_s, log_t = (
        F.log_softmax((logits / temperature).masked_fill(hidden, HIDDEN), 1)
        for logits in (student.logits, teacher.logits)
    )
    return temperature**2 * kl(log_s, log_t).mean()

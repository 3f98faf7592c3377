"""Methods that ask what a temperature is for: each image's own, or the teacher's alone."""

import torch.nn.functional as F
from torch import Tensor

from tune_kd.distill.logits import kl
from tune_kd.distill.method import Given, Method, Seen


class NormKD(Method):
    """T counts in deviations of an image's logits, so that each network and image has a temperature of its own."""

    soft = True

    def term(self, student: Seen, teacher: Seen, labels: Tensor, epoch: int) -> dict[str, Tensor]:
        t_s, t_t = (self.temperature(epoch) * _deviation(seen.logits) for seen in (student, teacher))
        log_s, log_t = F.log_softmax(student.logits / t_s, 1), F.log_softmax(teacher.logits / t_t, 1)
        return {"normkd": (t_t.squeeze(1) ** 2 * kl(log_s, log_t)).mean()}


def _deviation(logits: Tensor) -> Tensor:
    return logits.std(1, keepdim=True) + 1e-7


class TTM(Method):
    """The teacher is softened and the student is not, so T^2 has no place here. Its authors' gamma is 1/T."""

    soft = True

    def __init__(self, given: Given) -> None:
        super().__init__(given)

    def term(self, student: Seen, teacher: Seen, labels: Tensor, epoch: int) -> dict[str, Tensor]:
        log_s = F.log_softmax(student.logits, 1)
        log_t = F.log_softmax(teacher.logits / self.temperature(epoch), 1)
        return {"ttm": (self._weights(teacher, epoch) * kl(log_s, log_t)).mean()}

    def _weights(self, teacher: Seen, epoch: int) -> Tensor:
        return teacher.logits.new_ones(len(teacher.logits))


class WTTM(TTM):
    """TTM in which images count the more, the less sure the teacher is: the sum of its probabilities to the 1/T."""

    def _weights(self, teacher: Seen, epoch: int) -> Tensor:
        return (F.log_softmax(teacher.logits, 1) / self.temperature(epoch)).logsumexp(1).exp()

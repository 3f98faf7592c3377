"""MLKD: the same logits compared image by image, image with image, and class with class, at several temperatures."""

import torch.nn.functional as F
from torch import Tensor

from tune_kd.distill.logits import kd
from tune_kd.distill.method import Given, Method, Seen

STEPS = (0.5, 0.75, 1.0, 1.25, 1.5)
"""Its authors' temperatures of 2, 3, 4, 5 and 6, as multiples of the middle one."""


class MLKD(Method):
    """Sums over the temperatures; each level has a weight of its own."""

    soft = True

    def __init__(self, given: Given, mlkd_instance: float, mlkd_batch: float, mlkd_class: float) -> None:
        super().__init__(given)
        self.weights = mlkd_instance, mlkd_batch, mlkd_class

    def term(self, student: Seen, teacher: Seen, labels: Tensor, epoch: int) -> dict[str, Tensor]:
        zero = student.logits.new_zeros(())
        told = {"instance": zero, "batch": zero, "class": zero}
        for step in STEPS:
            warmth = step * self.temperature(epoch)
            ours, theirs = (F.softmax(seen.logits / warmth, 1) for seen in (student, teacher))
            told["instance"] = told["instance"] + kd(student.logits, teacher.logits, warmth)
            told["batch"] = told["batch"] + alike(ours, theirs)
            told["class"] = told["class"] + alike(ours.T, theirs.T)
        return {name: weight * value for weight, (name, value) in zip(self.weights, told.items(), strict=True)}


def alike(ours: Tensor, theirs: Tensor) -> Tensor:
    """How far the products of all pairs of rows are apart: the sum of squares, by the number of rows."""
    return (ours @ ours.T - theirs @ theirs.T).square().sum() / len(ours)

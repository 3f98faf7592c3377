"""CTKD: a temperature that is learned against the student, so that what it has to imitate becomes harder."""

import math
from typing import Any

import torch
from torch import Tensor, nn

from tune_kd.distill.logits import kd
from tune_kd.distill.method import Given, Method, Seen


class CTKD(Method):
    """KD whose temperature goes up the loss while the student goes down it; how fast grows over the first epochs."""

    soft = True
    own_temperature = True

    def __init__(self, given: Given, ctkd_lowest: float, ctkd_span: float, ctkd_epochs: int) -> None:
        super().__init__(given)
        self.lowest, self.span, self.epochs = ctkd_lowest, ctkd_span, ctkd_epochs
        self.place = nn.Parameter(torch.ones(()))
        self.steady = ctkd_epochs

    def term(self, student: Seen, teacher: Seen, labels: Tensor, epoch: int) -> dict[str, Tensor]:
        pace = (1 - math.cos(math.pi * min(1.0, epoch / self.epochs))) / 2
        place: Tensor = Against.apply(self.place, pace)
        return {"ctkd": kd(student.logits, teacher.logits, self.lowest + self.span * torch.sigmoid(place))}


class Against(torch.autograd.Function):
    """The same number, whose gradient is turned round."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, pace: float) -> Tensor:
        ctx.pace = pace
        return value.view_as(value)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return -ctx.pace * gradient, None

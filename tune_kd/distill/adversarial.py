"""Adversarial: a small network learns to tell the teacher's answers from the student's, and the student deceives it."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tune_kd.distill.method import Given, Method, Seen

SLOPE = 0.2
"""Of what is below 0, in the hidden layer."""
DECAY, DECAY_SQUARES, EPSILON = 0.5, 0.999, 1e-8
"""Of Adam, as is usual for discriminators."""


class Adversarial(Method):
    """The discriminator has an optimizer and steps of its own, since the student's changes with whatever is searched.
    It learns before each of the student's steps, and its state is saved along as any weights are."""

    soft = True
    weights: Tensor
    moments: Tensor
    squares: Tensor
    count: Tensor

    def __init__(self, given: Given, adversarial_lr: float, adversarial_steps: int, adversarial_hidden: int) -> None:
        super().__init__(given)
        self.rate, self.steps = adversarial_lr, adversarial_steps
        first, second = nn.Linear(given.classes, adversarial_hidden), nn.Linear(adversarial_hidden, 1)
        # All its weights as one, in a buffer: what is a parameter is the student's optimizer's to change.
        flat = torch.cat([each.detach().flatten() for each in (*first.parameters(), *second.parameters())])
        self.shapes = [each.shape for each in (*first.parameters(), *second.parameters())]
        self.register_buffer("weights", flat)
        self.register_buffer("moments", torch.zeros_like(flat))
        self.register_buffer("squares", torch.zeros_like(flat))
        self.register_buffer("count", torch.zeros(()))

    def term(self, student: Seen, teacher: Seen, labels: Tensor, epoch: int) -> dict[str, Tensor]:
        warmth = self.temperature(epoch)
        ours, theirs = (F.softmax(seen.logits / warmth, 1) for seen in (student, teacher))
        for _ in range(self.steps):
            self._learn(ours.detach(), theirs)
        return {"adversarial": F.softplus(-self.judge(ours)[1]).mean()}

    def judge(self, answers: Tensor) -> tuple[Tensor, Tensor]:
        """What its hidden layer makes of each, and how surely it is the teacher's, as a logit."""
        first, bias, second, last = self._layers()
        hidden = F.leaky_relu(F.linear(answers, first, bias), SLOPE)
        return hidden, F.linear(hidden, second, last).squeeze(1)

    def _layers(self) -> list[Tensor]:
        parts = self.weights.split([shape.numel() for shape in self.shapes])
        return [part.view(shape) for part, shape in zip(parts, self.shapes, strict=True)]

    @torch.no_grad()
    def _learn(self, ours: Tensor, theirs: Tensor) -> None:
        """A step of Adam. The slope of two layers is written out, as another one is being taken through the student."""
        answers, real = torch.cat([theirs, ours]), torch.arange(2 * len(ours), device=ours.device) < len(ours)
        hidden, said = self.judge(answers)
        wrong = (torch.sigmoid(said) - real.float()) / len(ours)
        below = wrong[:, None] * self._layers()[2] * torch.where(hidden > 0, 1.0, SLOPE)
        slope = torch.cat([(below.T @ answers).flatten(), below.sum(0), wrong @ hidden, wrong.sum()[None]])
        self.count += 1
        self.moments.lerp_(slope, 1 - DECAY)
        self.squares.lerp_(slope.square(), 1 - DECAY_SQUARES)
        mean, square = self.moments / (1 - DECAY**self.count), self.squares / (1 - DECAY_SQUARES**self.count)
        self.weights -= self.rate * mean / (square.sqrt() + EPSILON)

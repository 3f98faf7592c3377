"""SimKD: the student learns the teacher's last map; the teacher's own classifier does the rest, and is kept."""

import copy

import torch.nn.functional as F
from torch import Tensor, nn

from tune_kd.distill.method import Given, Method, Network, Seen, Taps
from tune_kd.distill.pairs import pairs
from tune_kd.models.cutting import after, until


class Reused(nn.Module):
    """The student up to its last map, a projector to the teacher's, and the teacher's classifier as it is."""

    def __init__(self, student: Network, teacher: Network, pair: tuple[str, str], factor: int) -> None:
        super().__init__()
        self.pair = pair
        (own, _, _), (other, height, width) = student.shapes[pair[0]], teacher.shapes[pair[1]]
        self.size = height, width
        self.trunk = until(copy.deepcopy(student.module), pair[0])
        middle = max(1, other // factor)
        self.projector = nn.Sequential(*_layer(own, middle, 1), *_layer(middle, middle, 3), *_layer(middle, other, 1))
        self.classifier = after(copy.deepcopy(teacher.module), pair[1]).requires_grad_(False)

    def forward(self, pictures: Tensor) -> Tensor:
        maps = F.adaptive_avg_pool2d(self.trunk(pictures), self.size)
        logits: Tensor = self.classifier(self.projector(maps))
        return logits

    def train(self, mode: bool = True) -> "Reused":
        """The classifier stays as it is used."""
        super().train(mode)
        self.classifier.eval()
        return self


def _layer(own: int, other: int, side: int) -> list[nn.Module]:
    return [nn.Conv2d(own, other, side, padding=side // 2, bias=False), nn.BatchNorm2d(other), nn.ReLU()]


class SimKD(Method):
    """Mean squares between the projected map and the teacher's."""

    features = True
    rebuilds = True

    def __init__(self, given: Given, simkd_factor: int) -> None:
        super().__init__(given)
        network = given.networks()[0].module
        assert isinstance(network, Reused)
        self.pairs = (network.pair,)
        self.taps = Taps(("projector",), (network.pair[1],))

    @classmethod
    def rebuilt(cls, student: Network, teacher: Network, layers: str, simkd_factor: int) -> nn.Module:
        return Reused(student, teacher, pairs(student, teacher, layers, "last")[-1], simkd_factor)

    def term(self, student: Seen, teacher: Seen, labels: Tensor, epoch: int) -> dict[str, Tensor]:
        return {"simkd": F.mse_loss(student.maps["projector"], teacher.maps[self.pairs[0][1]])}

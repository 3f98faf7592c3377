"""Methods that compare feature maps of pairs of layers."""

from collections.abc import Iterator
from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor, nn

from tune_kd.distill.method import Given, Method, Seen, Taps
from tune_kd.distill.pairs import pairs


class OnMaps(Method):
    """Has the maps of its pairs at hand. The teacher runs beside the student for it."""

    features = True
    where: ClassVar[str] = "all"
    """Which of the pairs that were found its authors compare."""

    def __init__(self, given: Given) -> None:
        super().__init__(given)
        self.pairs = pairs(*given.networks(), given.layers, self.where)
        own, others = zip(*self.pairs, strict=True)
        self.taps = Taps(own, others)

    def channels(self, pair: int) -> tuple[int, int]:
        (own, other), (student, teacher) = self.pairs[pair], self.given.networks()
        return student.shapes[own][0], teacher.shapes[other][0]

    def both(self, student: Seen, teacher: Seen) -> Iterator[tuple[Tensor, Tensor]]:
        """The maps of each pair, the larger averaged down to the smaller."""
        for own, other in self.pairs:
            ours, theirs = student.maps[own], teacher.maps[other]
            size = min(ours.shape[2], theirs.shape[2]), min(ours.shape[3], theirs.shape[3])
            yield F.adaptive_avg_pool2d(ours, size), F.adaptive_avg_pool2d(theirs, size)


class FitNet(OnMaps):
    """A regressor from the student's map to the teacher's, trained along and thrown away."""

    where = "middle"

    def __init__(self, given: Given) -> None:
        super().__init__(given)
        own = [self.channels(number) for number in range(len(self.pairs))]
        self.regressors = nn.ModuleList(nn.Conv2d(ours, theirs, 1) for ours, theirs in own)

    def term(self, student: Seen, teacher: Seen, labels: Tensor, epoch: int) -> dict[str, Tensor]:
        maps = zip(self.regressors, self.both(student, teacher), strict=True)
        apart = [F.mse_loss(own(ours), theirs) for own, (ours, theirs) in maps]
        return {"fitnet": sum(apart, student.logits.new_zeros(()))}


class AttentionTransfer(OnMaps):
    """Where a network looks: the mean square over the channels, normalised over the picture."""

    def term(self, student: Seen, teacher: Seen, labels: Tensor, epoch: int) -> dict[str, Tensor]:
        apart = [F.mse_loss(attention(ours), attention(theirs)) for ours, theirs in self.both(student, teacher)]
        return {"at": sum(apart, student.logits.new_zeros(()))}


def attention(maps: Tensor) -> Tensor:
    return F.normalize(maps.square().mean(1).flatten(1), dim=1)

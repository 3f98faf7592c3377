"""ReviewKD: what the student knows deep down is reviewed, level by level, beside what it knew before."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tune_kd.distill.features import OnMaps
from tune_kd.distill.method import Given, Seen

WIDEST = 512
"""Channels in which levels are fused, at most; else as many as the student's deepest map has."""

GRIDS = (4, 2, 1)
"""Sides to which maps are averaged for coarser looks at them."""


class ReviewKD(OnMaps):
    """From the deepest pair to the shallowest: the student's map is fused with all deeper ones, and compared."""

    def __init__(self, given: Given) -> None:
        super().__init__(given)
        sizes = [self.channels(number) for number in reversed(range(len(self.pairs)))]
        width = min(WIDEST, sizes[0][0])
        self.levels = nn.ModuleList(
            Fusion(own, width, other, deeper=number > 0) for number, (own, other) in enumerate(sizes)
        )

    def term(self, student: Seen, teacher: Seen, labels: Tensor, epoch: int) -> dict[str, Tensor]:
        told, deeper = student.logits.new_zeros(()), None
        maps = reversed(list(self.both(student, teacher)))
        for fusion, (ours, theirs) in zip(self.levels, maps, strict=True):
            found, deeper = fusion(ours, deeper)
            told = told + at_several_sizes(found, theirs)
        return {"reviewkd": told}


class Fusion(nn.Module):
    """One level: attention says, place by place, how much its own map counts and how much what comes from below."""

    def __init__(self, own: int, width: int, other: int, deeper: bool) -> None:
        super().__init__()
        self.into = nn.Sequential(nn.Conv2d(own, width, 1, bias=False), nn.BatchNorm2d(width))
        self.attention = nn.Conv2d(2 * width, 2, 1) if deeper else None
        self.out = nn.Sequential(nn.Conv2d(width, other, 3, padding=1, bias=False), nn.BatchNorm2d(other))

    def forward(self, own: Tensor, deeper: Tensor | None) -> tuple[Tensor, Tensor]:
        """What is compared with the teacher's map, and what goes up to the next level."""
        here = self.into(own)
        if self.attention is not None and deeper is not None:
            below = F.interpolate(deeper, here.shape[2:], mode="nearest")
            shares = torch.sigmoid(self.attention(torch.cat([here, below], 1)))
            here = here * shares[:, :1] + below * shares[:, 1:]
        return self.out(here), here


def at_several_sizes(ours: Tensor, theirs: Tensor) -> Tensor:
    """The hierarchical context loss: mean squares of the maps and of their averages over ever coarser grids, each
    counting half of the one before; divided by what all count."""
    told, weight, total = F.mse_loss(ours, theirs), 1.0, 1.0
    for side in GRIDS:
        if side < ours.shape[2]:
            weight /= 2
            total += weight
            mine, wanted = (F.adaptive_avg_pool2d(each, side) for each in (ours, theirs))
            told = told + weight * F.mse_loss(mine, wanted)
    return told / total

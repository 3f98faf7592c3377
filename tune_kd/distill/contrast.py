"""CRD: an image's student and teacher belong together, and those of different images do not."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tune_kd.distill.features import OnMaps
from tune_kd.distill.method import Given, Seen

WIDTH = 128
MOMENTUM = 0.5
"""How much of what a bank remembers of an image stays when the image comes by."""


class CRD(OnMaps):
    """Both networks' pooled maps are embedded, and remembered image by image. What was remembered of other images,
    drawn anew in each step for the whole batch, is what a pair has to stand out from."""

    where = "last"
    one_label = True
    banks: Tensor
    seen: Tensor
    scales: Tensor

    def __init__(self, given: Given, crd_temperature: float, crd_negatives: int) -> None:
        super().__init__(given)
        self.sharpness = crd_temperature
        self.negatives = min(crd_negatives, given.images)
        own, other = zip(*(self.channels(number) for number in range(len(self.pairs))), strict=True)
        self.embed = nn.ModuleList([nn.Linear(sum(own), WIDTH), nn.Linear(sum(other), WIDTH)])
        reach = (3 / WIDTH) ** 0.5
        self.register_buffer("banks", torch.empty(2, given.images, WIDTH).uniform_(-reach, reach))
        self.register_buffer("seen", torch.zeros(given.images))
        self.register_buffer("scales", torch.zeros(2))

    def term(self, student: Seen, teacher: Seen, labels: Tensor, epoch: int) -> dict[str, Tensor]:
        assert student.index is not None
        index = student.index
        sides = zip(*([each.mean((2, 3)) for each in maps] for maps in self.both(student, teacher)), strict=True)
        points = [F.normalize(embed(torch.cat(each, 1)), dim=1) for embed, each in zip(self.embed, sides, strict=True)]
        self.seen[index] = 1
        others = torch.multinomial(self.seen, self.negatives, replacement=True)
        # Each network's points against what is remembered of the other.
        told = [self._apart(side, point, index, others) for side, point in enumerate(points)]
        self._remember(points, index)
        return {"crd": told[0] + told[1]}

    def _apart(self, side: int, points: Tensor, index: Tensor, others: Tensor) -> Tensor:
        """Noise-contrastive: how likely each pair is a true one, and each of the others is not."""
        bank = self.banks[1 - side]
        true = (points * bank[index]).sum(1, keepdim=True)
        false = points @ bank[others].T
        likely = torch.exp(torch.cat([true, false], 1) / self.sharpness)
        with torch.no_grad():  # its constant is that of the first batch
            self.scales[side] = torch.where(self.scales[side] > 0, self.scales[side], likely.mean())
        likely = likely / self.scales[side].clone()
        count = float(self.negatives)
        right = torch.log(likely[:, 0] / (likely[:, 0] + count))
        wrong = torch.log(count / (likely[:, 1:] + count))
        return -(right.sum() + wrong.sum()) / len(points)

    @torch.no_grad()
    def _remember(self, points: list[Tensor], index: Tensor) -> None:
        for bank, each in zip(self.banks, points, strict=True):
            bank[index] = F.normalize(MOMENTUM * bank[index] + (1 - MOMENTUM) * each.detach(), dim=1)

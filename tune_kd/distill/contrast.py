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
    """Both networks' pooled maps are embedded, and remembered image by image. What was remembered of images of other
    classes is what a pair has to stand out from. They are drawn anew in each step, for the whole batch at once: each
    image has those of its own class left out, so what it expects is what draws of its own would give."""

    where = "last"
    one_label = True
    banks: Tensor
    kinds: Tensor
    pool: Tensor
    met: Tensor
    scales: Tensor

    def __init__(self, given: Given, crd_temperature: float, crd_negatives: int) -> None:
        super().__init__(given)
        self.sharpness = crd_temperature
        self.negatives = min(crd_negatives, given.images)
        own, other = zip(*(self.channels(number) for number in range(len(self.pairs))), strict=True)
        self.embed = nn.ModuleList([nn.Linear(sum(own), WIDTH), nn.Linear(sum(other), WIDTH)])
        reach = (3 / WIDTH) ** 0.5
        self.register_buffer("banks", torch.empty(2, given.images, WIDTH).uniform_(-reach, reach))
        # Which images there are to draw from, in the order in which they came by first. The last place is for nothing.
        self.register_buffer("pool", torch.zeros(given.images + 1, dtype=torch.long))
        self.register_buffer("met", torch.zeros((), dtype=torch.long))
        self.register_buffer("kinds", torch.full((given.images,), -1))
        self.register_buffer("scales", torch.zeros(2))

    def term(self, student: Seen, teacher: Seen, labels: Tensor, epoch: int) -> dict[str, Tensor]:
        assert student.index is not None
        index = student.index
        sides = zip(*([each.mean((2, 3)) for each in maps] for maps in self.both(student, teacher)), strict=True)
        points = [F.normalize(embed(torch.cat(each, 1)), dim=1) for embed, each in zip(self.embed, sides, strict=True)]
        self._meet(index, labels)
        drawn = (torch.rand(self.negatives, device=index.device) * self.met).long().clamp(max=self.met - 1)
        others = self.pool[drawn]
        # Each network's points against what is remembered of the other.
        told = [self._apart(side, point, index, others, labels) for side, point in enumerate(points)]
        self._remember(points, index)
        return {"crd": told[0] + told[1]}

    @torch.no_grad()
    def _meet(self, index: Tensor, labels: Tensor) -> None:
        """Enters the images that were never in a batch, each once, without asking the device how many those are."""
        again = (index[:, None] == index[None]).tril(-1).any(1)
        new = (self.kinds[index] < 0) & ~again
        self.pool[torch.where(new, self.met + new.cumsum(0) - 1, len(self.pool) - 1)] = index
        self.kinds[index] = labels
        self.met += new.sum()

    def _apart(self, side: int, points: Tensor, index: Tensor, others: Tensor, labels: Tensor) -> Tensor:
        """Noise-contrastive: how likely each pair is a true one, and each of the others is not."""
        bank = self.banks[1 - side]
        true = torch.exp((points * bank[index]).sum(1) / self.sharpness)
        false = torch.exp(points @ bank[others].T / self.sharpness)
        counted = self.kinds[others] != labels[:, None]
        count = counted.sum(1).clamp(min=1)
        with torch.no_grad():  # its constant is that of the first batch
            mean = (true.sum() + (false * counted).sum()) / (len(true) + counted.sum())
            self.scales[side] = torch.where(self.scales[side] > 0, self.scales[side], mean)
        even = count * self.scales[side].clone()
        wrong = torch.log1p(false / even[:, None]) * counted
        return (torch.log1p(even / true).sum() + wrong.sum()) / len(points)

    @torch.no_grad()
    def _remember(self, points: list[Tensor], index: Tensor) -> None:
        for bank, each in zip(self.banks, points, strict=True):
            bank[index] = F.normalize(MOMENTUM * bank[index] + (1 - MOMENTUM) * each.detach(), dim=1)

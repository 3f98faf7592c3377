"""A control: the study's own teachers, each asked of another image than the one that the student sees.

They are as sure as ever, give each class as often, and of this image know nothing: a teacher with random labels that
needs no training, and whose logits are those in the cache.
"""

import torch
from torch import Tensor

from tune_kd.data.views import Views
from tune_kd.seeds import derive
from tune_kd.teacher.ensemble import Guides
from tune_kd.teacher.guide import Guide


class Shuffled:
    """`train` numbers the student's images: each has the answer of another of them, always the same one."""

    def __init__(self, guide: Guide | Guides, images: Tensor, views: Views, train: Tensor, seed: int) -> None:
        self._guide = guide
        self._images = images
        self._views = views
        generator = torch.Generator().manual_seed(derive(seed, "another image"))
        around = train[torch.randperm(len(train), generator=generator)]
        self._other = torch.arange(len(images))
        self._other[around] = around.roll(1)  # one large round, so that nobody has their own

    def __call__(self, index: Tensor, view: Tensor, pictures: Tensor) -> Tensor:
        other = self._other[index]
        here = other.to(self._images.device)
        return self._guide(other, view, self._views.render(self._images[here], here, view.to(self._images.device)))

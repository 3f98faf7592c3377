"""The teacher's network beside a student in training, for methods to which its logits are not enough."""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from tune_kd.distill import taps
from tune_kd.models.layout import ImageShape, layout_of
from tune_kd.teacher.making import Teacher
from tune_kd.training import precision
from tune_kd.training.precision import Precision


@dataclass(frozen=True)
class Online:
    """Frozen, and run in the precision in which it fills the cache."""

    module: nn.Module
    teacher: Teacher
    used: Precision

    @property
    def shape(self) -> ImageShape:
        return self.teacher.shape

    @torch.no_grad()
    def __call__(self, pictures: Tensor, paths: Iterable[str]) -> tuple[Tensor, dict[str, Tensor]]:
        ready = self.teacher.ready(pictures, layout_of(self.module))
        with precision.autocast(pictures.device, self.used):
            logits, maps = taps.run(self.module, ready, paths)
        return logits.float(), {path: each.float() for path, each in maps.items()}

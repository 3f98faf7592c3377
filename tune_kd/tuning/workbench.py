"""What a worker process keeps between the trials that it trains one after the other."""

import functools
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import ray
import torch
from torch import Tensor

from tune_kd.data.splits import Splits
from tune_kd.space.study import Study
from tune_kd.teacher import Teacher
from tune_kd.training import Images, predict
from tune_kd.tuning.resources import memory_fraction


@dataclass(frozen=True)
class Material:
    """What every trial of a search shares, brought to each node once through Ray's object store."""

    study: Study
    splits: Splits
    teacher: Teacher | None
    mean: tuple[float, ...]
    std: tuple[float, ...]


@dataclass(frozen=True)
class Workbench:
    """What a worker keeps between the trials that it trains one after the other."""

    material: Material
    images: Images

    @functools.cached_property
    def teacher_on_test(self) -> Tensor | None:
        """The teacher's logits for the test images, run once in a worker."""
        teacher = self.material.teacher
        if teacher is None:
            return None
        test = as_tensor(self.material.splits.test)
        return predict(teacher.module(self.images.images.device), teacher.read(self.images), test)


@functools.lru_cache(maxsize=1)
def workbench(material: ray.ObjectRef[Any], gpu: float) -> Workbench:
    """`gpu` is the share that this process was given."""
    own: Material = ray.get(material)
    splits = own.splits
    images = Images(as_tensor(splits.images), as_tensor(splits.labels), own.mean, own.std, len(splits.classes))
    return Workbench(own, images.to(pick_device(own.study, gpu)))


def as_tensor(array: np.ndarray) -> Tensor:
    """A shared array as a tensor, without a copy."""
    with warnings.catch_warnings():
        # Shared arrays are read-only, and nothing here writes to them.
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return torch.from_numpy(array)


def pick_device(study: Study, gpu: float = 1) -> torch.device:
    """What this trial was given: a share of a GPU, else Apple's GPU unless the study refuses it, else the CPU."""
    # One, whatever Ray reserves: two trials with one thread each train almost twice as many images as one with two.
    torch.set_num_threads(1)
    if ray.get_gpu_ids() and torch.cuda.is_available():
        # Enforced, so that one training's hunger cannot kill its neighbours.
        total = torch.cuda.get_device_properties(0).total_memory
        torch.cuda.set_per_process_memory_fraction(memory_fraction(gpu, total))
        return torch.device("cuda")
    if study.resources.gpu != 0 and torch.backends.mps.is_available():
        return torch.device("mps")
    return torch.device("cpu")

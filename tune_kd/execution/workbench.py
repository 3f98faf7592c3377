"""What a worker process keeps between the trials that it trains one after the other."""

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import ray
import torch
from torch import Tensor

from tune_kd.data.splits import Splits
from tune_kd.data.views import Views
from tune_kd.distill.ensemble import mixed, weights
from tune_kd.execution.resources import memory_fraction
from tune_kd.models.network import Start, interpolation, normalisation
from tune_kd.objects import NOTHING_TO_CARRY, Travelling
from tune_kd.space.schema import Distillation
from tune_kd.space.study import Study
from tune_kd.storage.stores import Storage
from tune_kd.teacher.ensemble import Ensemble, Guides
from tune_kd.teacher.guide import Guide, Neighbours, settle_precision
from tune_kd.training import process
from tune_kd.training.images import Images, as_tensor
from tune_kd.training.precision import Agree


@dataclass(frozen=True)
class Material:
    """What every trial of a search shares, brought to each node once through Ray's object store."""

    study: Study
    splits: Splits
    mean: tuple[float, ...]
    std: tuple[float, ...]
    storage: Storage
    agree: Agree | None = None
    """How machines that share no folder come to one precision."""
    neighbours: Neighbours | None = None
    """How machines come by logits that another one has computed."""
    students: Mapping[str, Start] = field(default_factory=dict)
    """What students begin with, by model."""
    objects: Travelling = NOTHING_TO_CARRY


@dataclass(frozen=True)
class Workbench:
    """What a worker keeps between the trials that it trains one after the other."""

    material: Material
    images: Images

    def seen_by(self, study: Study) -> Images:
        """The images as a trial's student sees them."""
        own = self.material
        start = own.students.get(study.student.model)
        mean, std = normalisation(start, own.mean, own.std)
        by = interpolation(start.inputs if start else None)
        return self.images.seen(mean, std, study.student.image_size, by)


@functools.lru_cache(maxsize=1)
def workbench(material: ray.ObjectRef[Any], gpu: float) -> Workbench:
    """`gpu` is the share that this process was given."""
    own: Material = ray.get(material)
    own.objects.unpack()
    splits = own.splits
    images = Images(as_tensor(splits.images), as_tensor(splits.labels), own.mean, own.std, len(splits.classes))
    return Workbench(own, images.to(pick_device(own.study, gpu)))


@functools.lru_cache(maxsize=1)
def taught(teachers: ray.ObjectRef[Any]) -> Ensemble:
    own: Ensemble = ray.get(teachers)
    return own


@functools.lru_cache(maxsize=1)
def teachers_on_test(material: ray.ObjectRef[Any], gpu: float, teachers: ray.ObjectRef[Any]) -> Tensor:
    """Every teacher's logits for the test images (images, teachers, classes), run once in a worker."""
    bench = workbench(material, gpu)
    return taught(teachers).answers(bench.images, as_tensor(bench.material.splits.test))


def teacher_on_test(
    material: ray.ObjectRef[Any], gpu: float, teachers: ray.ObjectRef[Any], kd: Distillation, numbers: tuple[int, ...]
) -> Tensor:
    """What those who teach say on the test images as one. Labels have no say in it, so confidence in them has none."""
    told = teachers_on_test(material, gpu, teachers)[:, numbers]
    if len(numbers) == 1:
        return told[:, 0]
    kind = "validation" if kd.teachers_weight == "validation" else "equal"
    labels = torch.zeros(len(told), dtype=torch.long, device=told.device)
    shares = weights(kind, told, labels, taught(teachers).right(numbers))
    return mixed(told, shares, kd.teachers_mean, 1.0)


def guides_of(
    material: ray.ObjectRef[Any], gpu: float, teachers: ray.ObjectRef[Any], views: Views, numbers: tuple[int, ...]
) -> Guide | Guides:
    each = [guided_by(material, gpu, teachers, views, number) for number in numbers]
    return each[0] if len(each) == 1 else Guides(each, taught(teachers).right(numbers))


@functools.lru_cache(maxsize=8)
def guided_by(
    material: ray.ObjectRef[Any], gpu: float, teachers: ray.ObjectRef[Any], views: Views, number: int = 0
) -> Guide:
    """One for each way of varying the images and each teacher: the file stays open, the teacher loaded."""
    bench, own = workbench(material, gpu), taught(teachers).members[number]
    given = bench.material
    used = settle_precision(given.study.precision, given.storage.checkpoints, own, bench.images, given.agree)
    return Guide.of(own, bench.images, given.splits.digests["images"], views, used, given.neighbours)


def pick_device(study: Study, gpu: float = 1) -> torch.device:
    """What this trial was given: a share of a GPU, else Apple's GPU unless the study refuses it, else the CPU."""
    process.keep_memory()
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

"""What a network is shown in an epoch: its images as views of them, made ready, and the teacher's logits for them."""

import functools
import math
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import torch
from torch import Tensor

from tune_kd.data.views import Program, Views
from tune_kd.seeds import derive
from tune_kd.space.schema import Train
from tune_kd.training.images import Images
from tune_kd.training.step import Batch

if TYPE_CHECKING:
    from tune_kd.training.train import Job

TeacherLogits = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Logits for (image numbers, view numbers, the pictures themselves before normalisation); the numbers on the CPU."""

BLOCK_BYTES = {"cpu": 4 << 20, "cuda": 64 << 20, "mps": 64 << 20}
"""Pictures made ready at once, so that small batches do not pay for each call; on a CPU what its caches hold."""

T = TypeVar("T")


class Block(NamedTuple):
    """Whole batches, made ready. Numbers of images and views are on the CPU, all else where it is trained."""

    numbers: Tensor
    view: Tensor
    here: Tensor
    pictures: Tensor
    labels: Tensor
    inputs: Tensor


def batches(
    job: "Job", data: Images, teacher: TeacherLogits | None, epoch: int, layout: torch.memory_format, online: bool
) -> Iterator[Batch]:
    """An epoch's batches with the teacher's logits, and with pictures for a teacher that runs beside the student."""
    size = job.settings.train.batch_size
    blocks = ahead(_blocks(job, data, epoch, layout), _large(data, size))
    cut = (list(_cut(block, teacher, epoch, size, online)) for block in blocks)
    if job.settings.augment.strong is None:
        for first in cut:
            yield from first
        return
    for first, second in zip(cut, cut, strict=True):
        yield from (replace(one, second=two) for one, two in zip(first, second, strict=True))


def _cut(block: Block, teacher: TeacherLogits | None, epoch: int, size: int, online: bool) -> Iterator[Batch]:
    guides = (
        teacher(block.numbers, block.view, block.pictures).split(size)
        if teacher
        else [None] * math.ceil(len(block.numbers) / size)
    )
    shown = block.pictures.split(size) if online else [None] * len(guides)
    parts = (block.inputs.split(size), block.labels.split(size), guides, block.here.split(size), shown)
    for images, labels, guide, numbers, raw in zip(*parts, strict=True):
        yield Batch(images, labels, guide, epoch, numbers, raw)


def _blocks(job: "Job", data: Images, epoch: int, layout: torch.memory_format) -> Iterator[Block]:
    """Asks no state of the process, torch's chance included, so that it may run beside the training. Images that are
    looked at twice come twice, one look after the other."""
    settings, device = job.settings, data.images.device
    size = settings.train.batch_size
    generator = torch.Generator().manual_seed(derive(job.seed, "epoch", epoch))
    order = epoch_order(job.train, settings.train, generator)
    views = Views.of(settings.augment, settings.seed)
    program = job.program or Program(job.seed)
    passes = math.ceil((settings.train.epoch_images or len(job.train)) / len(job.train))
    turn = (epoch - 1) * passes + torch.arange(len(order)) // len(job.train)
    turns = settings.budget.epochs * passes
    looks = [draw(views, order, turn, turns) for draw in (program.draw, program.second)[: 2 if views.strong else 1]]
    block = size * max(1, BLOCK_BYTES[device.type] // (_bytes(data) * size))
    for index, passed, *shown in zip(*(each.split(block) for each in (order, turn, *looks)), strict=True):
        here = index.to(device, non_blocking=True)
        for view in shown:
            pictures = views.render(data.images[here], here, view.to(device, non_blocking=True))
            labels = data.labels[here]
            if views.mixing:
                # A teacher looks at what the student sees; logits for two images say nothing exact of their mixture.
                chances = functools.partial(program.chances, here, passed.to(device, non_blocking=True))
                pictures, labels = views.mix(pictures, labels, data.classes, size, chances)
            yield Block(index, view, here, pictures, labels, data.inputs(pictures, layout))


def plain(data: Images, index: Tensor, size: int, layout: torch.memory_format) -> Iterator[Tensor]:
    """Images as they are, made ready for a network."""
    device = data.images.device
    made = (data.inputs(data.images[batch.to(device)], layout) for batch in index.split(size))
    return ahead(made, _large(data, size))


def ahead(made: Iterator[T], beside: bool) -> Iterator[T]:
    """The same things in the same order; the next is made in a thread while whoever asked is busy with the last."""
    if not beside:
        yield from made
        return
    with ThreadPoolExecutor(1, "next batch") as thread:
        waiting = thread.submit(next, made, None)
        while (one := waiting.result()) is not None:
            waiting = thread.submit(next, made, None)
            yield one


def _bytes(data: Images) -> int:
    """Of a picture that is made ready, at the size at which it is kept."""
    return 4 * math.prod(data.images.shape[1:])


def _large(data: Images, size: int) -> bool:
    """Whether a batch is more than a processor's caches hold, and may wait for a disk: small ones lose by changing
    processors. On a GPU the processor is ahead of what it asks for as it is."""
    return data.images.device.type == "cpu" and size * _bytes(data) > BLOCK_BYTES["cpu"]


def epoch_order(train: Tensor, settings: Train, generator: torch.Generator) -> Tensor:
    """Shuffled image numbers; `epoch_images` repeats or cuts the pass to that many images."""
    wanted = settings.epoch_images or len(train)
    passes = [train[torch.randperm(len(train), generator=generator)] for _ in range(-(-wanted // len(train)))]
    order = torch.cat(passes)[:wanted]
    # Batch normalisation cannot take a batch of a single image; the next shuffle brings it back.
    alone = len(order) % settings.batch_size == 1 and len(order) > 1
    return order[:-1] if alone else order

"""What fits where: plain arithmetic over machines and shares. Asks nobody; `nodes` looks, `gauge` measures."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from tune_kd.errors import InputError

AUTO_SHARE = 0.25
"""Share of a GPU that `gpu: auto` gives a trial where nothing can be measured: students are small."""

TINY = 1e-6
"""Shares are fractions of one, so sums of them are a little off."""

TYPE_RESOURCE = "accelerator_type:"
"""Ray names a node's GPU type by a resource of this prefix; a thousandth of it keeps a trial to that type."""


@dataclass(frozen=True)
class Share:
    """What one training takes; `kind` is a type of GPU where it must be that one."""

    cpu: float
    gpu: float
    kind: str = ""

    def request(self) -> dict[str, float]:
        wanted = {"cpu": self.cpu}
        if self.gpu:
            wanted["gpu"] = self.gpu
        if self.kind:
            wanted[TYPE_RESOURCE + self.kind] = 0.001
        return wanted

    def bundle(self) -> dict[str, float]:
        """The same in the words of Ray's placement groups and of its autoscaler."""
        return {{"cpu": "CPU", "gpu": "GPU"}.get(key, key): value for key, value in self.request().items()}

    def times(self, factor: float) -> "Share":
        """More of the GPU, but not of a second one."""
        return replace(self, gpu=max(self.gpu, min(1.0, self.gpu * factor)))


@dataclass(frozen=True)
class Node:
    """A machine as Ray counts it. `kind` is the type of its GPUs, where Ray knows it."""

    id: str
    cpus: float
    gpus: int
    kind: str = ""


@dataclass
class _Free:
    """What is left of a machine."""

    node: Node
    cpus: float = field(init=False)
    cards: list[float] = field(init=False)

    def __post_init__(self) -> None:
        self.cpus = self.node.cpus
        self.cards = [1.0] * self.node.gpus

    def take(self, share: Share, most: float = math.inf) -> int:
        """As many of one share as there is room for; a share never spans two machines, and a part of a card no two."""
        if share.kind and share.kind != self.node.kind:
            return 0
        most = min(most, self.cpus / share.cpu + TINY)
        taken = int(most) if not share.gpu else 0
        if share.gpu > 1:
            whole = [k for k, left in enumerate(self.cards) if left > 1 - TINY]
            taken = int(min(most, len(whole) / share.gpu + TINY))
            for k in whole[: int(taken * share.gpu)]:
                self.cards[k] = 0.0
        elif share.gpu:
            for k, left in enumerate(self.cards):
                here = int(min(most - taken, left / share.gpu + TINY))
                self.cards[k] -= here * share.gpu
                taken += here
        self.cpus -= taken * share.cpu
        return taken


def room(nodes: Sequence[Node], live: Mapping[Share, int], wanted: Share) -> bool:
    """Whether `wanted` fits beside what is under way: the largest share first, machine by machine, card by card."""
    counts = dict(live)
    counts[wanted] = counts.get(wanted, 0) + 1
    free = [_Free(node) for node in nodes]
    for share in sorted(counts, key=lambda share: (not share.kind, -share.gpu, -share.cpu)):
        left = counts[share]
        for each in free:
            left -= each.take(share, left)
        if left:
            return False
    return True


def slots(nodes: Sequence[Node], each: Share) -> int:
    """How many trainings of one share fit at once."""
    return sum(_Free(node).take(each) for node in nodes)


@dataclass(frozen=True)
class Shares:
    """The share of every student: by student and type of GPU. '' is whatever type there is."""

    cpu: float
    gpu: Mapping[str, Mapping[str, float]]

    def options(self, student: str, factor: float = 1) -> list[Share]:
        """What a student may be given, one for each type of GPU where they differ."""
        by_kind = self.gpu[student]
        kinds = by_kind if len(set(by_kind.values())) > 1 else {"": next(iter(by_kind.values()))}
        return [Share(self.cpu, gpu, kind).times(factor) for kind, gpu in kinds.items()]

    def hours(self, student: str, seconds: float) -> tuple[float, float]:
        """Of processors and of GPUs that so many seconds of it took; where kinds of GPU differ, the mean of them."""
        fractions = self.gpu[student].values()
        return seconds / 3600 * self.cpu, seconds / 3600 * sum(fractions) / len(fractions)

    @property
    def all(self) -> list[Share]:
        return [share for student in self.gpu for share in self.options(student)]

    @property
    def smallest(self) -> Share:
        """On whatever type of GPU: no more legs fit than of this."""
        return replace(min(self.all, key=lambda share: share.gpu), kind="")

    @property
    def on_gpu(self) -> bool:
        return any(share.gpu for share in self.all)

    def check(self, nodes: Sequence[Node]) -> None:
        """Refused where a student fits nowhere."""
        for student in self.gpu:
            options = self.options(student)
            if not any(slots(nodes, share) for share in options):
                has = {"CPU": sum(node.cpus for node in nodes), "GPU": sum(node.gpus for node in nodes)}
                raise InputError(
                    f"resources: no machine of this Ray has room for a trial with {options[0].request()}. It has {has} "
                    "in all. Ask for less with --set resources.cpu=… or resources.gpu=…, or give the --address of a "
                    "larger one."
                )


def fixed(students: Sequence[str], cpu: float, gpu: float) -> Shares:
    """The same for all."""
    return Shares(cpu, {student: {"": gpu} for student in students})


HEADROOM = 0.9
"""Of a card's memory, when it is measured who fits: batches differ, and memory splinters."""

CONTEXT_BYTES = 0.6 * 2**30
"""What a process holds on a card besides PyTorch's own memory: CUDA's context and the kernels of its libraries."""


def memory_fraction(gpu: float, total_bytes: float) -> float:
    """How much of a card PyTorch may take in a process that has `gpu` of it; the rest of the share is CUDA's."""
    if gpu >= 1:
        return 1.0
    return max(gpu / 2, gpu - CONTEXT_BYTES / total_bytes)

"""How many trainings fit beside each other on the machines Ray has."""

import math
import time
from dataclasses import dataclass

import ray

from tune_kd.errors import InputError
from tune_kd.space.schema import Resources

AUTO_SHARE = 0.25
"""Share of a GPU that `gpu: auto` gives a trial: students are small, and one alone leaves most of a card idle."""

LOOK_SECONDS = 2.0


@dataclass(frozen=True)
class Share:
    """What one trial takes."""

    cpu: float
    gpu: float

    def request(self) -> dict[str, float]:
        return {"cpu": self.cpu} | ({"gpu": self.gpu} if self.gpu else {})


def share(wanted: Resources) -> Share:
    """A trial's share of the cluster that Ray is connected to."""
    gpus = ray.cluster_resources().get("GPU", 0)
    if wanted.gpu == "auto":
        return Share(wanted.cpu, AUTO_SHARE if gpus else 0.0)
    if wanted.gpu and not gpus:
        raise InputError(
            f"resources.gpu is {wanted.gpu}, but Ray sees no GPU here. Use --set resources.gpu=auto to train on the "
            "CPU where there is none, or give the address of a cluster that has one."
        )
    return Share(wanted.cpu, float(wanted.gpu))


class Slots:
    """How many trials fit now; asked between any two events, so the cluster is looked at only now and then."""

    def __init__(self, each: Share) -> None:
        self._each = each
        self._number = 0
        self._looked = -math.inf

    def __call__(self) -> int:
        if time.monotonic() - self._looked > LOOK_SECONDS:
            self._number = slots(self._each)
            self._looked = time.monotonic()
        return self._number


def slots(each: Share) -> int:
    """Trials that can run at once, counted node by node because a trial does not span two."""
    total = 0
    for node in ray.nodes():
        if node["Alive"]:
            has = node["Resources"]
            fits = [has.get("CPU", 0) / each.cpu]
            if each.gpu:
                # A share never spans two cards.
                fits.append(
                    int(has.get("GPU", 0)) * int(1 / each.gpu) if each.gpu <= 1 else has.get("GPU", 0) / each.gpu
                )
            total += int(min(fits) + 1e-9)
    return total

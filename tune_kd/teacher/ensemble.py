"""The teachers of a search, usually one. Each has a cache of its own, which searches with some of them share."""

import functools
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from tune_kd import names
from tune_kd.distill.ensemble import mixed, weights
from tune_kd.teacher.guide import Guide
from tune_kd.teacher.making import Teacher, facts
from tune_kd.teacher.online import Online
from tune_kd.training import measures
from tune_kd.training.images import Images
from tune_kd.training.train import predict

Facts = Mapping[str, float | int | str]
SUMS = (names.PARAMETERS, names.SIZE_MB, names.MACS, names.LATENCY_1_MS, names.LATENCY_1_P95_MS)
"""What several cost that are all run."""
BY_EPOCHS = "test_accuracy_by_epochs"


@dataclass(frozen=True)
class Ensemble:
    """In the study's order, and how often each is right on validation images."""

    members: tuple[Teacher, ...]
    accuracies: tuple[float, ...]

    @functools.cached_property
    def digest(self) -> str:
        digests = [each.digest for each in self.members]
        return digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()[:20]

    def right(self, numbers: Sequence[int]) -> tuple[float, ...]:
        return tuple(self.accuracies[number] for number in numbers)

    def answers(self, data: Images, index: Tensor) -> Tensor:
        """Logits (images, teachers, classes) for images as they are."""
        device = data.images.device
        return torch.stack([predict(each.module(device), each.read(data), index) for each in self.members], 1)


class Guides:
    """Answers a training's question with what each of several teachers says: (images, teachers, classes)."""

    def __init__(self, guides: Sequence[Guide], accuracies: Sequence[float]) -> None:
        self.guides = tuple(guides)
        self.accuracies = tuple(accuracies)

    def __call__(self, index: Tensor, view: Tensor, pictures: Tensor) -> Tensor:
        return torch.stack([guide(index, view, pictures) for guide in self.guides], 1)

    def online(self) -> Online:
        """Of the first: feature maps cannot be averaged over networks."""
        return self.guides[0].online()


def long(epochs: int) -> str:
    return f"{epochs} epoch{'s' * (epochs != 1)}"


def known(
    members: Sequence[Teacher],
    chains: Sequence[Sequence[Teacher]],
    data: Images,
    validation: Tensor,
    test: Tensor,
    epochs: Sequence[int] = (),
) -> tuple[Ensemble, dict[str, float | int | str]]:
    """The teachers with how right they are, and what the report says of them: as one by the mean of their
    probabilities, and each by itself, with whoever it learned from. Where their `epochs` are a condition none is asked
    with another, and the figures are of the one trained longest."""
    each = [facts(member, data, validation, test) for member in members]
    ensemble = Ensemble(tuple(members), tuple(float(one[names.VAL_ACCURACY]) for one in each))
    told: dict[str, float | int | str] = dict(each[epochs.index(max(epochs)) if epochs else 0])
    if epochs:
        by = [f"{float(one[names.TEST_ACCURACY]):.2%} after {long(n)}" for n, one in zip(epochs, each, strict=True)]
        told |= {"model": f"{told['model']} after {long(max(epochs))}", "digest": ensemble.digest}
        told |= {BY_EPOCHS: ", ".join(by)}
    elif len(members) > 1:
        told |= _together(ensemble, data, validation, test)
        told |= {key: sum(value for one in each if isinstance(value := one[key], int | float)) for key in SUMS}
        told |= {"model": ", ".join(member.model for member in members), "digest": ensemble.digest}
        told |= {f"{number}": _said(one) for number, one in enumerate(each, 1)}
    for number, chain in enumerate(chains, 1):
        if len(chain) > 1:
            line = " → ".join(_said(facts(one, data, validation, test)) for one in chain)
            told["through" if len(chains) == 1 else f"through_{number}"] = line
    return ensemble, told


def _together(ensemble: Ensemble, data: Images, validation: Tensor, test: Tensor) -> dict[str, float | int | str]:
    found = []
    for index in (validation, test):
        if not len(index):
            found.append(measures.NOTHING)
            continue
        answers, labels = ensemble.answers(data, index), data.labels[index.to(data.labels.device)]
        equal = weights("equal", answers, labels, ())
        found.append(measures.evaluate(mixed(answers, equal, "probabilities", 1.0), labels, data.classes))
    val, tested = found
    return {
        names.VAL_ACCURACY: val.accuracy,
        names.VAL_BALANCED: val.balanced_accuracy,
        names.VAL_F1: val.macro_f1,
        **measures.tested(tested),
    }


def _said(one: Facts) -> str:
    return f"{one['model']} {float(one[names.TEST_ACCURACY]):.2%}"

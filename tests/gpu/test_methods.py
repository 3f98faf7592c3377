"""Every method: trained on the GPU as on the CPU, recorded as ordinary, and going on from a checkpoint."""

import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from tests.gpu.setting import BATCH, CPU, GPU, TRAIN, curve, guide, images, study
from tune_kd import names
from tune_kd.training import graph, train
from tune_kd.training.step import Batch, Step

DRAWS = ("crd",)
"""Draws on the device, where chance is another one: which images it contrasts with."""


def test_an_epoch_is_the_same_on_both(exact: None, method: str, tmp_path: Path) -> None:
    settings = study(f"kd.method={method}")
    both = [images().to(device) for device in (CPU, GPU)]
    found = [curve(settings, data, guide(settings, data), tmp_path / f"{k}.pt", 2)[1] for k, data in enumerate(both)]
    rough = 0.1 if method in DRAWS else 0.01
    for here, there in zip(*found, strict=True):
        print(method, {key: (here[key], there[key]) for key in (names.TRAIN_LOSS, names.LOSS_KD, names.VAL_LOSS)})
        for key in (names.TRAIN_LOSS, names.LOSS_CE, names.LOSS_KD, names.VAL_LOSS):
            assert there[key] == pytest.approx(here[key], rel=rough, abs=rough)


@pytest.mark.parametrize("used", ["fp32", "bf16"])
def test_its_steps_are_recorded_and_learn_the_same(
    exact: None, method: str, used: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = study(f"kd.method={method}", f"precision={used}")
    data = images().to(GPU)
    assert math.ceil(TRAIN / BATCH) * 3 >= graph.LEAST_STEPS
    made: list[Callable[[Batch], Tensor]] = []

    def make_step(ordinary: Step, device: torch.device, steps: int) -> Callable[[Batch], Tensor]:
        made.append(graph.make_step(ordinary, device, steps))
        return made[-1]

    monkeypatch.setattr(graph, "_unrecordable", set())
    monkeypatch.setattr(train, "make_step", make_step)
    _, recorded = curve(settings, data, guide(settings, data), tmp_path / "recorded.pt", 3)
    monkeypatch.setattr(train, "make_step", lambda ordinary, device, steps: ordinary)
    _, ordinary = curve(settings, data, guide(settings, data), tmp_path / "ordinary.pt", 3)
    step = made[0]
    told = f"{method} {used}: {'the same' if recorded == ordinary else 'not bit by bit'}"
    if isinstance(step, graph.RecordedStep):
        print(f"{told}; {step.replayed} replayed, given up: {step.given_up or 'no'}")
        assert step.given_up == ""
    else:
        print(f"{told}; not recorded")
    for one, other in zip(recorded, ordinary, strict=True):
        assert one[names.TRAIN_LOSS] == pytest.approx(other[names.TRAIN_LOSS], rel=0.02, abs=0.01)
        assert one[names.VAL_ACCURACY] == pytest.approx(other[names.VAL_ACCURACY], abs=0.05)


def test_it_goes_on_from_a_checkpoint(exact: None, method: str, tmp_path: Path) -> None:
    settings, data = study(f"kd.method={method}"), images().to(GPU)
    _, whole = curve(settings, data, guide(settings, data), tmp_path / "whole.pt", 4)
    _, first = curve(settings, data, guide(settings, data), tmp_path / "parts.pt", 2)
    _, rest = curve(settings, data, guide(settings, data), tmp_path / "parts.pt", 4, 2)
    print(f"{method}: {'bit by bit' if first + rest == whole else 'not bit by bit'}")
    for one, other in zip(first + rest, whole, strict=True):
        assert one[names.TRAIN_LOSS] == pytest.approx(other[names.TRAIN_LOSS], rel=0.01, abs=0.01)
        assert one[names.VAL_ACCURACY] == pytest.approx(other[names.VAL_ACCURACY], abs=0.05)


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw"])
@pytest.mark.parametrize("way", [(CPU, GPU), (GPU, CPU)], ids=["to the GPU", "from it"])
def test_a_training_moves_between_devices(
    exact: None, optimizer: str, way: tuple[torch.device, torch.device], tmp_path: Path
) -> None:
    settings = study(f"train.optimizer={optimizer}")
    here, there = (images().to(device) for device in way)
    _, whole = curve(settings, here, guide(settings, here), tmp_path / "whole.pt", 4)
    _, first = curve(settings, here, guide(settings, here), tmp_path / "parts.pt", 2)
    _, rest = curve(settings, there, guide(settings, there), tmp_path / "parts.pt", 4, 2)
    for one, other in zip(first + rest, whole, strict=True):
        assert one[names.TRAIN_LOSS] == pytest.approx(other[names.TRAIN_LOSS], rel=0.02, abs=0.01)

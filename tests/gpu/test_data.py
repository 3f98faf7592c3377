"""Views, the teacher's logits and scores: the same on the GPU as on the CPU."""

from pathlib import Path

import pytest
import torch

from tests.gpu.setting import CPU, GPU, SHAPE, TRAIN, curve, guide, images, study, teacher
from tune_kd import names
from tune_kd.data.views import Program, Views
from tune_kd.models import build
from tune_kd.space.schema import Augment
from tune_kd.teacher.guide import Guide
from tune_kd.teacher.making import facts
from tune_kd.training.train import predict
from tune_kd.training.train import test_scores as scores_on_test

KINDS = ("none", "flip", "crop", "crop_flip", "colour", "rotation", "crop_flip+colour+rotation")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 32, 32), (3, 20, 28)])
def test_a_view_is_the_same_picture(kind: str, shape: tuple[int, int, int]) -> None:
    data = images(shape, 256)
    views = Views.of(Augment(kind=kind), 3)
    index = torch.arange(256)
    number = Program(1).draw(views, index, torch.zeros_like(index), 4)
    here = views.render(data.images, index, number)
    there = views.render(data.images.to(GPU), index.to(GPU), number.to(GPU)).cpu()
    if "colour" in kind or "rotation" in kind:
        apart = (there.float() - here.float()).abs()
        print(f"{kind} {shape}: at most {apart.max():.1e} of 255, {apart.mean():.1e} in the mean")
        assert apart.mean() < 1e-3
        assert apart.max() < 0.5
    else:
        assert torch.equal(here, there)


def test_the_teachers_logits_are_those_of_the_cpu_and_are_computed_once(exact: None) -> None:
    settings, index = study(), torch.arange(TRAIN)
    found = []
    for name, device in (("here", CPU), ("there", GPU)):
        data = images().to(device)
        guided = guide(settings, data, name)
        views = Views.of(settings.augment, settings.seed)
        view = Program(0).draw(views, index, torch.zeros_like(index), 4)
        pictures = views.render(data.images[index.to(device)], index.to(device), view.to(device))
        found.append(guided(index, view, pictures).cpu())
        assert guided.images_run == TRAIN
        assert torch.equal(guided(index, view, pictures).cpu(), found[-1])
        # Another process: from the file.
        again = guide(settings, data, name)
        assert torch.equal(again(index.flip(0), view.flip(0), pictures.flip(0)).cpu().flip(0), found[-1])
        assert again.images_run == 0
    torch.testing.assert_close(*found, rtol=2e-3, atol=2e-3)


@pytest.mark.parametrize("kind", ["none", "crop_flip", "rotation"])
def test_cached_and_online_logits_give_one_curve(exact: None, kind: str, tmp_path: Path) -> None:
    settings, data = study(f"augment.kind={kind}"), images().to(GPU)
    _, cached = curve(settings, data, guide(settings, data), tmp_path / "cached.pt", 2)
    _, online = curve(settings, data, Guide(teacher(), None, GPU), tmp_path / "online.pt", 2)
    assert cached == online


def test_scores_are_those_of_the_cpu(exact: None) -> None:
    torch.manual_seed(3)
    model = build("digits_student", classes=10, in_shape=SHAPE)
    index, scores = torch.arange(TRAIN, TRAIN + 100), []
    for device in (CPU, GPU):
        data = images().to(device)
        model.to(device)
        scores.append(scores_on_test(model, data, index, predict(model, data, index)))
    for key, here in scores[0].items():
        there = scores[1][key]
        assert there == (here if key == names.CORRECT else pytest.approx(here, rel=1e-3, abs=1e-3, nan_ok=True)), key


def test_a_teachers_facts_are_found(exact: None) -> None:
    index = torch.arange(TRAIN, TRAIN + 50)
    here, there = (facts(teacher(), images().to(device), index, index + 50) for device in (CPU, GPU))
    assert there[names.TEST_ACCURACY] == pytest.approx(here[names.TEST_ACCURACY], abs=0.021)
    assert there[names.TEST_NLL] == pytest.approx(here[names.TEST_NLL], rel=1e-3)
    assert there[names.MACS] == here[names.MACS]

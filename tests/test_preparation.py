"""What must fail before anything is trained."""

from pathlib import Path

import pytest
import torch

from tune_kd import plan
from tune_kd.errors import InputError
from tune_kd.models import build
from tune_kd.preparation import prepare
from tune_kd.space.designs import levels
from tune_kd.space.load import load
from tune_kd.training.images import IMAGENET

STUDY = """
study: prepared
question: Does it fit?
data: {drawn: 300, evaluate_on: [scanned], teacher_on: [scanned]}
search: {kd.alpha: {uniform: [0.1, 1.0]}}
"""


def test_images_are_normalised_by_training_images_alone() -> None:
    prepared = prepare(plan.make(load(STUDY)), lambda text: None)
    changed = prepare(plan.make(load(STUDY, ["data.split.test=0.1"])), lambda text: None)
    assert prepared.mean != changed.mean  # images that moved from test to training have a say, tested ones have none
    assert 0 < prepared.mean[0] < 1
    assert prepared.shape == (1, 8, 8)


def test_images_can_be_normalised_as_imagenet_is() -> None:
    prepared = prepare(plan.make(load(STUDY, ["data.normalize=imagenet"])), lambda text: None)
    assert (prepared.mean, prepared.std) == IMAGENET


def test_without_validation_images_all_others_train() -> None:
    settings = ["data.split.validation=0", "search=null", "train.keep=last", "teacher.train.keep=last"]
    whole, split = (prepare(plan.make(load(STUDY, s)), lambda text: None).splits for s in (settings, []))
    assert len(whole.validation) == 0
    assert len(whole.test) == len(split.test)
    more = {name: len(whole.student[name]) - len(split.student[name]) for name in whole.student}
    assert sum(more.values()) == len(split.validation)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (["data.source=drawn", "data.size=301"], ["data.size", "301", "300"]),
        (["data.source=drawm"], ["data.source", "drawm", "drawn"]),
        (["conditions.data.source=[drawn, scanned]", "conditions.data.size=[100, 5000]"], ["data.size", "5000"]),
        (["search.data.size={int: [100, 50000]}", "data.source=drawn"], ["data.size", "50000"]),
        (["data.source=drawn+scanned", "data.size=500", "search.data.weight={uniform: [0.05, 0.95]}"], ["drawn"]),
        (["data.source=drawn+scanned", "data.size=500", "conditions.data.weight=[0.5, 0.9]"], ["drawn"]),
        (["student.model=resnet2O"], ["resnet2O", "resnet20"]),
        (["kd.method=at", "kd.layers=3:nowhere"], ["kd.layers = 3:nowhere", "teacher has no feature map 'nowhere'"]),
        (["conditions.kd.method=[kd, fitnet]", "kd.layers=9:11"], ["student has no feature map '9'", "Its maps: 0, 1"]),
        (["teacher.model=lightn"], ["lightn", "lightnn"]),
        (["teacher.checkpoint=/nowhere/teacher.pt"], ["/nowhere/teacher.pt", "no such file"]),
    ],
)
def test_what_does_not_fit_is_said_before_anything_is_trained(settings: list[str], words: list[str]) -> None:
    with pytest.raises(InputError) as failure:
        prepare(plan.make(load(STUDY, settings)), lambda text: None)
    for word in words:
        assert word in str(failure.value)


def test_levels_are_all_that_a_key_can_become() -> None:
    study = load(
        STUDY,
        [
            "search.train.optimizer={choice: [sgd, adam]}",
            "search.student.model={choice: [digits_teacher], when: {train.optimizer: [adam]}}",
            "search.data.size={int: [50, 200]}",
        ],
    )
    assert levels(study, "student.model") == ("digits_teacher", "digits_student")
    assert levels(study, "data.size") == (50, 200)
    assert levels(study, "data.source") == ("all",)


def test_a_teacher_may_begin_with_the_average_of_its_weights(tmp_path: Path) -> None:
    last, average = (build("lightnn", classes=10, in_shape=(1, 8, 8)).state_dict() for _ in range(2))
    torch.save({"state_dict": last, "state_dict_ema": average}, tmp_path / "both.pth")
    for ema, weights in ((False, last), (True, average)):
        settings = [
            "teacher.model=lightnn",
            f"teacher.pretrained={tmp_path / 'both.pth'}",
            f"teacher.ema={ema}".lower(),
        ]
        (start,) = prepare(plan.make(load(STUDY, settings)), lambda text: None).teachers
        assert start is not None
        assert all(torch.equal(value, weights[key]) for key, value in start.weights.items())

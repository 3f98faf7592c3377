"""Two views of each image in one step: which, what the loss is, and that one cache serves both."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from tune_kd import names, plan
from tune_kd.data.views import Program, Views
from tune_kd.distill.distiller import Distiller
from tune_kd.distill.method import Given
from tune_kd.distill.schedules import Schedule
from tune_kd.errors import InputError
from tune_kd.models import build
from tune_kd.planned_logits import cache_words, cached_seconds, runs_beside
from tune_kd.preparation import prepare
from tune_kd.space.load import load
from tune_kd.space.schema import Augment
from tune_kd.teacher.guide import Guide
from tune_kd.teacher.making import Teacher
from tune_kd.training.images import Images
from tune_kd.training.step import Batch, Step
from tune_kd.training.train import Job, train

SHAPE = (1, 8, 8)
TWICE = Augment(kind="crop", pad=1, strong="flip+erasing", bank=5)
STUDY = """
study: twice
data: {drawn: 100, evaluate_on: [scanned], teacher_on: [scanned]}
augment: {kind: crop, pad: 1, strong: flip+erasing, bank: 5}
kd: {method: mlkd}
precision: fp32
train: {lr: 0.003, batch_size: 20}
budget: {trials: 1, epochs: 5}
"""


def test_the_second_looks_views_follow_on_the_first_ones() -> None:
    views = Views.of(TWICE, 3)
    assert (views.first, views.count) == (9, 14)
    weak, strong = Views.of(Augment(kind="crop", pad=1), 3), Views.of(Augment(kind="flip+erasing", bank=5), 3)
    assert views.key == f"{weak.key}-and-{strong.key}"
    images, index = torch.randint(0, 256, (30, *SHAPE)).byte(), torch.arange(30)
    first, second = (draw(views, index, torch.zeros(30), 5) for draw in (Program(1).draw, Program(1).second))
    assert torch.equal(first, Program(1).draw(weak, index, torch.zeros(30), 5))
    assert first.max() < 9 <= second.min()
    assert second.max() < 14
    assert len(second.unique()) == 5
    assert torch.equal(views.render(images, index, first), weak.render(images, index, first))
    assert torch.equal(views.render(images, index, second), strong.render(images, index, second - 9))


def test_the_loss_is_the_mean_over_both_looks() -> None:
    study = load(STUDY, ["train.optimizer=sgd", "kd.method=kd+mlkd", "kd.momentum_gap=0.05"])
    generator = torch.Generator().manual_seed(0)
    looks = [
        Batch(torch.randn(6, *SHAPE, generator=generator), torch.arange(6), torch.randn(6, 10, generator=generator), 1)
        for _ in range(2)
    ]
    slopes, told = [], []
    for batch in (*looks, Batch(looks[0].inputs, looks[0].labels, looks[0].guide, 1, second=looks[1])):
        torch.manual_seed(0)
        model = build("digits_student", classes=10, in_shape=SHAPE).eval()
        distiller = Distiller.of(study.kd, Given(Schedule(4.0), 5, 10, 100, 1))
        optimizer = torch.optim.SGD(model.parameters(), 1.0)
        before = torch.cat([each.detach().flatten().clone() for each in model.parameters()])
        told.append(Step(model, optimizer, study, "fp32", distiller)(batch))
        slopes.append(before - torch.cat([each.detach().flatten() for each in model.parameters()]))
    torch.testing.assert_close(told[2], (told[0] + told[1]) / 2)
    torch.testing.assert_close(slopes[2], (slopes[0] + slopes[1]) / 2, rtol=1e-4, atol=1e-6)


def test_one_cache_serves_both_and_a_training_goes_on_bit_by_bit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TUNE_KD_CACHE", str(tmp_path))
    torch.manual_seed(0)
    labels = torch.arange(140) % 10
    patterns = torch.randint(0, 200, (10, *SHAPE))
    images = Images((patterns[labels] + torch.randint(0, 56, (140, *SHAPE))).byte(), labels, (0.4,), (0.3,), 10)
    weights = build("digits_teacher", classes=10, in_shape=SHAPE).state_dict()
    teacher = Teacher("digits_teacher", weights, (0.5,), (0.25,), SHAPE, 10)
    study = load(STUDY)

    def run(saved: str, until: int, reported: int = 0) -> tuple[list[dict[str, float]], int]:
        guide = Guide.of(teacher, images, "twice", Views.of(study.augment, study.seed))
        rows: list[dict[str, float]] = []
        job = Job(study, torch.arange(100), torch.arange(100, 140), 1, until, reported)
        train(job, images, guide, rows.append, tmp_path / saved)
        timed = (names.SECONDS, names.IMAGES_PER_SECOND)
        return [{key: value for key, value in row.items() if key not in timed} for row in rows], guide.images_run

    whole, asked = run("whole.pt", 3)
    assert 300 < asked <= 600
    first, again = run("parts.pt", 1)
    assert first + run("parts.pt", 3, 1)[0] == whole
    assert again == 0
    assert whole[-1][names.LOSS_KD] < whole[0][names.LOSS_KD]


def test_a_plan_counts_both_looks() -> None:
    todo, plain = (plan.make(load(STUDY, own)) for own in ([], ["augment.strong=null"]))
    prepared = prepare(todo, lambda text: None)
    (said,), (less,) = cache_words(todo, prepared), cache_words(plain, prepared)
    assert "for 14 views of each" in said
    assert "for 9 views of each" in less
    assert cached_seconds(todo, prepared, 1.0) > cached_seconds(plain, prepared, 1.0)
    twice, once = (plan.make(load(STUDY, ["kd.method=fitnet", *own])) for own in ([], ["augment.strong=null"]))
    arm = next(arm for arm in twice.arms if arm.name == names.DISTILLED)
    assert runs_beside(twice.study, arm) == 2 * runs_beside(once.study, arm) == 2


@pytest.mark.parametrize(
    "settings",
    [["augment.strong=flip+mixup"], ["conditions.augment.kind=[flip,cutmix]"], ["augment.strong=flop"]],
)
def test_what_mixes_two_images_cannot_be_looked_at_twice(settings: list[str]) -> None:
    with pytest.raises(InputError, match=r"augment\.strong"):
        load(STUDY, settings)


def test_a_batch_is_copied_with_its_second_look() -> None:
    def made(value: float) -> Tensor:
        return torch.full((2, *SHAPE), value)

    batch = Batch(made(1), torch.arange(2), None, 1, second=Batch(made(2), torch.arange(2), None, 1))
    room = batch.like()
    room.take(batch)
    assert room.second is not None
    assert torch.equal(room.inputs, made(1))
    assert torch.equal(room.second.inputs, made(2))

"""One student: the same numbers every time, from a checkpoint as from the start, from the cache as from the teacher."""

import base64
import copy
import dataclasses
import math
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from tune_kd import names
from tune_kd.data.views import Program, Views
from tune_kd.models import build
from tune_kd.seeds import derive
from tune_kd.space.load import load
from tune_kd.space.schema import Augment, Train
from tune_kd.space.study import Study
from tune_kd.teacher.guide import Guide
from tune_kd.teacher.making import Teacher
from tune_kd.training.batches import BLOCK_BYTES, ahead, batches, epoch_order
from tune_kd.training.images import Images
from tune_kd.training.optim import learning_rate, make_optimizer, step
from tune_kd.training.train import Diverged, Job, train, validate
from tune_kd.training.train import test_scores as scores_on_test

TIME = (names.SECONDS, names.IMAGES_PER_SECOND)

STUDY = """
study: small
question: Is it so?
augment: {kind: crop_flip, pad: 1}
train: {lr: 0.005, batch_size: 32}
search: {kd.alpha: {uniform: [0.1, 1.0]}}
budget: {trials: 3, epochs: 6}
"""


@pytest.fixture(scope="module")
def data() -> Images:
    from sklearn.datasets import load_digits

    digits = load_digits()
    pixels = torch.from_numpy((digits.images[:600] * 15.9).astype(np.uint8)).unsqueeze(1)
    return Images(pixels, torch.from_numpy(digits.target[:600].astype(np.int64)), (0.3,), (0.4,), 10)


def study(*settings: str) -> Study:
    return load(STUDY, settings)


def job(settings: Study, until: int = 4, seed: int = 1, reported: int = 0) -> Job:
    return Job(settings, torch.arange(300), torch.arange(300, 450), seed, until, reported)


def curve(
    settings: Study, data: Images, saved: Path, guide: Guide | None = None, **more: int
) -> list[dict[str, float]]:
    rows: list[dict[str, float]] = []
    train(job(settings, **more), data, guide, rows.append, saved)
    return [{key: value for key, value in row.items() if key not in TIME} for row in rows]


@pytest.fixture(scope="module")
def teacher(data: Images, tmp_path_factory: pytest.TempPathFactory) -> Teacher:
    settings = study("student.model=digits_teacher")
    model = train(job(settings, until=3), data, None, lambda row: None, tmp_path_factory.mktemp("teacher") / "t.pt")
    assert model is not None
    return Teacher("digits_teacher", model.state_dict(), data.mean, data.std, data.shape, 10)


def guide(teacher: Teacher, data: Images, settings: Study, images: str) -> Guide:
    return Guide.of(teacher, data, images, Views.of(settings.augment, settings.seed))


def test_the_same_trial_twice_gives_the_same_numbers(data: Images, teacher: Teacher, tmp_path: Path) -> None:
    settings = study()
    first = curve(settings, data, tmp_path / "a.pt", guide(teacher, data, settings, "twice"))
    # The second finds the cache filled by the first.
    again = guide(teacher, data, settings, "twice")
    assert curve(settings, data, tmp_path / "b.pt", again) == first
    assert again.images_run == 0
    assert curve(settings, data, tmp_path / "c.pt", guide(teacher, data, settings, "twice"), seed=2) != first


def test_trainings_of_one_program_need_the_teacher_once(data: Images, teacher: Teacher, tmp_path: Path) -> None:
    """Whatever their seeds, batch sizes and numbers of images are."""
    views = Views.of(study().augment, 0)
    guided = guide(teacher, data, study(), "shared")

    def run(name: str, *settings: str, seed: int, images: int = 300, order: int | None = None) -> list[float]:
        own = Job(study(*settings), torch.arange(images), torch.arange(300, 450), seed, 4, program=Program(0, order))
        rows: list[dict[str, float]] = []
        train(own, data, guided, rows.append, tmp_path / f"{name}.pt")
        return [row[names.VAL_LOSS] for row in rows]

    first = run("first", seed=1)
    every = torch.arange(300)
    shown = torch.stack([Program(0).draw(views, every, torch.full((300,), turn), 6) for turn in range(4)])
    once = sum(len(torch.unique(shown[:, image])) for image in range(300))
    assert guided.images_run == once
    assert run("another order", seed=2) != first
    run("larger batches", "train.batch_size=64", seed=3)
    run("fewer images", seed=4, images=100)
    run("shorter epochs", "train.epoch_images=200", seed=5)
    # A final of as many epochs has its own arrangement of the same views.
    assert run("final", "budget.epochs=4", seed=6, order=6) != run("other", "budget.epochs=4", seed=6)
    assert guided.images_run == once


@pytest.mark.parametrize("kind", ["none", "crop_flip", "rotation"])
def test_cached_and_online_teacher_give_the_same_curve(
    data: Images, teacher: Teacher, tmp_path: Path, kind: str
) -> None:
    settings = study(f"augment.kind={kind}")
    cached = curve(settings, data, tmp_path / "cached.pt", guide(teacher, data, settings, f"parity {kind}"))
    online = curve(settings, data, tmp_path / "online.pt", Guide(teacher, None, torch.device("cpu")))
    assert cached == online
    assert cached != curve(settings, data, tmp_path / "alone.pt")


def test_a_student_with_dropout_is_the_same_whether_its_teachers_logits_are_cached_or_not(
    data: Images, teacher: Teacher, tmp_path: Path
) -> None:
    settings = study("student.model=lightnn", "precision=fp32", "augment.kind=none")
    cold = curve(settings, data, tmp_path / "cold.pt", guide(teacher, data, settings, "dropout"), until=2)
    warm = curve(settings, data, tmp_path / "warm.pt", guide(teacher, data, settings, "dropout"), until=2)
    assert cold == warm


def test_going_on_from_a_checkpoint_changes_nothing(data: Images, teacher: Teacher, tmp_path: Path) -> None:
    settings = study("train.optimizer=sgd", "train.lr=0.05", "train.schedule=cosine")
    whole = curve(settings, data, tmp_path / "whole.pt", guide(teacher, data, settings, "resume"))
    parts = tmp_path / "parts.pt"
    first = curve(settings, data, parts, guide(teacher, data, settings, "resume"), until=2)
    rest = curve(settings, data, parts, guide(teacher, data, settings, "resume"), until=4, reported=2)
    assert first + rest == whole


MIXED = "augment.kind=crop_flip+trivialaugment+mixup+cutmix"


def test_a_mixed_training_goes_on_as_if_never_interrupted_and_its_teacher_runs_for_each_picture(
    data: Images, teacher: Teacher, tmp_path: Path
) -> None:
    settings = study(MIXED)
    own = guide(teacher, data, settings, "mixed")
    whole = curve(settings, data, tmp_path / "whole.pt", own)
    assert own.images_run == 4 * 300
    curve(settings, data, tmp_path / "cut.pt", guide(teacher, data, settings, "mixed"), until=2)
    rest = curve(settings, data, tmp_path / "cut.pt", guide(teacher, data, settings, "mixed"), reported=2)
    assert rest == whole[2:]
    assert whole != curve(study("augment.kind=crop_flip+trivialaugment"), data, tmp_path / "other.pt", own)


def test_the_teacher_looks_at_the_mixed_picture_that_the_student_sees(data: Images, teacher: Teacher) -> None:
    """Nothing of it comes from logits of the two: those of a mixture are no mixture of logits."""
    settings = study(MIXED)
    own = guide(teacher, data, settings, "seen")
    (batch, *others) = batches(job(settings), data, own, 1, torch.contiguous_format, online=True)
    assert batch.pictures is not None
    assert batch.guide is not None
    assert torch.equal(data.inputs(batch.pictures), batch.inputs)
    assert torch.equal(own.run(batch.pictures).float(), batch.guide)
    assert batch.labels.shape == (32, 10)
    torch.testing.assert_close(batch.labels.sum(1), torch.ones(32))
    assert all(each.labels.is_floating_point() for each in others)
    assert ((batch.labels > 0).sum(1) == 2).any()


def test_a_report_lost_with_its_process_is_repeated_and_not_trained_again(data: Images, tmp_path: Path) -> None:
    saved = tmp_path / "lost.pt"
    whole = curve(study(), data, saved)
    before = saved.stat().st_mtime_ns
    assert curve(study(), data, saved, reported=2) == whole[2:]
    assert saved.stat().st_mtime_ns == before


def test_a_checkpoint_ahead_of_its_leg_tells_no_more_than_the_leg(data: Images, tmp_path: Path) -> None:
    """A search that goes on from an older copy of its ledger finds such checkpoints."""
    saved = tmp_path / "ahead.pt"
    whole = curve(study(), data, saved)
    assert curve(study(), data, saved, until=2) == whole[:2]
    assert curve(study(), data, saved, until=4, reported=2) == whole[2:]


def test_the_returned_model_is_that_of_the_best_epoch(data: Images, tmp_path: Path) -> None:
    rows: list[dict[str, float]] = []
    model = train(job(study("train.lr=0.02"), until=6), data, None, rows.append, tmp_path / "best.pt")
    assert model is not None
    from tune_kd.training.train import validate

    best = max(row[names.VAL_ACCURACY] for row in rows)
    assert validate(model, data, torch.arange(300, 450))[names.VAL_ACCURACY] == best


def test_loss_parts_add_up_by_name(data: Images, teacher: Teacher, tmp_path: Path) -> None:
    settings = study("kd.alpha=0.3", "kd.temperature=2")
    for row in curve(settings, data, tmp_path / "parts.pt", guide(teacher, data, settings, "sum"), until=2):
        total = row[names.WEIGHT_CE] * row[names.LOSS_CE] + row[names.WEIGHT_KD] * row[names.LOSS_KD]
        assert row[names.TRAIN_LOSS] == pytest.approx(total, rel=1e-4)
        assert (row[names.WEIGHT_CE], row[names.WEIGHT_KD]) == (0.7, 0.3)


def test_a_loss_that_is_no_number_ends_the_training(data: Images, tmp_path: Path) -> None:
    with pytest.raises(Diverged, match=r"epoch \d|validation loss"):
        curve(study("train.optimizer=sgd", "train.lr=1e30"), data, tmp_path / "diverged.pt")


def test_the_deadline_ends_a_training_within_its_epoch(data: Images, tmp_path: Path) -> None:
    late = Job(study(), torch.arange(300), torch.arange(300, 450), 1, 4, deadline=0.0)
    assert train(late, data, None, lambda row: None, tmp_path / "late.pt") is None


def test_an_epoch_shows_each_image_once_unless_it_is_told_how_many() -> None:
    generator = torch.Generator().manual_seed(0)
    images = torch.arange(100, 133)
    once = epoch_order(images, study("train.batch_size=8").train, generator)
    assert len(once) == 32  # the last batch would be a single image
    assert len(set(once.tolist())) == 32
    more = epoch_order(images, study("train.epoch_images=80").train, generator)
    assert len(more) == 80
    assert torch.bincount(more - 100).max() == 3


@pytest.mark.parametrize(
    ("settings", "wanted"),
    [
        (["train.schedule=constant"], {1: 0.1, 30: 0.1}),
        (["train.schedule=step", "train.step_epochs=10", "train.gamma=0.5"], {1: 0.1, 10: 0.1, 11: 0.05, 21: 0.025}),
        (["train.schedule=cosine"], {1: 0.1, 16: 0.05}),
        (["train.schedule=milestones"], {1: 0.1, 19: 0.1, 20: 0.01, 30: 0.0001}),
        (["train.warmup_epochs=4"], {1: 0.02, 4: 0.08, 5: 0.1}),
    ],
)
def test_learning_rates(settings: list[str], wanted: dict[int, float]) -> None:
    rates = study("train.lr=0.1", *settings).train
    assert {epoch: pytest.approx(learning_rate(rates, epoch, 30)) for epoch in wanted} == wanted


@pytest.mark.parametrize(
    ("losses", "rate"),
    [
        ([], 0.1),
        ([3.0, 2.0, 2.5], 0.1),
        ([3.0, 2.0, 2.5, 2.2], 0.01),
        ([3.0, 2.0, 2.00001, 1.99999], 0.01),  # rounding is no progress
        ([3.0, 2.0, 2.5, 1.0, 2.5], 0.1),
        ([3.0, 2.0, 2.5, 2.2, 1.0, 1.5, 1.5], 0.001),
    ],
)
def test_the_rate_falls_where_the_validation_loss_does_not(losses: list[float], rate: float) -> None:
    rates = study("train.lr=0.1", "train.schedule=plateau", "train.patience=2").train
    assert learning_rate(rates, len(losses) + 1, 30, losses) == pytest.approx(rate)


def test_a_plateau_is_seen_again_after_an_interruption(data: Images, tmp_path: Path) -> None:
    settings = study("train.schedule=plateau", "train.patience=1", "train.lr=0.3", "augment.kind=none")
    whole = curve(settings, data, tmp_path / "whole.pt", until=6)
    assert whole[-1][names.LEARNING_RATE] < whole[0][names.LEARNING_RATE]
    parts = tmp_path / "parts.pt"
    first = curve(settings, data, parts, until=3)
    assert first + curve(settings, data, parts, until=6, reported=3) == whole


def test_only_the_kernels_of_convolutions_decay() -> None:
    model = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3), torch.nn.BatchNorm2d(2), torch.nn.Linear(2, 2))
    before = copy.deepcopy(model)
    optimizer = make_optimizer(
        model, Train(optimizer="sgd", lr=0.5, momentum=0, weight_decay=0.1, decay="convolutions")
    )
    for weight in model.parameters():
        weight.grad = torch.zeros_like(weight)
    step(optimizer)
    assert torch.allclose(model[0].weight, before[0].weight * 0.95)
    others = zip(list(model.parameters())[1:], list(before.parameters())[1:], strict=True)
    assert all(torch.equal(a, b) for a, b in others)


@pytest.mark.parametrize(("momentum", "nesterov"), [(0.9, True), (0.0, False)])
def test_nesterov_means_something_where_there_is_momentum(momentum: float, nesterov: bool) -> None:
    model = torch.nn.Linear(2, 2)
    optimizer = make_optimizer(model, Train(optimizer="sgd", momentum=momentum, nesterov=True))
    assert optimizer.param_groups[0]["nesterov"] is nesterov


def test_without_validation_images_nothing_is_validated_and_the_training_is_the_same(
    data: Images, tmp_path: Path
) -> None:
    settings = study("train.keep=last")
    alone = dataclasses.replace(job(settings), validation=torch.arange(0))
    rows: list[dict[str, float]] = []
    train(alone, data, None, rows.append, tmp_path / "alone.pt")
    seen = curve(settings, data, tmp_path / "seen.pt")
    assert all(math.isnan(row[names.VAL_ACCURACY]) for row in rows)
    assert [row[names.TRAIN_LOSS] for row in rows] == [row[names.TRAIN_LOSS] for row in seen]


def test_which_test_images_were_right_is_kept_a_bit_each(data: Images) -> None:
    model = build("digits_student", classes=10, in_shape=data.shape)
    scores = scores_on_test(model, data, torch.arange(301, 412), None)
    count, _, bits = scores[names.CORRECT].partition(":")
    right = np.unpackbits(np.frombuffer(base64.b64decode(bits), np.uint8), count=int(count))
    assert len(right) == 111
    assert right.mean() == pytest.approx(scores[names.TEST_ACCURACY])


def test_seeds_differ_by_what_they_are_for() -> None:
    assert len({derive(0, "trial", k) for k in range(100)} | {derive(0, "final", 0), derive(1, "trial", 0)}) == 102


@pytest.mark.parametrize("keep", ["best", "last"])
def test_the_weights_that_are_kept(data: Images, tmp_path: Path, keep: str) -> None:
    # A rate at which the accuracy goes up and down, so that the last epoch is not the best one.
    settings = study(f"train.keep={keep}", "train.lr=0.01", "augment.kind=none")
    values: list[float] = []
    whole = job(settings, until=12)
    model = train(whole, data, None, lambda row: values.append(row[names.VAL_ACCURACY]), tmp_path / "s.pt")
    assert model is not None
    assert max(values) != values[-1]
    kept = validate(model, data, whole.validation)[names.VAL_ACCURACY]
    assert kept == (max(values) if keep == "best" else values[-1])


def test_the_best_epoch_is_that_of_the_studys_metric(
    data: Images, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = study("objective.metric=balanced_accuracy", "augment.kind=none")
    first = train(job(settings, until=1), data, None, lambda row: None, tmp_path / "one.pt")
    epochs = iter(range(3))

    def better_and_worse(*_: object) -> dict[str, float]:
        epoch = next(epochs)
        return {names.VAL_ACCURACY: 0.1 * epoch, names.VAL_BALANCED: -0.1 * epoch, names.VAL_LOSS: 1.0}

    monkeypatch.setattr("tune_kd.training.train.validate", better_and_worse)
    kept = train(job(settings, until=3), data, None, lambda row: None, tmp_path / "three.pt")
    assert first is not None
    assert kept is not None
    assert all(torch.equal(one, other) for one, other in zip(first.parameters(), kept.parameters(), strict=True))


def test_an_epoch_is_the_same_in_small_blocks_as_in_large_ones(
    data: Images, teacher: Teacher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = study("augment.kind=crop_flip+colour")
    whole = curve(settings, data, tmp_path / "whole.pt", guide(teacher, data, settings, "blocks"), until=2)
    monkeypatch.setitem(BLOCK_BYTES, "cpu", 1)  # one batch a block
    parts = curve(settings, data, tmp_path / "parts.pt", guide(teacher, data, settings, "blocks"), until=2)
    assert parts == whole


@pytest.mark.parametrize("kind", ["crop_flip+colour", "resized_crop+trivialaugment", "crop+mixup+cutmix"])
def test_an_epoch_is_the_same_with_the_next_batch_made_beside_it(
    kind: str, data: Images, teacher: Teacher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To the bit, also where the teacher is made meanwhile, and a student with dropout draws from torch's chance."""
    settings = study(f"augment.kind={kind}", "student.model=lightnn")
    told, beside = [], []
    real = ahead
    monkeypatch.setattr("tune_kd.training.batches.ahead", lambda made, large: real(made, beside[-1]))
    monkeypatch.setitem(BLOCK_BYTES, "cpu", 1)
    for number, each in enumerate((False, True)):
        beside.append(each)
        own = guide(teacher, data, settings, f"beside{number}")
        told.append(curve(settings, data, tmp_path / f"{number}.pt", own, until=2))
    assert told[0] == told[1]


def test_what_is_made_beside_comes_in_order_one_ahead_and_with_its_errors() -> None:
    asked: list[int] = []

    def some() -> Iterator[int]:
        for number in range(3):
            asked.append(threading.get_ident())
            yield number
        raise OSError("the disk is gone")

    made = ahead(some(), beside=True)
    assert [next(made) for _ in range(3)] == [0, 1, 2]
    assert threading.get_ident() not in asked
    with pytest.raises(OSError, match="the disk is gone"):
        next(made)
    early = ahead(iter(range(9)), beside=True)
    assert next(early) == 0
    early.close()  # type: ignore[attr-defined]
    assert not [each for each in threading.enumerate() if each.name.startswith("next batch")]


def test_a_training_in_bf16_goes_on_as_if_never_interrupted_and_its_weights_stay_fp32(
    data: Images, teacher: Teacher, tmp_path: Path
) -> None:
    settings = study("precision=bf16")
    whole = curve(settings, data, tmp_path / "whole.pt", guide(teacher, data, settings, "bf16"), until=2)
    first = curve(settings, data, tmp_path / "parts.pt", guide(teacher, data, settings, "bf16"), until=1)
    rest = curve(settings, data, tmp_path / "parts.pt", guide(teacher, data, settings, "bf16"), until=2, reported=1)
    assert first + rest == whole
    other = curve(study("precision=fp32"), data, tmp_path / "fp32.pt", guide(teacher, data, settings, "bf16"), until=2)
    assert whole != other
    assert whole[-1][names.TRAIN_LOSS] == pytest.approx(other[-1][names.TRAIN_LOSS], rel=0.1)
    weights = torch.load(tmp_path / "whole.pt", weights_only=True)["model"]
    assert {value.dtype for value in weights.values()} == {torch.float32}


def test_training_leaves_the_compiler_out() -> None:
    """Torch imports it at an optimizer's first step: two seconds and 200 MB of every worker."""
    code = """
import sys, torch
from tune_kd.training.optim import make_optimizer, step
from tune_kd.space.schema import Augment, Train
for kind in ("sgd", "adam", "adamw"):
    model = torch.nn.Linear(2, 2)
    optimizer = make_optimizer(model, Train(optimizer=kind))
    for _ in range(2):
        optimizer.zero_grad(set_to_none=True)
        model(torch.ones(1, 2)).sum().backward()
        step(optimizer)
    optimizer.load_state_dict(optimizer.state_dict())
assert "torch._dynamo" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("kind", ["sgd", "adam", "adamw"])
def test_a_step_is_the_optimizers_own(kind: str) -> None:
    torch.manual_seed(0)
    ours = torch.nn.Linear(4, 3)
    theirs = copy.deepcopy(ours)
    settings = Train(optimizer=kind, weight_decay=0.01)  # type: ignore[arg-type]
    optimizers = [make_optimizer(model, settings) for model in (ours, theirs)]
    for _ in range(3):
        for model, optimizer in zip((ours, theirs), optimizers, strict=True):
            optimizer.zero_grad(set_to_none=True)
            model(torch.ones(2, 4)).square().sum().backward()
            step(optimizer) if model is ours else optimizer.step()
    assert all(torch.equal(a, b) for a, b in zip(ours.parameters(), theirs.parameters(), strict=True))
    assert torch.is_grad_enabled()


class Recorder(torch.nn.Module):
    """Keeps what it was last shown."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.classes = classes
        self.shown = torch.empty(0)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        self.shown = inputs
        return inputs.new_zeros(len(inputs), self.classes)


def test_the_students_crop_is_the_teachers_crop_at_its_own_size(monkeypatch: pytest.MonkeyPatch) -> None:
    """A bright square tells where a view was cut; both networks must see it at the same place, at either size."""
    pixels = torch.zeros(6, 3, 32, 32, dtype=torch.uint8)
    for number in range(6):
        pixels[number, :, 4 * number : 4 * number + 8, 20 - 2 * number : 28 - 2 * number] = 255
    data = Images(pixels, torch.arange(6) % 2, (0.0,) * 3, (1.0,) * 3, 2)
    views = Views.of(Augment(kind="crop_flip"), 0)
    index, view = torch.arange(6), torch.tensor([0, 17, 81, 100, 155, 161])
    pictures = views.render(data.images, index, view)
    large, small = Recorder(2), data.seen(data.mean, data.std, 8)
    monkeypatch.setattr(Teacher, "module", lambda self, device: large)
    Guide(Teacher("recorder", {}, data.mean, data.std, (3, 16, 16), 2), None, torch.device("cpu")).run(pictures)
    seen_by_teacher, seen_by_student = large.shown[:6], small.inputs(pictures)
    assert seen_by_teacher.shape[-1] == 16
    assert seen_by_student.shape[-1] == 8
    rows, columns = torch.arange(16.0), torch.arange(8.0)
    for number in range(6):
        for axis in (0, 1):
            teachers, students = (seen[number, 0].sum(axis) for seen in (seen_by_teacher, seen_by_student))
            centre = float(((rows + 0.5) * teachers).sum() / teachers.sum()) / 16
            assert abs(centre - float(((columns + 0.5) * students).sum() / students.sum()) / 8) < 0.01
    # Another view of the same images is another picture for both.
    assert not torch.equal(small.inputs(views.render(data.images, index, view * 0)), seen_by_student)

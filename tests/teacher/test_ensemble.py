"""Several teachers, and assistants between teacher and student."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.distill.twins import divergence, mean, soft
from tune_kd import names, plan
from tune_kd.data.views import Views
from tune_kd.distill.ensemble import mixed, weights
from tune_kd.distill.logits import kd
from tune_kd.errors import InputError
from tune_kd.execution import teaching
from tune_kd.execution.teaching import Maker
from tune_kd.models import build
from tune_kd.objects import NOTHING_TO_CARRY
from tune_kd.preparation import prepare
from tune_kd.space.load import dump, load
from tune_kd.space.study import cells, constants, resolve, taught_by
from tune_kd.storage.stores import Storage
from tune_kd.teacher.ensemble import Ensemble, Guides
from tune_kd.teacher.guide import Guide
from tune_kd.teacher.making import Teacher
from tune_kd.training.images import Images
from tune_kd.training.train import Job, train

IMAGES, TEACHERS, CLASSES = 7, 3, 5
ACCURACIES = (0.9, 0.5, 0.1)


def answers() -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    told = 3 * torch.randn(IMAGES, TEACHERS, CLASSES, generator=generator)
    return told, torch.randn(IMAGES, CLASSES, generator=generator), torch.arange(IMAGES) % CLASSES


def shares(kind: str, told: Tensor, label: int) -> Tensor:
    """Of one image, in float64."""
    if kind == "validation":
        found = torch.tensor(ACCURACIES, dtype=torch.float64)
        return found / found.sum()
    if kind == "confidence":
        wrong = torch.stack([-soft(one, 1.0)[label].log() for one in told]).exp()
        return (1 - wrong / wrong.sum()) / (len(told) - 1)
    return torch.full((len(told),), 1 / len(told), dtype=torch.float64)


@pytest.mark.parametrize("kind", ["equal", "validation", "confidence"])
@pytest.mark.parametrize("averaged", ["probabilities", "logits"])
@pytest.mark.parametrize("warmth", [0.5, 1.0, 4.0])
def test_kd_from_several_equals_its_formula_written_out_in_float64(kind: str, averaged: str, warmth: float) -> None:
    told, student, labels = answers()
    answer = mixed(told, weights(kind, told, labels, ACCURACIES), averaged, warmth)
    expected = []
    for image, (each, own, label) in enumerate(zip(told.double(), student.double(), labels.tolist(), strict=True)):
        share = shares(kind, each, label)
        if averaged == "logits":
            wanted = soft(sum(w * one for w, one in zip(share, each, strict=True)), warmth)
        else:
            wanted = sum((w * soft(one, warmth) for w, one in zip(share, each, strict=True)), torch.zeros(CLASSES))
        torch.testing.assert_close((answer[image] / warmth).softmax(0).double(), wanted, rtol=1e-4, atol=1e-7)
        expected.append(divergence(wanted, soft(own, warmth)))
    assert kd(student, answer, warmth).item() == pytest.approx(warmth**2 * mean(expected).item(), rel=1e-4)


def test_whoever_is_sure_of_what_is_wrong_hardly_counts() -> None:
    told = torch.tensor([[[9.0, 0.0], [0.0, 9.0], [0.0, 0.0]]])
    (share,) = weights("confidence", told, torch.tensor([0]), ())
    assert share.sum() == pytest.approx(1)
    assert share[1] < 1e-3 < 0.49 < share[2] < share[0]


@pytest.mark.parametrize("scale", [0.0, 4e3])
def test_no_scale_makes_it_infinite(scale: float) -> None:
    told, _, labels = answers()
    for kind in ("equal", "validation", "confidence"):
        for averaged in ("probabilities", "logits"):
            share = weights(kind, scale * told, labels, ACCURACIES)
            assert torch.isfinite(mixed((scale * told).half(), share, averaged, 1.0)).all()


@pytest.fixture(scope="module")
def data() -> Images:
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (80, 1, 8, 8), generator=generator).byte()
    return Images(pixels, torch.arange(80) % 10, (0.4,), (0.3,), 10)


@pytest.fixture(scope="module")
def teachers() -> Ensemble:
    torch.manual_seed(0)
    made = [build("digits_student", classes=10, in_shape=(1, 8, 8)) for _ in range(2)]
    members = (Teacher("digits_student", each.state_dict(), (0.5,), (0.25,), (1, 8, 8), 10) for each in made)
    return Ensemble(tuple(members), (0.9, 0.6))


def test_each_teachers_logits_are_cached_as_those_of_one(data: Images, teachers: Ensemble, tmp_path: Path) -> None:
    settings = load("study: s\ntrain: {batch_size: 20}\nprecision: fp32\nbudget: {trials: 1, epochs: 2}\n")
    views = Views.of(settings.augment, settings.seed)

    def guides() -> list[Guide]:
        return [Guide.of(each, data, "several", views) for each in teachers.members]

    def curve(teacher: Any, *more: str) -> list[float]:
        rows: list[dict[str, float]] = []
        own = load(dump(settings), ["teachers=[{model: digits_student}]", *more])
        train(
            Job(own, torch.arange(60), torch.arange(60, 80), 1, 2), data, teacher, rows.append, tmp_path / f"{more}.pt"
        )
        return [row[names.LOSS_KD] for row in rows]

    several = guides()
    together = curve(Guides(several, teachers.accuracies))
    assert [each.images_run for each in several] == [60, 60]
    # Another search, with one of them, finds what was run for both.
    one = guides()[1]
    alone = curve(one, "kd.teachers=1")
    assert one.images_run == 0
    assert together != alone
    assert curve(Guides(guides(), teachers.accuracies), "kd.teachers_weight=validation") != together


def test_a_second_teacher_can_be_a_condition(teachers: Ensemble) -> None:
    study = load("study: s\nteachers: [{model: digits_student, epochs: 3}]\nconditions: {kd.teachers: [1, 2]}\n")
    assert cells(study) == ({"kd.teachers": 1}, {"kd.teachers": 2})
    asked = [taught_by(study, resolve(study, constants(study) | cell), names.DISTILLED) for cell in cells(study)]
    assert asked == [(0,), (0, 1)]
    assert taught_by(study, study, names.DISTILLED) == (0, 1)
    assert teachers.right(asked[1]) == (0.9, 0.6)
    assert load(dump(study)) == study


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("kd: {teachers_mean: logits}", "kd.teachers_mean = .*is for several teachers"),
        ("conditions: {kd.teachers: [1, 2]}", "kd.teachers = .*is for several teachers"),
        ("teachers: [{model: lightnn}]\nconditions: {kd.teachers: [1, 3]}", "more than there are: 2"),
        ("teachers: [{model: lightnn, tune: head}]", r"teachers\[1\].tune = .*is for pretrained weights"),
        ("teachers: [{augment: {kind: crops}}]", r"teachers\[1\].augment.kind = "),
        ("teachers: [{modle: lightnn}]", "keys: model, checkpoint"),
        ("teacher: {checkpoint: t.pt, through: [lightnn]}\ndata: {split: {teacher: 0}}", "assistants are trained on"),
    ],
)
def test_what_does_not_fit_is_refused(text: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        load(f"study: s\n{text}\n")


CHAIN = """
study: chain
data: {drawn: 60, evaluate_on: [scanned], teacher_on: [scanned]}
teacher: {model: digits_student, epochs: 2, through: [digits_student_tiny, digits_student], train: {lr: 0.01}}
teachers: [{model: digits_student_tiny, epochs: 1}]
kd: {alpha: 0.9}
"""


def test_assistants_are_taught_by_whoever_came_before_and_the_last_one_teaches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(teaching, "pick_device", lambda study: torch.device("cpu"))  # it would ask Ray
    monkeypatch.setenv("TUNE_KD_CACHE", str(tmp_path / "cache"))
    study = load(CHAIN)
    prepared = prepare(plan.make(study), lambda text: None)
    shared = prepared, (None, None), Storage.at(str(tmp_path)).marked(), None, NOTHING_TO_CARRY, 1
    other = prepared, (None, None), Storage.at(str(tmp_path / "other")).marked(), None, NOTHING_TO_CARRY, 1
    maker = Maker()
    taught = maker.make(study, *shared)
    heard = maker.heard(0)
    whose = ["teacher 1"] * 2 + ["assistant 1 of teacher 1"] * 2 + ["assistant 2 of teacher 1"] * 2 + ["teacher 2"]
    assert [lesson.whose for lesson in heard] == whose
    assert [lesson.metrics[names.LOSS_KD] > 0 for lesson in heard] == [False] * 2 + [True] * 4 + [False]
    assert [lesson.metrics[names.WEIGHT_KD] for lesson in heard[2:6]] == [0.9] * 4
    assert [each.model for each in taught.teachers.members] == ["digits_student", "digits_student_tiny"]
    facts = taught.facts
    assert [part.split()[0] for part in str(facts["through_1"]).split(" → ")] == [
        "digits_student", "digits_student_tiny", "digits_student",
    ]  # fmt: skip
    assert facts[names.PARAMETERS] == sum(
        sum(value.numel() for value in each.weights.values()) for each in taught.teachers.members
    )
    assert 0 < facts[names.TEST_ACCURACY] <= 1
    # A machine that takes over trains nothing again: it comes to the same teachers.
    again = Maker().make(study, *shared)
    assert again.teachers.digest == taught.teachers.digest
    assert again.facts[names.TEST_ACCURACY] == facts[names.TEST_ACCURACY]
    # One of the same kind is another one.
    twice = Maker().make(
        load(CHAIN, ["teacher.through=[]", "teachers=[{model: digits_student, epochs: 2, train: {lr: 0.01}}]"]), *other
    )
    assert twice.teachers.members[0].digest != twice.teachers.members[1].digest
    # Without assistants the first is another one.
    alone = Maker().make(load(CHAIN, ["teacher.through=[]"]), *shared)
    assert alone.teachers.members[0].digest != taught.teachers.members[0].digest
    assert alone.teachers.members[1].digest == taught.teachers.members[1].digest

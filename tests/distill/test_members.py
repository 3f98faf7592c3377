"""What every method has to stand, whoever adds it: a member of the table is a member here, with a twin of its own."""

import functools
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.distill import twins
from tune_kd import names
from tune_kd.data.views import Views
from tune_kd.distill import taps
from tune_kd.distill.distiller import own_settings, rebuilt, temperature
from tune_kd.distill.method import Given, Method, Seen, class_of, make
from tune_kd.distill.reuse import Reused
from tune_kd.errors import InputError
from tune_kd.models import build
from tune_kd.space import methods
from tune_kd.space.load import load
from tune_kd.space.schema import Distillation
from tune_kd.space.study import Study
from tune_kd.teacher.guide import Guide
from tune_kd.teacher.making import Teacher
from tune_kd.training.export import FromPixels, program
from tune_kd.training.images import Images
from tune_kd.training.method import Trainee, as_trained, method_for
from tune_kd.training.optim import make_optimizer
from tune_kd.training.step import Batch, Step, joined
from tune_kd.training.train import Job, predict, train

CLASSES, SHAPE, IMAGES = 10, (1, 8, 8), 96
TIME = (names.SECONDS, names.IMAGES_PER_SECOND)
MEMBERS = tuple(methods.METHODS)


@pytest.fixture(scope="module")
def networks() -> tuple[nn.Module, nn.Module]:
    torch.manual_seed(0)
    student, teacher = (build(f"digits_{name}", classes=CLASSES, in_shape=SHAPE) for name in ("student", "teacher"))
    return student, teacher.eval().requires_grad_(False)


def fresh(name: str) -> nn.Module:
    assert name == methods.SAME
    return build("digits_student", classes=CLASSES, in_shape=SHAPE)


def given(networks: tuple[nn.Module, nn.Module], name: str, **chosen: Any) -> tuple[Method, Distillation]:
    settings = load("study: s\n", [f"kd.method={name}", *(f"kd.{key}={value}" for key, value in chosen.items())]).kd
    looks = [taps.network(each, SHAPE, torch.device("cpu")) for each in networks] if class_of(name).features else []
    own = own_settings(settings, name)
    if class_of(name).rebuilds:
        built = rebuilt(settings, looks[0], looks[1], 3)
        assert built is not None
        looks[0] = taps.network(built, SHAPE, torch.device("cpu"))
    made = make(name, Given(temperature(settings), 4, CLASSES, IMAGES, 3, settings.layers, fresh, *looks), own)
    return made, settings


def seen(networks: tuple[nn.Module, nn.Module], method: Method, number: int, scale: float = 1.0) -> list[Seen]:
    generator = torch.Generator().manual_seed(number)
    found = []
    looked_at = method.given.student
    networks = (looked_at.module if looked_at is not None else networks[0], networks[1])
    for network, paths in zip(networks, (method.taps.student, method.taps.teacher), strict=True):
        logits = torch.randn(number, CLASSES, generator=generator) * 3 * scale
        pictures = torch.randn(number, *SHAPE, generator=generator)
        _, maps = taps.run(network.eval(), pictures, paths)
        maps = {path: each.detach() * scale for path, each in maps.items()}
        found.append(Seen(logits, maps, torch.arange(number), functools.partial(run, scale * pictures)))
    return found


def run(pictures: Tensor, network: nn.Module) -> Tensor:
    found: Tensor = network(pictures.to(next(network.parameters()).dtype))
    return found


def leaves(seen: Seen) -> list[Tensor]:
    return [seen.logits.requires_grad_(), *(each.requires_grad_() for each in seen.maps.values())]


def doubled(seen: Seen) -> Seen:
    maps = {path: each.detach().double() for path, each in seen.maps.items()}
    return Seen(seen.logits.detach().double(), maps, seen.index, seen.run)


def test_every_method_has_a_twin() -> None:
    assert set(twins.TWINS) == set(MEMBERS)


@pytest.mark.parametrize("name", MEMBERS)
@pytest.mark.parametrize("warmth", [1.0, 4.0])
def test_it_equals_its_formula_written_out_in_float64(
    networks: tuple[nn.Module, nn.Module], name: str, warmth: float
) -> None:
    method, settings = given(networks, name, temperature=warmth)
    student, teacher = seen(networks, method, 12)
    labels = torch.arange(12) % CLASSES
    ours = leaves(student)
    own = {key: value.detach().double() for key, value in method.state_dict().items()}
    torch.manual_seed(0)
    told = sum(method.term(student, teacher, labels, 1).values())
    twin_student, twin_teacher = doubled(student), doubled(teacher)
    theirs = leaves(twin_student)
    torch.manual_seed(0)
    expected = twins.TWINS[name](twin_student, twin_teacher, labels, settings, own, method)
    assert told.item() == pytest.approx(expected.item(), rel=1e-4)
    found, wanted = (
        torch.autograd.grad(value, each, allow_unused=True) for value, each in ((told, ours), (expected, theirs))
    )
    assert any(each is not None for each in found)
    for mine, its in zip(found, wanted, strict=True):
        assert (mine is None) == (its is None)
        if mine is not None and its is not None:
            torch.testing.assert_close(mine.double(), its, rtol=1e-3, atol=1e-6 * max(1.0, float(its.abs().max())))


@pytest.mark.parametrize("name", MEMBERS)
@pytest.mark.parametrize("warmth", [0.5, 1.0, 100.0])
@pytest.mark.parametrize(("number", "scale"), [(2, 1.0), (8, 1e3), (8, 0.0), (7, 1.0)])
def test_no_scale_no_temperature_and_no_batch_makes_it_infinite(
    networks: tuple[nn.Module, nn.Module], name: str, warmth: float, number: int, scale: float
) -> None:
    method, _ = given(networks, name, temperature=warmth)
    student, teacher = seen(networks, method, number, scale)
    ours = leaves(student)
    labels = torch.arange(number) % 5  # some classes are in no batch
    told = sum(method.term(student, teacher, labels, 1).values())
    assert torch.isfinite(told)
    for gradient in torch.autograd.grad(told, ours, allow_unused=True):
        assert gradient is None or torch.isfinite(gradient).all()


@pytest.fixture(scope="module")
def data() -> Images:
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(IMAGES + 40) % CLASSES
    patterns = torch.randint(0, 200, (CLASSES, *SHAPE), generator=generator)
    noise = torch.randint(0, 56, (IMAGES + 40, *SHAPE), generator=generator)
    return Images((patterns[labels] + noise).byte(), labels, (0.4,), (0.3,), CLASSES)


@pytest.fixture(scope="module")
def teacher(data: Images, networks: tuple[nn.Module, nn.Module]) -> Teacher:
    return Teacher("digits_teacher", networks[1].state_dict(), (0.5,), (0.25,), SHAPE, CLASSES)


def study(name: str, *settings: str) -> Study:
    text = "study: s\ntrain: {lr: 0.003, batch_size: 24}\naugment: {kind: crop_flip, pad: 1}\n"
    return load(text + "budget: {trials: 1, epochs: 4}\n", [f"kd.method={name}", "precision=fp32", *settings])


def guide(teacher: Teacher, data: Images, settings: Study) -> Guide:
    return Guide.of(teacher, data, "members", Views.of(settings.augment, settings.seed))


def curve(settings: Study, data: Images, teacher: Teacher, saved: Path, until: int, reported: int = 0) -> Any:
    rows: list[dict[str, float]] = []
    job = Job(settings, torch.arange(IMAGES), torch.arange(IMAGES, IMAGES + 40), 1, until, reported)
    model = train(job, data, guide(teacher, data, settings), rows.append, saved)
    return model, [{key: value for key, value in row.items() if key not in TIME} for row in rows]


@pytest.mark.parametrize("name", MEMBERS)
def test_a_training_goes_on_as_if_never_interrupted_and_leaves_the_student_alone(
    data: Images, teacher: Teacher, tmp_path: Path, name: str
) -> None:
    settings = study(name)
    model, whole = curve(settings, data, teacher, tmp_path / "whole.pt", 3)
    _, first = curve(settings, data, teacher, tmp_path / "parts.pt", 1)
    _, rest = curve(settings, data, teacher, tmp_path / "parts.pt", 3, 1)
    assert first + rest == whole
    states = [torch.load(tmp_path / f"{each}.pt", weights_only=True) for each in ("whole", "parts")]
    for part in ("model", "method"):
        assert states[0].get(part, {}).keys() == states[1].get(part, {}).keys()
        assert all(torch.equal(value, states[1][part][key]) for key, value in states[0].get(part, {}).items())
    # Nothing of the method is in what is kept, exported or counted, unless it is there to stay.
    plain = build("digits_student", classes=CLASSES, in_shape=SHAPE)
    plain = as_trained(settings, plain, (SHAPE, SHAPE), CLASSES)
    assert isinstance(plain, Reused) == class_of(name).rebuilds
    assert model.state_dict().keys() == plain.state_dict().keys() == states[0]["best"].keys()
    torch.export.save(program(FromPixels(model.eval(), data.mean, data.std).eval(), SHAPE), tmp_path / "model.pt2")
    loaded = torch.export.load(tmp_path / "model.pt2").module()
    with torch.no_grad():
        found = loaded(data.images[:20])
    torch.testing.assert_close(found, predict(model, data, torch.arange(20)), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", MEMBERS)
def test_it_trains_in_bf16_with_weights_in_fp32(data: Images, teacher: Teacher, tmp_path: Path, name: str) -> None:
    _, exact = curve(study(name), data, teacher, tmp_path / "exact.pt", 1)
    _, rough = curve(study(name, "precision=bf16"), data, teacher, tmp_path / "rough.pt", 1)
    assert rough != exact
    assert rough[0][names.TRAIN_LOSS] == pytest.approx(exact[0][names.TRAIN_LOSS], rel=0.2)
    state = torch.load(tmp_path / "rough.pt", weights_only=True)
    assert {v.dtype for part in ("model", "method") for v in state.get(part, {}).values() if v.is_floating_point()} == {
        torch.float32
    }


@pytest.mark.parametrize("name", MEMBERS)
def test_a_step_moves_the_student_and_the_methods_parts_and_nothing_of_the_teacher(
    data: Images, teacher: Teacher, name: str
) -> None:
    settings = study(name)
    torch.manual_seed(0)
    model = build("digits_student", classes=CLASSES, in_shape=SHAPE)
    model, distiller, online = method_for(
        Trainee(model, SHAPE, CLASSES, IMAGES, 5, 4, fresh), settings.kd, guide(teacher, data, settings)
    )
    optimizer = make_optimizer(joined(model, distiller), settings.train)
    step = Step(model, optimizer, settings, "fp32", distiller, online)
    pictures = data.images[:24].float()
    inputs = (pictures / 255 - 0.4) / 0.3
    logits = torch.randn(24, CLASSES).half().requires_grad_()
    before = [each.detach().clone() for each in joined(model, distiller).parameters()]
    step(Batch(inputs, data.labels[:24], logits, 1, torch.arange(24), pictures))
    assert logits.grad is None
    for own, (path, now) in zip(before, joined(model, distiller).named_parameters(), strict=True):
        assert torch.equal(own, now) != now.requires_grad, path
    if online is not None:
        assert all(each.grad is None for each in online.module.parameters())
        assert not online.module.training


@pytest.mark.parametrize("name", MEMBERS)
def test_an_image_mixed_of_two_is_learned_from_or_refused(
    data: Images, teacher: Teacher, tmp_path: Path, name: str
) -> None:
    known, kind = methods.METHODS[name], class_of(name)
    assert all(getattr(known, each) == getattr(kind, each) for each in methods.KINDS)
    if known.one_label:
        with pytest.raises(InputError, match=rf"kd.method {name} asks for the one label of an image. Leave mixup"):
            study(name, "augment.kind=flip+mixup")
        return
    settings = study(name, "augment.kind=flip+mixup+cutmix")
    _, rows = curve(settings, data, teacher, tmp_path / "mixed.pt", 2)
    assert all(math.isfinite(row[names.LOSS_KD]) for row in rows)
    assert rows != curve(study(name, "augment.kind=flip"), data, teacher, tmp_path / "plain.pt", 2)[1]

"""What is learned against the student, and steps that are recorded only once nothing changes."""

import torch

from tests.training.test_graph import BATCH, Again, dropping, study
from tune_kd.distill.adversarial import Adversarial
from tune_kd.distill.distiller import Distiller, temperature
from tune_kd.distill.method import Given, Seen, make
from tune_kd.distill.schedules import Schedule
from tune_kd.training.graph import WARM_STEPS, RecordedStep
from tune_kd.training.optim import make_optimizer
from tune_kd.training.step import Batch, Step, joined

SETTINGS = {"ctkd_lowest": 1.0, "ctkd_span": 20.0, "ctkd_epochs": 4}


def given() -> Given:
    return Given(temperature(study().kd), 9, 10, 64, 0)


def test_the_temperature_goes_up_the_loss_and_faster_with_every_epoch() -> None:
    student, teacher = (Seen(torch.randn(32, 10, generator=torch.Generator().manual_seed(seed)) * 3) for seed in (0, 1))
    labels = torch.arange(32) % 10
    slopes = []
    for epoch in (1, 2, 4, 9):
        method = make("ctkd", given(), SETTINGS)
        (slope,) = torch.autograd.grad(method.term(student, teacher, labels, epoch)["ctkd"], list(method.parameters()))
        slopes.append(float(slope))
    method = make("ctkd", given(), SETTINGS)
    (place,) = method.parameters()
    losses = []
    for move in (0.0, 0.1):
        place.data.add_(move)
        losses.append(method.term(student, teacher, labels, 9)["ctkd"].item())
    assert (losses[1] - losses[0]) * slopes[-1] < 0  # an optimizer goes down this slope, so up the loss
    assert abs(slopes[0]) < abs(slopes[1]) < abs(slopes[2]) == abs(slopes[3])


def test_steps_are_recorded_only_once_the_method_is_steady() -> None:
    settings = study("kd.method=ctkd", "kd.ctkd_epochs=3")
    torch.manual_seed(0)
    model = dropping(10, (1, 8, 8))
    distiller = Distiller.of(settings.kd, given())
    ordinary = Step(model, make_optimizer(joined(model, distiller), settings.train), settings, "fp32", distiller)
    step = RecordedStep(ordinary, Again())
    for epoch in (1, 2, 3):
        for _ in range(WARM_STEPS + 3):
            step(Batch(torch.randn(BATCH, 1, 8, 8), torch.arange(BATCH) % 10, torch.randn(BATCH, 10), epoch))
        assert (step.replayed > 0) == (epoch == 3)
    assert step.given_up == ""


def test_a_discriminator_learns_by_itself_to_tell_the_teacher() -> None:
    generator = torch.Generator().manual_seed(0)
    own = {"adversarial_lr": 0.01, "adversarial_steps": 3, "adversarial_hidden": 16}
    method = make("adversarial", Given(Schedule(1.0), 4, 10, 90, 1), own)
    assert isinstance(method, Adversarial)
    assert not list(method.parameters())  # the student's optimizer has no say in it

    def answers(spread: float) -> Seen:
        return Seen(spread * torch.randn(64, 10, generator=generator))

    for _ in range(60):
        method.term(answers(0.5), answers(5.0), torch.arange(64) % 10, 1)
    told = [torch.sigmoid(method.judge(answers(spread).logits.softmax(1))[1]).mean() for spread in (0.5, 5.0)]
    assert told[0] < 0.2 < 0.8 < told[1]

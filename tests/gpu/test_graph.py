"""A recording on a real card obeys the rate, draws its own chance, and costs no other model anything where it fails."""

import pytest
import torch
from torch import Tensor, nn

from tests.gpu.setting import GPU, SHAPE
from tests.training.test_graph import BATCH, dropping, study
from tune_kd.training import graph as recording
from tune_kd.training.graph import WARM_STEPS, CudaRecorder, RecordedStep
from tune_kd.training.optim import make_optimizer, set_rate
from tune_kd.training.step import Batch, Step


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_recorded_steps_are_used_and_learn_the_same(optimizer: str, precision: str) -> None:
    device = GPU
    settings = study(f"train.optimizer={optimizer}")
    generator = torch.Generator().manual_seed(0)
    batches = [torch.randn(BATCH, *SHAPE, generator=generator).to(device) for _ in range(20)]
    labels = (torch.arange(BATCH) % 10).to(device)
    guided = torch.randn(BATCH, 10, generator=generator).to(device)
    losses = {}
    for recorded in (False, True):
        torch.manual_seed(0)
        model = dropping(10, SHAPE).to(device)
        ordinary = Step(model, make_optimizer(model, settings.train), settings, precision)  # type: ignore[arg-type]
        step = RecordedStep(ordinary, CudaRecorder()) if recorded else ordinary
        torch.manual_seed(1)
        told = []
        for number, inputs in enumerate(batches):
            set_rate(ordinary.optimizer, 0.01 / (1 + number // 10))
            told.append(step(Batch(inputs, labels, guided, 1)))
        losses[recorded] = torch.stack(told).cpu()
        if isinstance(step, RecordedStep):
            assert step.given_up == ""
            assert step.replayed == len(batches) - WARM_STEPS - 1
            # It obeys a rate that was changed after it was recorded.
            set_rate(ordinary.optimizer, 0.0)
            before = [weight.detach().clone() for weight in model.parameters()]
            step(Batch(batches[0], labels, guided, 1))
            assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))
    assert torch.allclose(losses[False], losses[True], rtol=0.05)


class Waiting(nn.Module):
    """Waits for the device in each step, which cannot be recorded."""

    def __init__(self) -> None:
        super().__init__()
        self.inside = dropping(10, SHAPE)

    def forward(self, pictures: Tensor) -> Tensor:
        return self.inside(pictures) * (1 + 0 * pictures.sum().item())  # type: ignore[no-any-return]


@pytest.mark.parametrize("seen", [True, False], ids=["seen before", "while it is recorded"])
def test_a_model_that_cannot_be_recorded_trains_and_keeps_no_other_from_it(
    monkeypatch: pytest.MonkeyPatch, seen: bool
) -> None:
    monkeypatch.setattr(recording, "_unrecordable", set())
    if not seen:
        monkeypatch.setattr(CudaRecorder, "watched", CudaRecorder.aside)
    settings, device = study(), GPU
    batch = Batch(torch.randn(BATCH, *SHAPE, device=device), (torch.arange(BATCH) % 10).to(device), None, 1)
    for model, recorded in ((Waiting(), False), (dropping(10, SHAPE), True)):
        model.to(device)
        step = RecordedStep(Step(model, make_optimizer(model, settings.train), settings, "fp32"), CudaRecorder())
        losses = [float(step(batch)[0]) for _ in range(30)]
        print(step.given_up)
        assert losses[-1] < losses[0]
        assert (step.replayed > 0) == recorded
    assert torch.cuda.current_stream() == torch.cuda.default_stream()
    torch.cuda.empty_cache()

"""On a GPU that is not there: PyTorch says where each tensor would lie, and which step would wait for the device.

What comes out of the arithmetic is not computed, and gradients are not taken: `tests/gpu` does both on a real one.
"""

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode

from tests.gpu.setting import CLASSES, METHODS, SHAPE, TRAIN, guide, images, study
from tune_kd.data.views import Views
from tune_kd.models import build, ours
from tune_kd.space.schema import Augment
from tune_kd.training.images import scale_and_offset
from tune_kd.training.method import Trainee, method_for
from tune_kd.training.step import Batch, Step, joined

BATCH = 16
GPU = torch.device("cuda")


@pytest.fixture(autouse=True)
def no_gradients(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(Tensor, "backward", lambda self: None)
    scale_and_offset.cache_clear()
    yield
    scale_and_offset.cache_clear()


def moved(module: nn.Module) -> nn.Module:
    """With weights that are not there, on the GPU that is not."""
    for each in module.modules():
        for name, weight in [*each._parameters.items()]:
            if weight is not None:
                room = torch.empty(weight.shape, device=GPU)
                each._parameters[name] = nn.Parameter(room, requires_grad=weight.requires_grad)
        for name, buffer in [*each._buffers.items()]:
            if buffer is not None:
                each._buffers[name] = torch.empty(buffer.shape, dtype=buffer.dtype, device=GPU)
    return module


def step_on_gpu(student: nn.Module, shape: tuple[int, int, int], method: str | None) -> Tensor:
    settings = study(f"kd.method={method}") if method else study()
    distiller, online = None, None
    if method:

        def fresh(name: str) -> nn.Module:
            return build("digits_student", classes=CLASSES, in_shape=shape)

        trainee = Trainee(student, shape, CLASSES, TRAIN, 5, 4, fresh)
        student, distiller, online = method_for(trainee, settings.kd, guide(settings, images()))
    with FakeTensorMode(allow_non_fake_inputs=False):
        for module in (student, distiller, online.module if online else None):
            if module is not None:
                moved(module)
        optimizer = torch.optim.SGD(joined(student, distiller).parameters(), 0.1)
        inputs = torch.empty(BATCH, *shape, device=GPU)
        numbers = torch.empty(BATCH, dtype=torch.int64, device=GPU)
        guided = torch.empty(BATCH, CLASSES, device=GPU) if method else None
        batch = Batch(inputs, numbers, guided, 1, numbers, inputs if online else None)
        return Step(student, optimizer, settings, "fp32", distiller, online)(batch)


@pytest.mark.parametrize("method", METHODS)
def test_a_step_of_each_method_stays_there_and_never_waits(method: str) -> None:
    assert step_on_gpu(build("digits_student", classes=CLASSES, in_shape=SHAPE), SHAPE, method).device.type == "cuda"


@pytest.mark.parametrize("name", ours.MODELS)
def test_a_step_of_each_network_stays_there_and_never_waits(name: str) -> None:
    shape = SHAPE if name.startswith("digits") else (3, 32, 32)
    assert step_on_gpu(build(name, classes=CLASSES, in_shape=shape), shape, None).device.type == "cuda"


class Waiting(nn.Linear):
    def forward(self, pictures: Tensor) -> Tensor:
        return super().forward(pictures.flatten(1)) * pictures.sum().item()


class Elsewhere(nn.Linear):
    def forward(self, pictures: Tensor) -> Tensor:
        return super().forward(pictures.flatten(1)) + torch.arange(self.out_features)


@pytest.mark.parametrize(("kind", "words"), [(Waiting, "local_scalar_dense"), (Elsewhere, "cuda:0(,| and) cpu")])
def test_one_that_waits_or_is_elsewhere_is_found(kind: type[nn.Linear], words: str) -> None:
    with pytest.raises((DataDependentOutputException, RuntimeError), match=words):
        step_on_gpu(kind(64, CLASSES), SHAPE, None)


@pytest.mark.parametrize("kind", ["none", "flip", "crop_flip", "colour", "rotation", "crop_flip+colour+rotation"])
def test_views_are_rendered_there(kind: str) -> None:
    views = Views.of(Augment(kind=kind), 0)
    with FakeTensorMode():
        pictures = torch.empty(BATCH, 3, 32, 32, dtype=torch.uint8, device=GPU)
        numbers = torch.empty(BATCH, dtype=torch.int64, device=GPU)
        assert views.render(pictures, numbers, numbers).device.type == "cuda"

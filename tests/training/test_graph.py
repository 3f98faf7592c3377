"""A recorded step trains as an ordinary one does, and is given up where it does not."""

import contextlib
import copy
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from tune_kd import names
from tune_kd.space.load import load
from tune_kd.space.schema import Train
from tune_kd.space.study import Study
from tune_kd.training import graph as recording
from tune_kd.training import train as training
from tune_kd.training.graph import LEAST_STEPS, WARM_STEPS, RecordedStep, make_step
from tune_kd.training.images import Images
from tune_kd.training.optim import make_optimizer, restore, set_rate
from tune_kd.training.step import Batch, Step
from tune_kd.training.train import Job, train

BATCH, IMAGES, EPOCHS = 16, 100, 3
STUDY = f"""
study: small
question: Is it so?
augment: {{kind: crop_flip, pad: 1}}
train: {{lr: 0.01, batch_size: {BATCH}, schedule: cosine}}
search: {{kd.alpha: {{uniform: [0.1, 1.0]}}}}
budget: {{trials: 3, epochs: {EPOCHS}}}
"""


class Again:
    """Stands in for a GPU: runs the body again, and tells of it in one place in memory as a recording does."""

    def aside(self) -> AbstractContextManager[object]:
        return contextlib.nullcontext()

    watched = aside

    def record(self, body: Callable[[], Tensor]) -> Callable[[], Tensor]:
        told = torch.full((2,), torch.nan)
        return lambda: told.copy_(body())


class Refusing(Again):
    def record(self, body: Callable[[], Tensor]) -> Callable[[], Tensor]:
        raise RuntimeError("operation not permitted when stream is capturing\nmore")


class Waited(Again):
    """The step that is watched waited for the device."""

    @contextlib.contextmanager
    def watched(self) -> Iterator[None]:
        yield
        raise RuntimeError("called a synchronizing CUDA operation")


class Crowded(Again):
    """Has no room any more when it has changed the weights already."""

    def record(self, body: Callable[[], Tensor]) -> Callable[[], Tensor]:
        def replay() -> Tensor:
            body()
            raise torch.OutOfMemoryError("no room")

        return replay


class Twice(Again):
    """Tells the right losses and changes the weights too much."""

    def record(self, body: Callable[[], Tensor]) -> Callable[[], Tensor]:
        return lambda: [body(), body()][0]


class Lying(Again):
    """Changes the weights rightly and tells other losses."""

    def record(self, body: Callable[[], Tensor]) -> Callable[[], Tensor]:
        return lambda: 2 * body()


class Tossing(Again):
    """As where a model draws by itself, on the CPU, while it is recorded."""

    def record(self, body: Callable[[], Tensor]) -> Callable[[], Tensor]:
        torch.rand(1)
        return super().record(body)


class Frozen(Again):
    """Leaves the running means as they were."""

    def __init__(self) -> None:
        self.model: nn.Module | None = None

    def record(self, body: Callable[[], Tensor]) -> Callable[[], Tensor]:
        def replay() -> Tensor:
            assert self.model is not None
            kept = [buffer.clone() for buffer in self.model.buffers()]
            told = body()
            for buffer, value in zip(self.model.buffers(), kept, strict=True):
                buffer.copy_(value)
            return told

        return replay


def images() -> Images:
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (IMAGES + 50, 1, 8, 8), dtype=torch.uint8, generator=generator)
    return Images(pixels, torch.arange(IMAGES + 50) % 10, (0.5,), (0.3,), 10)


def guide(index: Tensor, view: Tensor, pictures: Tensor) -> Tensor:
    return torch.stack([(index * (k + 3) + view) % 7 for k in range(10)], 1).float()


def dropping(classes: int, in_shape: tuple[int, int, int]) -> nn.Module:
    """Has what a replay could get wrong besides weights: running means, and chance."""
    inside = [nn.Linear(64, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Dropout(0.3)]
    return nn.Sequential(nn.Flatten(), *inside, nn.Linear(32, classes))


def curve(
    settings: Study, saved: Path, monkeypatch: pytest.MonkeyPatch, recorder: Again | None, until: int = EPOCHS
) -> tuple[list[dict[str, float]], RecordedStep | None]:
    used: list[RecordedStep] = []

    def recorded(ordinary: Step, device: torch.device, steps: int) -> Callable[[Batch], Tensor]:
        assert recorder is not None
        assert steps == EPOCHS * 7 - 7 * max(0, settings.kd.warmup_epochs - 1)
        if isinstance(recorder, Frozen):
            recorder.model = ordinary.model
        used.append(RecordedStep(ordinary, recorder))
        return used[-1]

    with monkeypatch.context() as changed:
        if recorder is not None:
            changed.setattr(training, "make_step", recorded)
        rows: list[dict[str, float]] = []
        job = Job(settings, torch.arange(IMAGES), torch.arange(IMAGES, IMAGES + 50), 1, until)
        train(job, images(), guide, rows.append, saved)
    timeless = [{k: v for k, v in row.items() if k not in (names.SECONDS, names.IMAGES_PER_SECOND)} for row in rows]
    return timeless, used[-1] if used else None


def study(*settings: str) -> Study:
    return load(STUDY, [f"student.model={__name__}:dropping", *settings])


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("warm_up", [0, 2])
def test_replayed_steps_train_as_ordinary_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, optimizer: str, warm_up: int
) -> None:
    settings = study(f"train.optimizer={optimizer}", f"kd.warmup_epochs={warm_up}")
    expected, _ = curve(settings, tmp_path / "ordinary.pt", monkeypatch, None)
    found, used = curve(settings, tmp_path / "recorded.pt", monkeypatch, Again())
    assert found == expected
    assert used is not None
    assert not used.given_up
    # All but short batches, those of the ramp, the warm ones, and the one that is recorded.
    whole = (EPOCHS - max(0, warm_up - 1)) * (IMAGES // BATCH)
    assert used.replayed == whole - WARM_STEPS - 1
    weights = [torch.load(tmp_path / f"{name}.pt", weights_only=True)["model"] for name in ("ordinary", "recorded")]
    assert all(torch.equal(weights[0][key], weights[1][key]) for key in weights[0])


@pytest.mark.parametrize(
    ("recorder", "why", "again"),
    [
        (Refusing(), "operation not permitted when stream is capturing", False),
        (Waited(), "called a synchronizing CUDA operation", False),
        (Crowded(), "no room", True),
        (Twice(), "does not do what a step does", False),
        (Lying(), "does not do what a step does", False),
        (Tossing(), "does not do what a step does", False),
        (Frozen(), "does not do what a step does", False),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_recording_that_fails_or_is_wrong_costs_nothing_but_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recorder: Again, why: str, again: bool
) -> None:
    tried: set[tuple[str, str]] = set()
    monkeypatch.setattr(recording, "_unrecordable", tried)
    expected, _ = curve(study(), tmp_path / "ordinary.pt", monkeypatch, None)
    found, used = curve(study(), tmp_path / "recorded.pt", monkeypatch, recorder)
    assert found == expected
    assert used is not None
    assert why in used.given_up
    assert "\n" not in used.given_up
    assert used.replayed == 0
    # Room may be there next time; a model stays as it is.
    assert (not tried) == again


def test_long_legs_on_a_gpu_are_recorded_unless_their_model_cannot_be(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = torch.device("cuda")
    settings = study()
    model = dropping(10, (1, 8, 8))
    ordinary = Step(model, make_optimizer(model, settings.train), settings, "fp32")
    assert isinstance(make_step(ordinary, gpu, LEAST_STEPS), RecordedStep)
    assert make_step(ordinary, gpu, LEAST_STEPS - 1) is ordinary
    assert make_step(ordinary, torch.device("cpu"), LEAST_STEPS) is ordinary
    monkeypatch.setattr(recording, "_unrecordable", {ordinary.name})
    assert make_step(ordinary, gpu, LEAST_STEPS) is ordinary


def test_a_rate_is_changed_where_a_recording_reads_it_also_after_going_on() -> None:
    model = nn.Linear(2, 2)
    optimizer = make_optimizer(model, Train(optimizer="adam"))
    here = torch.tensor(0.5)  # as on a GPU
    optimizer.param_groups[0]["lr"] = here
    elsewhere = copy.deepcopy(optimizer.state_dict())
    elsewhere["param_groups"][0] |= {"lr": 0.25, "capturable": True}
    restore(optimizer, elsewhere)
    set_rate(optimizer, 0.125)
    assert optimizer.param_groups[0]["lr"] is here
    assert float(here) == 0.125
    assert optimizer.param_groups[0]["capturable"] is False

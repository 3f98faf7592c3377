"""bf16 only where it is there, comes to the same and is faster; decided once."""

import json
from pathlib import Path

import pytest
import torch
from torch import nn

from tests.patience import processes
from tune_kd.models import build
from tune_kd.models.layout import lay_out, layout_of
from tune_kd.training import precision

CPU = torch.device("cpu")
SHAPE = (1, 8, 8)


def same_and_faster() -> tuple[float, float]:
    return 0.001, 2.0


def never() -> tuple[float, float]:
    raise AssertionError("nothing is to be compared")


@pytest.fixture
def able(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "capable", lambda device: True)


def test_what_the_study_names_is_not_questioned(tmp_path: Path) -> None:
    assert precision.settle("bf16", tmp_path / "p.json", CPU, never) == "bf16"
    assert precision.settle("fp32", tmp_path / "p.json", CPU, never) == "fp32"
    assert not any(tmp_path.iterdir())


def test_a_processor_without_bf16_is_not_tried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "capable", lambda device: False)
    assert precision.settle("auto", tmp_path / "p.json", CPU, never) == "fp32"


@pytest.mark.parametrize(
    ("found", "wanted"),
    [((0.001, 2.0), "bf16"), ((0.2, 2.0), "fp32"), ((float("nan"), 2.0), "fp32"), ((0.001, 1.0), "fp32")],
)
def test_bf16_must_come_to_the_same_and_be_faster(
    tmp_path: Path, able: None, found: tuple[float, float], wanted: str
) -> None:
    file = precision.place(tmp_path, "training", "own.models:small")
    assert precision.settle("auto", file, CPU, lambda: found) == wanted
    assert precision.settle("auto", file, CPU, never) == wanted  # decided, also for a search that goes on
    assert precision.decided(tmp_path)["training.own.models_small"]["precision"] == wanted


def test_a_model_that_bf16_breaks_is_computed_in_fp32(tmp_path: Path, able: None) -> None:
    def breaks() -> tuple[float, float]:
        raise RuntimeError("not implemented for 'BFloat16'")

    assert precision.settle("auto", tmp_path / "p.json", CPU, breaks) == "fp32"
    assert "BFloat16" in json.loads((tmp_path / "p.json").read_text())["why"]


def decide(place: tuple[str, int]) -> str:
    file, number = place
    precision.capable = lambda device: True
    return precision.settle("auto", Path(file), CPU, same_and_faster if number % 2 else lambda: (1.0, 1.0))


def test_trials_that_decide_at_once_agree(tmp_path: Path) -> None:
    with processes().Pool(4) as pool:
        for attempt in range(10):
            file = str(tmp_path / f"{attempt}.json")
            assert len(set(pool.map(decide, [(file, number) for number in range(8)], chunksize=1))) == 1
    assert not list(tmp_path.glob(".*"))


def test_an_ordinary_model_is_within_the_tolerance() -> None:
    torch.manual_seed(0)
    model = lay_out(build("digits_student", classes=10, in_shape=SHAPE), SHAPE)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    error, speedup = precision.compare_training(model, torch.randn(16, *SHAPE), torch.arange(16) % 10)
    assert 0 < error < precision.MOST_ERROR
    assert speedup > 0
    assert precision.compare_inference(model, torch.randn(16, *SHAPE))[0] < precision.MOST_ERROR
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())


class Delicate(nn.Module):
    """Lives on a small difference of large numbers, which eight bits do not hold."""

    def __init__(self) -> None:
        super().__init__()
        self.one = nn.Linear(64, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        large = self.one(x.flatten(1)) + 1000
        return large - 1000


def test_a_delicate_model_is_not() -> None:
    error, _ = precision.compare_training(Delicate(), torch.randn(16, *SHAPE), torch.arange(16) % 10)
    assert error > precision.MOST_ERROR


class Viewing(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.head = nn.Linear(4 * 36, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.conv(x)
        return self.head(x.view(len(x), -1))


def test_a_model_that_cannot_take_channels_last_keeps_its_layout() -> None:
    assert layout_of(lay_out(Viewing(), (3, 8, 8))) == torch.contiguous_format
    assert layout_of(lay_out(build("digits_student", classes=10, in_shape=SHAPE), SHAPE)) == torch.channels_last

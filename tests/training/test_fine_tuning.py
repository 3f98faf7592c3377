"""Training that begins with pretrained weights: what learns when, how fast, and until when."""

from pathlib import Path

import pytest
import torch

from tune_kd import names
from tune_kd.models import build
from tune_kd.models.network import Start, head_of
from tune_kd.space.load import load
from tune_kd.teacher import making
from tune_kd.training.fine_tuning import FineTuning
from tune_kd.training.images import Images

SHAPE = (1, 8, 8)
STUDY = (
    "study: x\nteacher: {model: digits_student, epochs: 3, pretrained: some.pt, train: {lr: 0.01, batch_size: 16}}\n"
)


@pytest.fixture(scope="module")
def data() -> Images:
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(120) % 4
    pixels = (labels.view(-1, 1, 1, 1) * 60 + torch.randint(0, 30, (120, *SHAPE), generator=generator)).to(torch.uint8)
    return Images(pixels, labels, (0.5,), (0.3,), 4)


@pytest.fixture(scope="module")
def start() -> Start:
    torch.manual_seed(3)
    model = build("digits_student", classes=4, in_shape=SHAPE)
    head = head_of(model, 4)
    return Start({key: value for key, value in model.state_dict().items() if key not in head}, None, head, True)


def trained(data: Images, start: Start, saved: Path, *settings: str) -> tuple[making.Teacher, list[dict[str, float]]]:
    told: list[dict[str, float]] = []
    study = load(STUDY, [f"teacher.{each}" for each in settings])
    index = torch.arange(100)
    order = making.order(study, data, index, torch.arange(100, 120), start=start)
    return making.make(order, saved, told.append), told


def moved(made: making.Teacher, start: Start) -> bool:
    return any(not torch.equal(made.weights[key], value) for key, value in start.weights.items())


def test_the_head_alone_leaves_the_body_as_it_was(data: Images, start: Start, tmp_path: Path) -> None:
    made, told = trained(data, start, tmp_path / "a.pt", "tune=head", "train.optimizer=adamw", "train.weight_decay=0.1")
    assert not moved(made, start)
    assert told[-1][names.TRAIN_LOSS] < told[0][names.TRAIN_LOSS]


def test_all_of_it_moves_from_the_start(data: Images, start: Start, tmp_path: Path) -> None:
    made, _ = trained(data, start, tmp_path / "a.pt", "train.keep=last")
    assert moved(made, start)


def test_the_head_first_and_then_all(data: Images, start: Start, tmp_path: Path) -> None:
    early, _ = trained(data, start, tmp_path / "a.pt", "tune=head_then_all", "epochs=1", "train.keep=last")
    assert not moved(early, start)
    late, _ = trained(data, start, tmp_path / "b.pt", "tune=head_then_all", "epochs=3", "train.keep=last")
    assert moved(late, start)


def test_the_head_has_a_rate_of_its_own() -> None:
    tuning = FineTuning(("fc.weight",), "head_then_all", 10.0)
    assert [tuning.rates(epoch, 9) for epoch in (1, 3, 4)] == [(0.0, 10.0), (0.0, 10.0), (1.0, 10.0)]
    assert FineTuning().rates(1, 9)[0] == 1.0


def test_it_ends_when_validation_gets_no_better(data: Images, start: Start, tmp_path: Path) -> None:
    _, told = trained(data, start, tmp_path / "a.pt", "epochs=40", "patience=2")
    scores = [metrics[names.VAL_ACCURACY] for metrics in told]
    assert len(scores) < 40
    assert len(scores) - 1 - scores.index(max(scores)) == 2
    # What goes on from its checkpoint stays ended.
    _, again = trained(data, start, tmp_path / "a.pt", "epochs=40", "patience=2")
    assert len(again) == len(told)

"""A teacher of no epochs: what a student gains from one that knows nothing is not its teacher's knowledge."""

from pathlib import Path

import torch

from tune_kd.models import build
from tune_kd.seeds import derive
from tune_kd.space.load import load
from tune_kd.teacher.making import make, order
from tune_kd.training.train import Images


def test_a_teacher_of_no_epochs_is_as_it_was_drawn(tmp_path: Path) -> None:
    data = Images(torch.zeros(40, 1, 8, 8).byte(), torch.arange(40) % 10, (0.5,), (0.3,), 10)
    study = load("study: s\nteacher: {epochs: 0}\n")
    heard: list[dict[str, float]] = []
    made = make(order(study, data, torch.arange(20), torch.arange(20, 40)), tmp_path / "t.pt", heard.append)
    torch.manual_seed(derive(derive(study.seed, "teacher"), "weights"))
    drawn = build(study.teacher.model, classes=10, in_shape=(1, 8, 8)).state_dict()
    assert all(torch.equal(value, drawn[key]) for key, value in made.weights.items())
    assert heard == []

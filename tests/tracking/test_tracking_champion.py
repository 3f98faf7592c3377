"""The winner must load where this package is not installed, without unpickling anything."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from mlflow import MlflowClient
from torch import nn

from tests.tracking.stores import ReadRuns, Start, finish, run_python
from tune_kd.errors import InputError, TuneKDError
from tune_kd.tracking import PARENT, champion, download_weights

USER = """
import json, sys
sys.modules["tune_kd"] = None  # As where it is not installed: importing it fails.
import mlflow, numpy, torch
mlflow.set_tracking_uri(sys.argv[1])
model = mlflow.pytorch.load_model("models:/a study@champion")
images = torch.from_numpy(numpy.load(sys.argv[2]))
print(json.dumps(model(images).tolist()))
"""


class Student(nn.Module):
    """As the finals leave it: normalisation inside, dropout to be switched off."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.full((1, 1, 1, 1), 0.25))
        self.layers = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Dropout(0.5))
        self.classifier = nn.Linear(144, 10)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.classifier(self.layers(images - self.mean))


def test_the_winner_loads_by_its_alias_in_a_process_without_this_package(
    tmp_path: Path, uri: str, start: Start, read_runs: ReadRuns
) -> None:
    images = np.random.default_rng(0).random((5, 1, 8, 8), dtype=np.float32)
    np.save(tmp_path / "images.npy", images)
    student = Student().train()
    weights = tmp_path / "weights.pt"
    torch.save(student.state_dict(), weights)
    tracker = start()
    tracker.register_champion(student, name="a study", example=images[:1], weights=weights, note="helps: +3 points")
    outcome = finish(tracker)
    assert (outcome.waiting, outcome.refused) == (0, 0), outcome.reason
    (tmp_path / "out" / "mlflow" / "state.json").unlink()
    finish(start())  # It no longer knows what it delivered, and tells it all a second time.
    assert student.training

    client = MlflowClient(uri, uri)
    versions = client.search_model_versions("name = 'a study'")
    parent = read_runs()[PARENT]
    assert [(version.version, version.run_id, version.description) for version in versions] == [
        (1, parent.info.run_id, "helps: +3 points")
    ]
    assert client.get_model_version_by_alias("a study", "champion").version == 1
    assert len(client.search_logged_models([parent.info.experiment_id])) == 1
    (folder,) = (tmp_path / "out" / "mlflow").glob("champion-*")
    assert {"MLmodel", "input_example.json", "requirements.txt"} <= {path.name for path in folder.iterdir()}
    assert "signature" in (folder / "MLmodel").read_text()

    found = download_weights("models:/a study@champion", uri, tmp_path / "teacher")
    assert found.read_bytes() == weights.read_bytes()
    with pytest.raises(InputError, match=r"models:/a study/7: MLflow at .* does not give it out"):
        download_weights("models:/a study/7", uri, tmp_path / "another")

    done = run_python(USER, tmp_path, uri, str(tmp_path / "images.npy"))
    assert done.returncode == 0, done.stderr
    with torch.no_grad():
        expected = student.eval()(torch.from_numpy(images))
    assert torch.allclose(torch.tensor(json.loads(done.stdout)), expected, atol=1e-5)


class Unexportable(nn.Module):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images.flatten(1) if images.sum().item() > 0 else images.flatten(1)[:, :2]


def test_a_model_that_cannot_be_exported_is_said(tmp_path: Path) -> None:
    with pytest.raises(TuneKDError, match=r"cannot be exported for MLflow \(torch.export\): .+"):
        champion.pack(Unexportable(), np.ones((2, 1, 4, 4), dtype=np.float32), tmp_path / "no", tmp_path / "champion")

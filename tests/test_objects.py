"""Objects where a study has names: one small search with networks and images from Python."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import TensorDataset

import tune_kd
from tests.distill.test_method import forget
from tests.test_api import store
from tune_kd import names
from tune_kd.data import objects
from tune_kd.distill.logits import KD
from tune_kd.distill.method import Given, Method, Seen
from tune_kd.names import DISTILLED

STUDY: dict[str, Any] = {
    "study": "objects",
    "data": {"evaluate_on": [], "size": 60},
    "train": {"batch_size": 20, "lr": 0.01},
    "conditions": {"student.model": ["small", "wide"], "kd.method": ["kd", "mine"]},
    "search": {
        "kd.alpha": {"uniform": [0.1, 1.0]},
        "kd.mine_power": {"uniform": [1.0, 2.0]},
        "train.lr": {"loguniform": [0.001, 0.05]},
    },
    "controls": ["scratch", "smoothed"],
    "teachers": [{"model": "small", "epochs": 1, "through": ["wide"], "train": {"batch_size": 20}}],
    "kd": {"teachers_weight": "confidence"},
    "budget": {"trials": 1, "epochs": 1, "repeats": 1},
}


HEAVY = {"timm", "datasets", "transformers", "huggingface_hub", "safetensors", "torchvision", "mlflow"}
"""Libraries that this search names none of."""


class Net(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(3 * 6 * 6, width), nn.ReLU(), nn.Linear(width, 3))

    def forward(self, images: Tensor) -> Tensor:
        found: Tensor = self.layers(images)
        return found


class Mine(Method):
    """Pulls the student's logits, in units of its own, towards the teacher's."""

    def __init__(self, given: Given, mine_power: float = 2.0) -> None:
        super().__init__(given)
        self.power = mine_power
        self.unit = nn.Parameter(torch.ones(()))

    def term(self, student: Seen, teacher: Seen, labels: Tensor, epoch: int) -> dict[str, Tensor]:
        apart = (self.unit * student.logits - teacher.logits).abs()
        heavy = torch.tensor(float(len(HEAVY & set(sys.modules))))
        return {"near": apart.pow(self.power).mean(), "small": 1e-3 * self.unit.square(), "heavy": heavy}


def small(classes: int, in_shape: tuple[int, int, int]) -> nn.Module:
    return Net(8)


def wide(classes: int, in_shape: tuple[int, int, int]) -> nn.Module:
    return Net(16)


def images(count: int, seed: int) -> TensorDataset:
    """Three classes, each a channel that is bright."""
    chance = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % 3
    found = torch.rand(count, 3, 6, 6, generator=chance) / 2
    found[torch.arange(count), labels] += 0.4
    return TensorDataset(found, labels)


GIVEN: dict[str, Any] = {
    "data": {"google": images(90, 0), "drawn": images(90, 1)},
    "test": images(30, 2),
    "validation": images(30, 3),
    "student": {"small": small, "wide": wide},
    "methods": {"mine": Mine},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("objects") / "runs" / "it"


@pytest.fixture(scope="module")
def teacher() -> nn.Module:
    torch.manual_seed(0)
    return Net(32)


@pytest.fixture(scope="module")
def result(ray_address: str, folder: Path, teacher: nn.Module) -> Iterator[tune_kd.Result]:
    try:
        yield tune_kd.search(STUDY, out=folder, quiet=True, tracking_uri=store(folder), teacher=teacher, **GIVEN)
    finally:
        forget("mine")


def test_they_are_searched_and_tested_on_what_was_set_apart(result: tune_kd.Result) -> None:
    verdict = result.verdict
    assert [(cell.cell["student.model"], cell.cell["kd.method"]) for cell in verdict.cells] == [
        (student, method) for student in ("small", "wide") for method in ("kd", "mine")
    ]
    assert verdict.facts["images"]["test"] == 30
    assert verdict.facts["images"]["validation"] == 30
    assert verdict.facts["images"]["student/google"] + verdict.facts["images"]["student/drawn"] <= 180


def test_a_method_and_the_smoothed_control_are_searched_trained_and_compared(result: tune_kd.Result) -> None:
    trials = result.trials
    arms = [*trials[["arm", "config.student.model", "config.kd.method"]].itertuples(index=False, name=None)]
    taught = [(DISTILLED, student, method) for student in ("small", "wide") for method in ("kd", "mine")]
    untaught = [(arm, student) for arm in (names.SCRATCH, names.SMOOTHED) for student in ("small", "wide")]
    assert {arm for arm in arms if arm[0] == DISTILLED} == set(taught)
    assert {arm[:2] for arm in arms if arm[0] != DISTILLED} == set(untaught)
    smoothing, power = trials["config.train.label_smoothing"], trials["config.kd.mine_power"]
    assert (smoothing[trials["arm"] == names.SMOOTHED] > 0).all()
    assert (smoothing[trials["arm"] != names.SMOOTHED] == 0).all()
    own = trials["config.kd.method"] == "mine"
    assert power[own & (trials["arm"] == DISTILLED)].between(1, 2).all()
    # A control stands in the table once for each cell that it serves.
    finals = result.finals
    assert len(finals) == len(taught) + 2 * len(untaught)
    assert finals[names.TEST_ACCURACY].notna().all()
    for cell in result.verdict.cells:
        assert cell.distilled is not None
        assert cell.scratch is not None


def test_the_parts_of_a_methods_loss_are_kept_by_name(result: tune_kd.Result) -> None:
    import mlflow

    client = mlflow.MlflowClient(store(result.folder))
    runs = client.search_runs([each.experiment_id for each in client.search_experiments()])
    logged = {key for run in runs for key in run.data.metrics if key.startswith(names.LOSS_PART)}
    assert logged == {"loss_kd_mine_near", "loss_kd_mine_small", "loss_kd_mine_heavy"}
    # What nobody names is not imported where the trainings run, finals among them.
    told = [run.data.metrics.get("loss_kd_mine_heavy") for run in runs]
    assert sum(each is not None for each in told) >= 4
    assert set(told) - {None} == {0.0}


def test_the_teachers_are_the_one_that_was_given_and_the_assistant_of_another(
    result: tune_kd.Result, teacher: nn.Module
) -> None:
    raw = json.loads((result.folder / names.VERDICT_FILE).read_text())["teacher"]
    others = wide(3, (3, 6, 6))
    both = [each.numel() for network in (teacher, others) for each in network.parameters()]
    assert raw[names.PARAMETERS] == sum(both)
    assert raw["model"] == "given_teacher, wide"
    assert [part.split()[0] for part in raw["through_2"].split(" → ")] == ["small", "wide"]


def test_the_winner_works_where_nobody_has_the_object(result: tune_kd.Result) -> None:
    import subprocess
    import sys

    program = (
        f"import torch, tune_kd; model = tune_kd.load({str(result.folder)!r}).model()\n"
        "print(tuple(model(torch.zeros(2, 3, 6, 6, dtype=torch.uint8)).shape), model.training)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "(2, 3) False"


def test_going_on_needs_the_same_objects(result: tune_kd.Result, folder: Path, teacher: nn.Module) -> None:
    more: dict[str, Any] = {"out": folder, "resume": True, "quiet": True, "tracking_uri": store(folder)}
    ledger = (folder / names.LEDGER_FILE).read_bytes()
    other = GIVEN | {"student": {"small": wide, "wide": wide}}
    with pytest.raises(tune_kd.InputError, match="student 'small': one with the digest"):
        tune_kd.search(STUDY, **more, teacher=teacher, **other)
    with pytest.raises(tune_kd.InputError, match=r"teacher: one with the digest .* → one with"):
        tune_kd.search(STUDY, **more, teacher=Net(32), **GIVEN)
    with pytest.raises(tune_kd.InputError, match=r"data 'google': one with the digest .* → none"):
        tune_kd.search(None, **more)
    assert (folder / names.LEDGER_FILE).read_bytes() == ledger


def test_it_goes_on_with_them(result: tune_kd.Result) -> None:
    assert len(result.extend(trials=2, quiet=True).trials) == 16


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"teacher": "resnet"}, "teacher: str is no torch.nn.Module"),
        ({"student": Net(8)}, "student: .* is Net, and every trial needs a new network"),
        ({"student": {"a b": small}}, "no name"),
        ({"student": {"lightnn": small}}, "comes with tune_kd"),
        ({"test": images(3, 0)}, "belong to data"),
        ({"data": {}}, "no source"),
        ({"data": 7}, "no data set with a length"),
        ({"data": [1, 2]}, "no pair"),
        ({"data": [(torch.full((3, 4, 4), 2.0), 0)]}, "leave out a transform that normalises"),
        ({"data": [(np.zeros((4, 4, 3), np.uint8), -1)]}, "number of a class"),
        ({"data": {"a": images(3, 0), "b": [(np.zeros((4, 4, 3), np.uint8), 0)]}}, "different shapes"),
        ({"data": {"test": images(3, 0)}, "test": images(3, 0)}, "may not be called 'test'"),
    ],
)
def test_what_cannot_be_used_is_said_and_touches_nothing(given: dict[str, Any], words: str, tmp_path: Path) -> None:
    with pytest.raises(tune_kd.InputError, match=words):
        tune_kd.search(STUDY, out=tmp_path / "it", quiet=True, **given)
    assert not list(tmp_path.iterdir())


def test_images_are_taken_in_any_common_form() -> None:
    from PIL import Image

    picture = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    tensor = torch.from_numpy(np.moveaxis(picture, -1, 0).copy())
    forms = [picture, Image.fromarray(picture), tensor, tensor / 255]
    for form in forms:
        found = objects.dataset([(form, 0)]).sources["data"].images
        assert (found[0] == tensor.numpy()).all()
    assert objects.dataset([(picture[..., 0], 1)]).classes == ("0", "1")


class Halved(KD):
    """KD, but half of it."""

    def term(self, student: Any, teacher: Any, labels: Tensor, epoch: int) -> Any:
        return {name: part / 2 for name, part in super().term(student, teacher, labels, epoch).items()}


def test_a_method_of_ones_own_is_known_to_the_study(ray_address: str, tmp_path: Path) -> None:
    """It comes as far as to Ray, which here is another one than the address that is asked for."""
    own = STUDY | {"conditions": {}, "kd": {"method": "halved"}}
    where: dict[str, Any] = {"out": tmp_path / "it", "quiet": True, "address": "127.0.0.1:1"}
    with pytest.raises(tune_kd.InputError, match=r"connected to the Ray at .* already"):
        tune_kd.search(own, methods={"halved": Halved}, **where)
    with pytest.raises(tune_kd.InputError, match="is no method"):
        tune_kd.search(own, methods={"wrong": Net}, **where)
    assert not list(tmp_path.iterdir())

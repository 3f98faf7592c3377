"""Students that begin with pretrained weights: both arms with the same ones, as a worker trains them."""

import time
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from tune_kd import names, plan
from tune_kd.data.views import Views
from tune_kd.execution import trial
from tune_kd.execution.order import Order
from tune_kd.execution.resources import Share
from tune_kd.execution.workbench import Material, Workbench
from tune_kd.models import build
from tune_kd.models.network import head_of
from tune_kd.preparation import Prepared, prepare
from tune_kd.space.load import load
from tune_kd.space.study import Study
from tune_kd.storage.stores import MARK, Storage
from tune_kd.teacher.guide import Guide
from tune_kd.teacher.making import Teacher
from tune_kd.training import train
from tune_kd.training.images import Images
from tune_kd.tuning.conductor import OK, OUTCOME

STUDY = """
study: begun
data: {drawn: 100, evaluate_on: [scanned], teacher_on: [scanned]}
teacher: {model: digits_student}
student: {model: lightnn}
train: {batch_size: 32, epoch_images: 64, keep: last}
budget: {epochs: 1}
precision: fp32
"""
SHAPE = (1, 8, 8)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Of a network for seven classes, so that ten of them need a new head."""
    torch.manual_seed(1)
    torch.save(build("lightnn", classes=7, in_shape=SHAPE).state_dict(), tmp_path / "begin.pth")
    return tmp_path / "begin.pth"


def bench_of(study: Study, prepared: Prepared, folder: Path) -> Workbench:
    (folder / MARK).write_text("ours")
    storage = Storage(str(folder), mark="ours")
    material = Material(study, prepared.splits, prepared.mean, prepared.std, storage, students=prepared.students)
    splits = prepared.splits
    images = Images(torch.tensor(splits.images), torch.tensor(splits.labels), prepared.mean, prepared.std, 10)
    return Workbench(material, images)


def test_both_arms_train_from_the_same_weights(tmp_path: Path, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUNE_KD_CACHE", str(tmp_path / "cache"))
    study = load(STUDY, [f"student.pretrained={file}"])
    bench = bench_of(study, prepare(plan.make(study), lambda text: None), tmp_path)
    (tmp_path / names.CHECKPOINT_DIR).mkdir()
    weights = build("digits_student", classes=10, in_shape=SHAPE).state_dict()
    teacher = Teacher("digits_student", weights, (0.5,), (0.5,), SHAPE, 10)
    guide = Guide.of(teacher, bench.images, "begun", Views.of(study.augment, study.seed))
    begun: list[dict[str, Tensor]] = []
    made: list[nn.Module] = []
    honest_build, honest_train = train._build, train.train

    def building(*given: object) -> nn.Module:
        model = honest_build(*given)  # type: ignore[arg-type]
        begun.append({key: value.clone() for key, value in model.state_dict().items()})
        return model

    def training(*given: object) -> nn.Module | None:
        model = honest_train(*given)  # type: ignore[arg-type]
        assert model is not None
        made.append(model)
        return model

    monkeypatch.setattr(train, "_build", building)
    monkeypatch.setattr(trial, "train", training)
    monkeypatch.setattr(trial, "workbench", lambda reference, gpu: bench)
    monkeypatch.setattr(trial, "guides_of", lambda *given: guide)
    for arm in (names.SCRATCH, names.DISTILLED):
        asked = {"kd.alpha": 0.9, "train.lr": 0.01}
        saved = f"{names.CHECKPOINT_DIR}/{arm}.pt"
        order = Order(asked, arm, 5, 1, 0, time.time() + 600, saved, False, object(), Share(1, 0))
        assert trial._leg(order, None, lambda metrics: None) == {OUTCOME: OK}  # type: ignore[arg-type]
    scratch, distilled = begun
    assert all(torch.equal(value, distilled[key]) for key, value in scratch.items())
    brought = torch.load(file)
    head = head_of(made[0], 10)
    assert all(torch.equal(value, brought[key]) for key, value in scratch.items() if key not in head)
    # And they have learned from there, each what it was taught.
    assert all(any(not torch.equal(v, scratch[k]) for k, v in each.state_dict().items()) for each in made)
    first, second = (each.state_dict() for each in made)
    assert any(not torch.equal(value, second[key]) for key, value in first.items())

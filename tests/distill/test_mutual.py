"""Mutual learning: nobody asks a teacher, and the other network is another one."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tune_kd import names, plan, planning
from tune_kd.errors import InputError
from tune_kd.models import build
from tune_kd.planned_logits import cache_words
from tune_kd.planned_networks import network_words, peers_beside
from tune_kd.preparation import prepare
from tune_kd.space.load import load
from tune_kd.training import checkpoint
from tune_kd.training.images import Images
from tune_kd.training.train import Job, train

STUDY = """
study: mutual
data: {drawn: 60, evaluate_on: [scanned], teacher_on: [scanned]}
kd: {method: mutual, ce_weight: 1.0}
precision: fp32
train: {lr: 0.005, batch_size: 32}
budget: {trials: 1, epochs: 3}
"""


def trained(saved: Path, method: str, asked: list[Tensor], *settings: str) -> Any:
    torch.manual_seed(0)
    labels = torch.arange(120) % 10
    patterns = torch.randint(0, 200, (10, 1, 8, 8))
    images = Images((patterns[labels] + torch.randint(0, 56, (120, 1, 8, 8))).byte(), labels, (0.4,), (0.3,), 10)

    def teacher(index: Tensor, view: Tensor, pictures: Tensor) -> Tensor:
        asked.append(index)
        return torch.zeros(len(index), 10)

    rows: list[dict[str, float]] = []
    study = load(STUDY, [f"kd.method={method}", *settings])
    train(Job(study, torch.arange(80), torch.arange(80, 120), 1, 3), images, teacher, rows.append, saved)
    return rows, checkpoint.load(saved)


def test_no_teacher_is_asked_and_both_learn(tmp_path: Path) -> None:
    asked: list[Tensor] = []
    rows, state = trained(tmp_path / "alone.pt", "mutual", asked)
    assert not asked
    assert rows[-1]["loss_kd_mutual_peer"] < rows[0]["loss_kd_mutual_peer"]
    assert rows[-1][names.LOSS_KD] == pytest.approx(
        rows[-1]["loss_kd_mutual_peer"] + rows[-1]["loss_kd_mutual_student"], rel=1e-6
    )
    other = {key.removeprefix("members.mutual.other."): value for key, value in state["method"].items()}
    assert other.keys() == state["model"].keys()
    assert not any(torch.equal(value, other[key]) for key, value in state["model"].items() if value.dim() > 1)
    trained(tmp_path / "joined.pt", "kd+mutual", asked)
    assert asked


def test_the_other_network_may_be_of_another_kind(tmp_path: Path) -> None:
    _, state = trained(tmp_path / "named.pt", "mutual", [], "kd.mutual_peer=digits_teacher")
    other = {key.removeprefix("members.mutual.other.") for key in state["method"]}
    assert other == build("digits_teacher", classes=10, in_shape=(1, 8, 8)).state_dict().keys()


def test_a_plan_counts_it_and_keeps_nothing_of_a_teacher() -> None:
    todo = plan.make(load(STUDY, ["conditions.kd.method=[kd,mutual]"]))
    arms = [arm for arm in todo.arms if arm.name == names.DISTILLED]
    assert [peers_beside(todo.study, arm) for arm in arms] == [0, 1]
    alone = plan.make(load(STUDY, ["kd.mutual_peer=digits_teacher"]))
    prepared = prepare(alone, lambda text: None)
    assert cache_words(alone, prepared) == []
    assert cache_words(todo, prepared) != []
    where = planning.Machines(1, 2, 0)
    speeds = planning.Speeds(alone, prepared)
    longer = planning.estimate(alone, prepared, where, speeds).seconds
    assert longer > planning.estimate(plan.make(load(STUDY, ["kd.method=kd"])), prepared, where, speeds).seconds
    said = network_words(alone, prepared)
    assert said == ["mutual trains digits_teacher beside each student, and asks nothing of the teacher."]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (["controls=[scratch,random_teacher]"], "random_teacher has a teacher, and kd.method mutual asks none"),
        (["kd.mutual_peer=resnet1"], "unknown model 'resnet1'"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_runs(settings: list[str], said: str) -> None:
    with pytest.raises(InputError, match=said):
        prepare(plan.make(load(STUDY, settings)), lambda text: None)

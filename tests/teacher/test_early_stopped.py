"""A teacher's epochs as a condition: one teacher for each value, of which each cell has its own."""

from pathlib import Path

import numpy as np
import pytest
import torch

import tune_kd
from tune_kd import names, plan
from tune_kd.errors import InputError
from tune_kd.execution import teaching
from tune_kd.execution.teaching import Maker
from tune_kd.models import build
from tune_kd.objects import NOTHING_TO_CARRY
from tune_kd.preparation import prepare
from tune_kd.space.load import dump, load
from tune_kd.space.study import cells, constants, resolve, taught_by
from tune_kd.storage.stores import Storage
from tune_kd.summary import judge
from tune_kd.teacher.ensemble import BY_EPOCHS
from tune_kd.teacher.taught import Taught

STUDY = """
study: early
question: Does a teacher that was stopped early teach better?
data: {drawn: 100, evaluate_on: [scanned], teacher_on: [scanned]}
teacher: {model: digits_student, train: {lr: 0.01, schedule: cosine}}
student: {model: digits_student_tiny}
precision: fp32
kd: {alpha: 1, temperature: 1}
train: {lr: 0.01, batch_size: 32}
conditions: {teacher.epochs: [8, 0]}
budget: {epochs: 8, repeats: 2}
"""


def test_each_cell_has_its_own_and_students_without_one_are_trained_once() -> None:
    study = load(STUDY, ["controls=[scratch, random_teacher]"])
    todo = plan.make(study)
    arms = [(arm.name, arm.cell.get("teacher.epochs")) for arm in todo.arms]
    assert arms == [
        (names.DISTILLED, 8), (names.SCRATCH, None), (names.RANDOM_TEACHER, 8),
        (names.DISTILLED, 0), (names.RANDOM_TEACHER, 0),
    ]  # fmt: skip
    assert [arm.key for arm in todo.arms[:2]] == ["teacher.epochs=8 · distilled", "scratch"]
    trials = [resolve(study, constants(study) | cell) for cell in cells(study)]
    for arm in names.TAUGHT:
        assert [taught_by(study, own, arm) for own in trials] == [(0,), (1,)]
    # Whom the scratch students are compared with is one teacher, whatever else there is.
    assert {taught_by(study, own, names.SCRATCH) for own in trials} == {(0,)}
    assert load(dump(study)) == study


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("search={teacher.epochs: {int: [1, 9]}}", "cannot be searched. Put a few under conditions"),
        ("teacher.checkpoint=t.pt", "nothing to train for so many epochs"),
        ("teachers=[{model: digits_student}]", "Leave `teachers` out"),
        ("conditions.teacher.epochs=[-1]", "a whole number at least 0"),
        ("conditions.teacher.model=[lightnn]", "cannot vary between trials"),
    ],
)
def test_what_does_not_fit_is_refused(text: str, said: str) -> None:
    conditions = ["conditions={}"] if text.startswith("search") else []
    with pytest.raises(InputError, match=said):
        load(STUDY, [*conditions, text])


def test_a_teacher_given_as_an_object_is_refused_and_leaves_nothing(ray_address: str, tmp_path: Path) -> None:
    given = build("digits_student", classes=10, in_shape=(1, 8, 8))
    (tmp_path / "early.yaml").write_text(STUDY)
    with pytest.raises(InputError, match="nothing to train for so many epochs"):
        tune_kd.search(
            tmp_path / "early.yaml", out=tmp_path / "it", quiet=True, teacher=given, tracking_uri=store(tmp_path)
        )
    assert not (tmp_path / "it").exists()


def made(study: str, folder: Path, *settings: str) -> tuple[Taught, list[str]]:
    own = load(study, settings)
    maker = Maker()
    place = Storage.at(str(folder)).marked()
    start = tuple(None for _ in own.conditions.get("teacher.epochs", (0,)))
    taught = maker.make(own, prepare(plan.make(own), lambda text: None), start, place, None, NOTHING_TO_CARRY, 1)
    return taught, [lesson.whose for lesson in maker.heard(0)]


def test_each_is_the_teacher_that_a_study_with_that_value_alone_would_have(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To the bit: with a schedule of its own, which ends with it, and nothing but epochs telling it from the others."""
    monkeypatch.setattr(teaching, "pick_device", lambda study: torch.device("cpu"))  # it would ask Ray
    monkeypatch.setenv("TUNE_KD_CACHE", str(tmp_path / "cache"))
    together, heard = made(STUDY, tmp_path / "both", "conditions.teacher.epochs=[1, 3]")
    assert heard == ["teacher of 1 epoch"] + ["teacher of 3 epochs"] * 3
    monkeypatch.setenv("TUNE_KD_CACHE", str(tmp_path / "other cache"))
    alone = [made(STUDY, tmp_path / str(n), f"teacher.epochs={n}")[0] for n in (1, 3)]
    assert [each.digest for each in together.teachers.members] == [one.teachers.digest for one in alone]
    accuracies = [one.facts[names.TEST_ACCURACY] for one in alone]
    assert together.facts[BY_EPOCHS] == f"{accuracies[0]:.2%} after 1 epoch, {accuracies[1]:.2%} after 3 epochs"
    # What is said of one teacher is said of the one trained longest.
    assert together.facts[names.TEST_ACCURACY] == accuracies[1]
    assert together.facts[names.PARAMETERS] == alone[1].facts[names.PARAMETERS]


def store(folder: Path) -> str:
    return f"sqlite:///{folder / 'mlflow.db'}"


def test_students_learn_what_their_own_teacher_knows(ray_address: str, tmp_path: Path) -> None:
    """Taught by nothing but a teacher of no training, they know nothing; the other cell's learn."""
    (tmp_path / "early.yaml").write_text(STUDY)
    result = tune_kd.search(tmp_path / "early.yaml", out=tmp_path / "it", quiet=True, tracking_uri=store(tmp_path))
    by_cell = {cell.cell["teacher.epochs"]: cell for cell in result.verdict.cells}
    assert by_cell[8].distilled is not None
    assert by_cell[0].distilled is not None
    assert max(by_cell[0].distilled.values) < 0.4 < min(by_cell[8].distilled.values)
    assert by_cell[0].scratch == by_cell[8].scratch
    finals = result.finals
    scratch = finals[finals["arm"] == names.SCRATCH]
    assert scratch["config.teacher.epochs"].isna().all()
    taught = finals[finals["arm"] == names.DISTILLED]
    assert (taught["config.teacher.epochs"] == taught["cell.teacher.epochs"]).all()
    # Each is held against its own teacher: the untrained one, which says nearly the same of every image, too.
    agreement = taught.groupby("cell.teacher.epochs")[names.TEACHER_AGREEMENT].min()
    assert np.isfinite(agreement).all()
    assert "after 0 epochs" in result.verdict.teacher[BY_EPOCHS]
    page = result.report.read_text(encoding="utf-8")
    assert "teacher of 8 epochs" in page
    assert "is said of these trainings" in page


def test_the_method_says_that_each_teacher_is_one_training() -> None:
    import pandas as pd

    def text(*settings: str) -> str:
        import yaml

        raw = yaml.safe_load(dump(load(STUDY, settings)))
        return str(judge(raw, pd.DataFrame(), pd.DataFrame(), {}, {})["method"]["text"])

    assert "Each cell's teacher is one training" in text()
    assert "Each cell's teacher is one training" not in text("teacher.epochs=3")

"""A teacher that one search has trained is taken by the next, and only where it would be the same to the bit."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tune_kd import names, plan
from tune_kd.execution import teaching
from tune_kd.execution.teaching import Lesson, Maker
from tune_kd.models import build
from tune_kd.models.network import Start
from tune_kd.objects import NOTHING_TO_CARRY
from tune_kd.preparation import Prepared, prepare
from tune_kd.space.load import load
from tune_kd.storage.stores import Storage
from tune_kd.teacher import earlier, making
from tune_kd.teacher.earlier import TAKEN, Place
from tune_kd.teacher.making import Order
from tune_kd.teacher.taught import Taught
from tune_kd.training import checkpoint, precision
from tune_kd.training.images import Images

STUDY = """
study: one
data: {drawn: 60, evaluate_on: [scanned], teacher_on: [scanned]}
teacher: {model: digits_student, epochs: 2, train: {lr: 0.01}}
precision: fp32
"""
THROUGH = "teacher.through=[digits_student_tiny]"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(teaching, "pick_device", lambda study: torch.device("cpu"))  # it would ask Ray
    monkeypatch.setenv("TUNE_KD_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "teachers"


@pytest.fixture(scope="module")
def prepared() -> Prepared:
    return prepare(plan.make(load(STUDY)), lambda text: None)


def make(prepared: Prepared, folder: Path, *settings: str) -> tuple[Taught, list[Lesson]]:
    """As a search would, whose results are in a folder of their own."""
    maker, storage = Maker(), Storage.at(str(folder)).marked()
    taught = maker.make(load(STUDY, settings), prepared, (None,), storage, None, NOTHING_TO_CARRY, 1)
    return taught, maker.heard(0)


def test_it_is_the_one_that_training_it_again_makes(
    prepared: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, told = make(prepared, tmp_path / "first", THROUGH)
    assert [lesson.whose for lesson in told] == ["teacher"] * 2 + ["assistant 1"] * 2
    assert TAKEN not in first.facts
    second, told = make(prepared, tmp_path / "second", THROUGH, "study=two", "budget.epochs=9", "data.size=50")
    assert told == []
    assert second.teachers.digest == first.teachers.digest
    (assistant, *_), (other, *_) = first.teachers.members, second.teachers.members
    assert (other.mean, other.std, other.shape) == (assistant.mean, assistant.std, assistant.shape)
    today = r"\d{4}-\d\d-\d\d in \d+ s"
    taken = rf"teacher \(trained {today}\), assistant 1 \(trained {today}\)"
    assert re.fullmatch(taken, str(second.facts[TAKEN]))
    # Without the cache, it is trained to the same.
    monkeypatch.setenv("TUNE_KD_CACHE", str(tmp_path / "none"))
    again, told = make(prepared, tmp_path / "third", THROUGH)
    assert len(told) == 4
    assert again.teachers.digest == second.teachers.digest
    for key, value in again.teachers.members[0].weights.items():
        assert torch.equal(value, other.weights[key])
    assert again.facts[names.TEST_ACCURACY] == second.facts[names.TEST_ACCURACY]


def test_a_search_that_has_begun_to_train_its_own_goes_on_with_it(prepared: Prepared, tmp_path: Path) -> None:
    make(prepared, tmp_path / "first")
    again, told = make(prepared, tmp_path / "first")
    assert TAKEN not in again.facts
    assert len(told) == 2


def order(prepared: Prepared, *settings: str, count: int = 100) -> Order:
    splits = prepared.splits
    images = Images(torch.tensor(splits.images), torch.tensor(splits.labels), prepared.mean, prepared.std, 10)
    return making.order(load(STUDY, settings), images, torch.arange(count), torch.arange(100, 150))


@pytest.mark.parametrize(
    "setting",
    [
        "seed=1", "precision=auto", "objective.metric=macro_f1", "teacher.model=digits_student_tiny",
        "teacher.epochs=3", "teacher.train.lr=0.02", "teacher.train.keep=last", "teacher.augment.kind=flip",
        "teacher.patience=1", "teacher.image_size=16", "teacher.normalize={mean: [0.1], std: [0.2]}",
    ],
)  # fmt: skip
def test_whatever_decides_its_weights_makes_it_another(prepared: Prepared, setting: str) -> None:
    assert Place.of(order(prepared, setting), "these").file != Place.of(order(prepared), "these").file


def test_so_do_the_weights_that_it_begins_with(prepared: Prepared) -> None:
    model = build("digits_student", classes=10, in_shape=(1, 8, 8))
    begun = []
    for _ in range(2):
        weights = {key: value.clone() for key, value in model.state_dict().items()}
        own = order(prepared)
        begun.append(replace(own, job=replace(own.job, start=Start(weights, None, (), False))))
        next(model.parameters()).data[0] += 1
    files = [Place.of(each, "these").file for each in (*begun, begun[0], order(prepared))]
    assert files[0] == files[2]
    assert len(set(files)) == 3


def test_so_do_images_code_threads_and_who_taught_it(
    prepared: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = order(prepared)
    file = Place.of(own, "these").file
    assert file is not None
    assert Place.of(order(prepared, "study=other", "kd.alpha=0.1", "budget.trials=2"), "these").file == file
    others = [Place.of(own, "those").file, Place.of(order(prepared, count=99), "these").file]
    taught, _ = make(prepared, tmp_path / "first")
    tutor = taught.teachers.members[0]
    others += [Place.of(order(prepared, *more), "these", tutor).file for more in ((), ("kd.alpha=0.1",))]
    threads = torch.get_num_threads()
    torch.set_num_threads(threads + 1)
    others.append(Place.of(own, "these").file)
    torch.set_num_threads(threads)
    monkeypatch.setattr(earlier, "_code", lambda: "of another version")
    others.append(Place.of(own, "these").file)
    assert len({file, *others}) == 7


def damage(file: Path, how: str) -> None:
    content = bytearray(file.read_bytes())
    if how == "cut":
        content = content[: len(content) // 2]
    elif how == "empty":
        content = bytearray()
    else:
        state = checkpoint.load(file)
        name, value = next(iter(state["weights"].items()))
        state["weights"][name] = value + 1 if how == "other weights" else value[:1]
        content = bytearray(checkpoint.packed(state if how != "another file" else {"weights": 3}))
    file.write_bytes(content)


@pytest.mark.parametrize("how", ["cut", "empty", "other weights", "fewer weights", "another file"])
def test_what_is_damaged_is_trained_anew_and_mended(prepared: Prepared, tmp_path: Path, cache: Path, how: str) -> None:
    first, _ = make(prepared, tmp_path / "first", "teacher.epochs=1")
    (file,) = cache.iterdir()
    damage(file, how)
    second, told = make(prepared, tmp_path / "second", "teacher.epochs=1")
    assert len(told) == 1
    assert second.teachers.digest == first.teachers.digest
    third, told = make(prepared, tmp_path / "third", "teacher.epochs=1")
    assert told == []
    assert third.teachers.digest == first.teachers.digest


def test_a_network_whose_code_may_have_changed_and_one_that_was_not_trained_are_not_kept(
    prepared: Prepared, tmp_path: Path, cache: Path
) -> None:
    make(prepared, tmp_path / "first", "teacher.model='tune_kd.models.digits:digits_student'", "teacher.epochs=1")
    make(prepared, tmp_path / "second", "teacher.epochs=0")
    assert not cache.exists()


def test_where_nothing_can_be_kept_it_is_trained(
    prepared: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("TUNE_KD_CACHE", str(tmp_path / "file"))
    assert [len(make(prepared, tmp_path / each, "teacher.epochs=1")[1]) for each in ("one", "two")] == [1, 1]


def test_what_auto_decided_for_it_is_what_the_next_search_computes_in(
    prepared: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = ("precision=auto", "teacher.epochs=1")
    monkeypatch.setattr(precision, "capable", lambda device: False)
    first, _ = make(prepared, tmp_path / "first", *settings)
    monkeypatch.undo()
    monkeypatch.setattr(teaching, "pick_device", lambda study: torch.device("cpu"))
    monkeypatch.setenv("TUNE_KD_CACHE", str(tmp_path / "cache"))
    second, told = make(prepared, tmp_path / "second", *settings)
    assert told == []
    assert second.teachers.digest == first.teachers.digest
    decided = [precision.decided(tmp_path / each / names.CHECKPOINT_DIR) for each in ("first", "second")]
    assert decided[0] == decided[1] != {}
    # A search that has already decided otherwise, for a student of the same network, trains its own.
    file = precision.place(tmp_path / "third" / names.CHECKPOINT_DIR, "training", "digits_student")
    precision.in_folder(file, lambda: {"precision": "bf16"})
    third, told = make(prepared, tmp_path / "third", *settings)
    assert len(told) == 1
    assert third.teachers.digest != first.teachers.digest

"""A teacher that was made once stays made."""

from pathlib import Path

import pytest
import torch

from tune_kd import names
from tune_kd.models import build
from tune_kd.storage.stores import Storage
from tune_kd.teacher.ensemble import Ensemble
from tune_kd.teacher.making import Teacher
from tune_kd.teacher.taught import FIELDS, MADE, Taught
from tune_kd.training import checkpoint


def taught() -> Taught:
    model = build("digits_student", classes=10, in_shape=(1, 8, 8))
    teacher = Teacher("digits_student", model.state_dict(), (0.1,), (0.2,), (1, 8, 8), 10)
    return Taught(
        Ensemble((teacher, teacher), (0.5, 0.25)),
        {names.TEST_ACCURACY: 0.9, "model": "digits_student", names.PARAMETERS: 3},
    )


def test_it_is_the_same_teacher_with_the_same_figures(tmp_path: Path) -> None:
    storage = Storage.at(str(tmp_path))
    made = taught()
    made.keep(storage)
    again = Taught.kept(storage)
    assert again is not None
    assert again.teachers.digest == made.teachers.digest
    assert again.teachers.accuracies == (0.5, 0.25)
    assert again.facts == made.facts
    pictures = torch.rand(2, 1, 8, 8)
    device = torch.device("cpu")
    for own, other in zip(again.teachers.members, made.teachers.members, strict=True):
        assert torch.equal(own.module(device)(pictures), other.module(device)(pictures))


@pytest.mark.parametrize("content", [None, b"", b"PK\x03\x04 half of it"])
def test_what_is_not_whole_is_made_again(tmp_path: Path, content: bytes | None) -> None:
    storage = Storage.at(str(tmp_path))
    if content is not None:
        storage.write(MADE, content)
    assert Taught.kept(storage) is None


def test_the_one_teacher_of_an_earlier_version_is_taken_up(tmp_path: Path) -> None:
    storage, made = Storage.at(str(tmp_path)), taught()
    (own, _), told = made.teachers.members, {**made.facts, names.VAL_ACCURACY: 0.7}
    state = {name: getattr(own, name) for name in FIELDS} | {"weights": dict(own.weights), "facts": told}
    storage.write(MADE, checkpoint.packed(state))
    again = Taught.kept(storage)
    assert again is not None
    assert (again.teachers.digest, again.teachers.accuracies, again.facts) == (own.digest, (0.7,), told)

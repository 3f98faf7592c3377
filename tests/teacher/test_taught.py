"""A teacher that was made once stays made."""

from pathlib import Path

import pytest
import torch

from tune_kd import names
from tune_kd.models import build
from tune_kd.storage.stores import Storage
from tune_kd.teacher.making import Teacher
from tune_kd.teacher.taught import MADE, Taught


def taught() -> Taught:
    model = build("digits_student", classes=10, in_shape=(1, 8, 8))
    teacher = Teacher("digits_student", model.state_dict(), (0.1,), (0.2,), (1, 8, 8), 10)
    return Taught(teacher, {names.TEST_ACCURACY: 0.9, "model": "digits_student", names.PARAMETERS: 3})


def test_it_is_the_same_teacher_with_the_same_figures(tmp_path: Path) -> None:
    storage = Storage.at(str(tmp_path))
    made = taught()
    made.keep(storage)
    again = Taught.kept(storage)
    assert again is not None
    assert again.teacher.digest == made.teacher.digest
    assert again.facts == made.facts
    pictures = torch.rand(2, 1, 8, 8)
    device = torch.device("cpu")
    assert torch.equal(again.teacher.module(device)(pictures), made.teacher.module(device)(pictures))


@pytest.mark.parametrize("content", [None, b"", b"PK\x03\x04 half of it"])
def test_what_is_not_whole_is_made_again(tmp_path: Path, content: bytes | None) -> None:
    storage = Storage.at(str(tmp_path))
    if content is not None:
        storage.write(MADE, content)
    assert Taught.kept(storage) is None

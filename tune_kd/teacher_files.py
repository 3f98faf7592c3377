"""Teachers in MLflow, or one given as an object, become files; the stored study says where they came from."""

from pathlib import Path
from typing import Any

from tune_kd import tracking
from tune_kd.errors import InputError
from tune_kd.space.schema import Teacher
from tune_kd.space.study import TEACHER_EPOCHS, Study
from tune_kd.space.teacher_checks import TRAINED
from tune_kd.training import checkpoint


def fetched(study: Study, folder: Path, uri: str | None, given: Any = None) -> Study:
    """The study with files in `folder` in the place of addresses, and of an object that is `given`."""
    if given is not None and TEACHER_EPOCHS in study.conditions:
        raise InputError(TRAINED)
    every = enumerate((study.teacher, *study.teachers))
    first, *others = (_fetched(own, folder / str(k or ""), uri) for k, own in every)
    if given is not None:
        path = folder / "given.pt"
        checkpoint.save(path, {"state_dict": dict(given.state_dict())})
        first = first.model_copy(update={"checkpoint": str(path)})
    return study.model_copy(update={"teacher": first, "teachers": tuple(others)})


def _fetched(teacher: Teacher, folder: Path, uri: str | None) -> Teacher:
    address = teacher.checkpoint
    if not address or not address.startswith("models:/"):
        return teacher
    return teacher.model_copy(update={"checkpoint": str(tracking.download_weights(address, uri, folder))})

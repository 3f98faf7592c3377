"""The study of a search: as it is asked for, made ready to be stored, and compared with the stored one to go on."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

from tune_kd import names
from tune_kd.errors import InputError
from tune_kd.space.load import dump, load
from tune_kd.space.schema import Budget, Student, Teacher, names_a_file, paths
from tune_kd.space.study import Study
from tune_kd.space.yaml12 import parse

Network = TypeVar("Network", Teacher, Student)

GROWABLE = ("budget.trials", "budget.epochs", "budget.repeats", "budget.seconds")
"""What may be larger when a search goes on."""

BEFORE = {"data.duplicates": "keep"}
"""What searches did before there was a key for it, where that is not what the key says by itself."""


def asked(source: str | Path, settings: Sequence[str] = (), seed: int | None = None) -> Study:
    """Its paths are absolute: the stored study must run from any folder, and the teacher is loaded elsewhere."""
    study = load(source, [*settings, *([] if seed is None else [f"seed={seed}"])])
    named = {key: str(Path(path).expanduser().absolute()) for key, path in paths(study.data).items()}
    return study.model_copy(
        update={
            "data": study.data.model_copy(update=named),
            "teacher": _found(study.teacher),
            "teachers": tuple(map(_found, study.teachers)),
            "student": _found(study.student),
            "budget": _shared(study.budget),
        }
    )


def _shared(budget: Budget) -> Budget:
    if budget.experience in ("on", "off"):
        return budget
    return budget.model_copy(update={"experience": f"{Path(budget.experience).expanduser().absolute()}/"})


def _found(network: Network) -> Network:
    """A teacher or student with its files where they are."""
    files: dict[str, Any] = {"pretrained": network.pretrained} if names_a_file(network.pretrained) else {}
    checkpoint = getattr(network, "checkpoint", None)
    if checkpoint is not None and not checkpoint.startswith("models:/"):
        files["checkpoint"] = checkpoint
    return network.model_copy(update={key: str(Path(str(file)).expanduser().absolute()) for key, file in files.items()})


def resumed(folder: Path, source: str | Path | None, settings: Sequence[str] = (), seed: int | None = None) -> Study:
    """The study of the search that goes on in a folder; only its budget may have grown since."""
    stored = folder / names.STUDY_FILE
    if not stored.exists():
        raise InputError(f"--resume: there is no search in {folder}. Leave --resume out to begin one there.")
    then = _as_begun(stored)
    before, now = load(stored, then), asked(stored if source is None else source, [*then, *settings], seed)
    changes = _differences(before, now)
    if any(key not in GROWABLE or not _grew(old, new) for key, (old, new) in changes.items()):
        lines = "\n".join(f"  {key}: {old!r} → {new!r}" for key, (old, new) in changes.items())
        raise InputError(
            f"--resume: the study is not the one that {folder} was begun with:\n{lines}\n"
            f"Only {', '.join(GROWABLE)} may grow. Give the study as it was, or begin a new search with another --name."
        )
    if now.budget.epochs > before.budget.epochs and (schedules := _planned_to_the_end(now)):
        raise InputError(
            f"--resume: budget.epochs cannot grow from {before.budget.epochs} to {now.budget.epochs} with "
            f"train.schedule: {' or '.join(schedules)}. Its learning rates depend on the number of epochs, so what is "
            "trained so far would have been trained otherwise. Begin a new search with another --name."
        )
    return now


def _as_begun(stored: Path) -> list[str]:
    """A stored study has every key that there was when its search was begun."""
    known = _flat(parse(stored.read_text(encoding="utf-8"), str(stored)))
    return [f"{key}={value}" for key, value in BEFORE.items() if key not in known]


def _planned_to_the_end(study: Study) -> list[str]:
    """Schedules, among those that a student may have, that one more epoch changes from the first on."""
    key = "train.schedule"

    def possible(schedule: str) -> bool:
        if key in study.search:
            return study.search[key].contains(schedule)
        return schedule in study.conditions.get(key, (study.train.schedule,))

    return [schedule for schedule in ("cosine", "milestones") if possible(schedule)]


def _grew(old: object, new: object) -> bool:
    return new is None or (isinstance(old, int | float) and isinstance(new, int | float) and new >= old)


def _differences(before: Study, now: Study) -> dict[str, tuple[object, object]]:
    old, new = (_flat(parse(dump(study), "the study")) for study in (before, now))
    return {key: (old.get(key), new.get(key)) for key in sorted({*old, *new}) if old.get(key) != new.get(key)}


def _flat(value: object, path: str = "") -> dict[str, object]:
    if not isinstance(value, dict):
        return {path: value}
    return {
        inner: leaf
        for key, child in value.items()
        for inner, leaf in _flat(child, f"{path}.{key}" if path else str(key)).items()
    }

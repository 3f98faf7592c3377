"""What a submitted search takes along: this package, its study and the user's own models. No images, no checkpoints."""

import importlib.util
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

import tune_kd
from tune_kd import names
from tune_kd.errors import InputError
from tune_kd.preparation import peers
from tune_kd.space.designs import levels
from tune_kd.space.load import PACKAGED, dump
from tune_kd.space.schema import paths
from tune_kd.space.study import Study, by_teacher, lessons

STUDY_FILE = "study.yaml"
CARRIED = ("MLFLOW_", "DATABRICKS_")
"""Variables with these beginnings go along: they say where MLFlow is and let the job in."""


def pack(folder: Path, study: Study | None) -> None:
    """Fills a folder that becomes the job's working folder, on every node."""
    ours = Path(tune_kd.__file__).parent
    _copy(ours, folder / "tune_kd")
    if not (ours / PACKAGED).is_dir():
        _copy(ours.parent / PACKAGED, folder / "tune_kd" / PACKAGED)
    if study is not None:
        _check_paths(study)
        (folder / STUDY_FILE).write_text(dump(study), encoding="utf-8")
        for module in _own_modules(study):
            _copy(module, folder / module.name)


def environment(tracking_uri: str | None, more: Sequence[str]) -> dict[str, str]:
    """The variables that the job gets. Never part of its command, which everybody on the cluster can read."""
    if missing := [name for name in more if name not in os.environ]:
        raise InputError(f"--env {missing[0]}: there is no such variable here. Set it, or leave --env out.")
    carried = {name: value for name, value in os.environ.items() if name.startswith(CARRIED) or name in more}
    return carried | ({"MLFLOW_TRACKING_URI": tracking_uri} if tracking_uri else {})


def _check_paths(study: Study) -> None:
    """Images and teachers are read where the search runs, so a path relative to this folder means nothing there."""
    named = {f"data.{key}": path for key, path in paths(study.data).items()}
    files = [own.teacher.checkpoint or "" for own in by_teacher(study)]
    named |= {f"teachers[{k}].checkpoint" if k else "teacher.checkpoint": file for k, file in enumerate(files)}
    for key, path in named.items():
        if path and not path.startswith(("~", "/", "models:/")):
            raise InputError(
                f"{key}: '{path}' is relative to this folder, and a submitted search reads it on the cluster. Give the "
                f"whole path there: --set {key}=/PATH (the same on every node), or ~/PATH."
            )


def _own_modules(study: Study) -> list[Path]:
    """Files and packages below this folder that the study names a model in, as `module:function`."""
    taught = {lesson.teacher.model for own in by_teacher(study) for lesson in lessons(own)}
    models = {*taught, *peers(study), *map(str, levels(study, names.STUDENT_MODEL))}
    found = []
    for name in sorted({model.partition(":")[0].partition(".")[0] for model in models if ":" in model}):
        spec = importlib.util.find_spec(name)
        if spec and spec.origin and Path(spec.origin).is_relative_to(Path.cwd()):
            file = Path(spec.origin)
            found.append(file.parent if file.name == "__init__.py" else file)
    return found


def _copy(source: Path, target: Path) -> None:
    if source.is_file():
        shutil.copy(source, target)
    else:
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__", ".*"))

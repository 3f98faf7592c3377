"""What a search leaves behind: tables, verdict and report, and what of them goes to MLflow."""

import functools
import json
import platform
import re
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd

import tune_kd
from tune_kd import examples, names, summary
from tune_kd.execution.resources import Shares
from tune_kd.models import build
from tune_kd.plan import Plan, label
from tune_kd.preparation import Prepared, begins
from tune_kd.space.designs import levels
from tune_kd.space.load import dump
from tune_kd.space.methods import METHODS, parts
from tune_kd.space.study import Study, by_teacher, lessons, resolve
from tune_kd.storage.files import replace
from tune_kd.storage.stores import Storage
from tune_kd.summary.trials import once
from tune_kd.tracking import TAG_NOTE
from tune_kd.training import measures, precision
from tune_kd.training.method import as_trained
from tune_kd.tuning import tables
from tune_kd.tuning.entry import Entry
from tune_kd.tuning.ledger import Ledger

PACKAGES = ("ray", "torch", "torchvision", "optuna", "mlflow", "pandas", "pyarrow", "numpy")


def write(
    folder: Path,
    plan: Plan,
    ledger: Ledger,
    prepared: Prepared,
    storage: Storage,
    shares: Shares,
    teacher: Mapping[str, Any],
    facts: Mapping[str, Any],
) -> dict[str, Any]:
    """Tables from the ledger, and the verdict and the report from the tables."""
    kept = "" if storage.folder == folder else f"{storage.place}/"
    trials, finals = tables.trials_table(plan, ledger, sizes(plan, prepared)), tables.finals_table(plan, ledger, kept)
    tables.write(trials, folder / names.TRIALS_FILE)
    tables.write(finals, folder / names.FINALS_FILE)
    computed = {names.HOURS: _hours([trials, once(finals)], shares), names.LOOKS: ledger.look()}
    known = {"study": plan.study.study, "teacher": dict(teacher), "facts": {**facts, **computed}}
    replace(folder / names.VERDICT_FILE, json.dumps(known).encode())
    replace(folder / names.EXAMPLES_FILE, examples.written(plan.study, prepared))
    return summary.write(folder)


def sizes(plan: Plan, prepared: Prepared) -> Callable[[Entry], int]:
    """Counts the parameters of what a training trains; each kind of network is built once."""
    classes, own = len(prepared.splits.classes), plan.study.student.image_size

    @functools.cache
    def counted(name: str, side: int | None, taught: tuple[tuple[str, Any], ...]) -> int:
        shape = prepared.of(side)
        model = build(name, classes=classes, in_shape=shape)
        if taught:
            shapes = shape, prepared.teacher_shape
            model = as_trained(resolve(plan.study, dict(taught)), model, shapes, classes)
        return measures.parameter_count(model)

    def size(entry: Entry) -> int:
        method = str(entry.config.get("kd.method", plan.study.kd.method))
        remade = entry.arm.name in names.TAUGHT and any(METHODS[name].rebuilds for name in parts(method))
        taught = {key: value for key, value in entry.config.items() if remade and key.startswith("kd.")}
        side = entry.config.get(names.STUDENT_SIDE, own)
        return counted(str(entry.config[names.STUDENT_MODEL]), side, tuple(sorted(taught.items())))

    return size


def _hours(trained: Sequence[pd.DataFrame], shares: Shares) -> dict[str, float]:
    """What all trainings of students took of processors and of GPUs, whichever share of one each had."""
    cpu = gpu = 0.0
    for table in trained:
        if table.empty:
            continue
        for student, seconds in table.groupby(f"config.{names.STUDENT_MODEL}")["seconds"].sum().items():
            taken = shares.hours(str(student), float(seconds))
            cpu, gpu = cpu + taken[0], gpu + taken[1]
    return {"cpu": cpu, "gpu": gpu}


def run_facts(
    plan: Plan,
    prepared: Prepared,
    computed: Mapping[str, Any],
    started: float,
    phases: Mapping[str, float],
    command: str,
) -> dict[str, Any]:
    """What was run, on what, where the time went, and how to do it again."""
    ended, (tests, students) = time.time(), prepared.per_class
    return {
        "command": command,
        "seed": plan.study.seed,
        "versions": {"python": platform.python_version(), "tune_kd": tune_kd.__version__}
        | {name: version(name) for name in PACKAGES},
        "git_commit": git_commit(),
        "digests": dict(prepared.splits.digests),
        "classes": list(prepared.splits.classes),
        "begins_with": "; ".join(f"{name}: {told}" for name, told in begins(plan.study, prepared).items()),
        "images": {
            "teacher": len(prepared.splits.teacher),
            "validation": len(prepared.splits.validation),
            "test": len(prepared.splits.test),
        }
        | {f"student/{source}": len(index) for source, index in prepared.splits.student.items()},
        "test_images_per_class": tests,
        "student_images_per_class": students,
        "batch_size": plan.study.train.batch_size,
        "precision": {"wanted": plan.study.precision, "decided": dict(computed)},
        "notes": list(prepared.notes),
        "started": started,
        "ended": ended,
        "seconds": ended - started + phases.get(names.EARLIER, 0.0),
        "phases": dict(phases),
    }


def git_commit() -> str:
    """The commit of the folder that the search is run in, where it is a checkout."""
    try:
        done = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, timeout=5, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def decided(plan: Plan, storage: Storage, folder: Path) -> dict[str, Any]:
    """In which precision each model was computed, brought to `folder` from where checkpoints are kept."""
    taught = {lesson.teacher.model for own in by_teacher(plan.study) for lesson in lessons(own)}
    models = {*map(str, levels(plan.study, names.STUDENT_MODEL)), *taught}
    for role in ("training", "running"):
        for model in sorted(models):
            storage.fetch(precision.place(Path(names.CHECKPOINT_DIR), role, model).as_posix(), folder)
    return precision.decided((storage.folder or folder) / names.CHECKPOINT_DIR)


def artifacts(folder: Path) -> list[Path]:
    """What of the folder goes to MLflow, figures included."""
    if (folder / names.FINALS_FILE).exists():
        figures = folder / "figures"
        figures.mkdir(exist_ok=True)
        for name, png in summary.figures(folder).items():
            (figures / name).write_bytes(png)
    wanted = (
        names.STUDY_FILE,
        names.VERDICT_FILE,
        names.REPORT_FILE,
        names.TRIALS_FILE,
        names.FINALS_FILE,
        "figures",
    )
    return [folder / name for name in wanted if (folder / name).exists()]


def headline(verdict: Mapping[str, Any]) -> dict[str, float]:
    """The verdict's figures that belong on MLflow's parent run."""
    scores = dict.fromkeys([names.tested(verdict.get("metric", names.ACCURACY)), names.TEST_ACCURACY])
    found = {f"teacher_{name}": verdict.get("teacher", {}).get(name) for name in scores}
    for cell in summary.by_point(verdict)["cells"] if verdict else []:
        # MLflow takes few signs in a metric's name.
        where = re.sub(r"[^\w.\-/ ]", "_", label(cell["cell"]).replace(", ", "/"))
        prefix = f"{where}/" if where else ""
        found[f"{prefix}gain"] = (cell.get("gain") or {}).get("mean")
        for arm in (names.DISTILLED, names.SCRATCH):
            found[f"{prefix}{arm}"] = (cell.get(arm) or {}).get("mean")
    return {key: value for key, value in found.items() if value is not None}


def ending(folder: Path, code: int) -> dict[str, str]:
    """How a search ended, for whoever is told of it: in the verdict's own words."""
    if code == names.INTERRUPTED:
        return {"event": "stopped"}
    if code:
        return {"event": "failed"}
    verdict = json.loads((folder / names.VERDICT_FILE).read_text(encoding="utf-8"))
    return {"headline": summary.headline(verdict), "report": str(folder / names.REPORT_FILE)}


def described(study: Study, verdict: Mapping[str, Any]) -> dict[str, str]:
    """What MLflow says of a search that has its verdict."""
    return {TAG_NOTE: summary.description(study.question, dump(study), verdict)} if verdict else {}

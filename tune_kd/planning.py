"""`--plan`: what a study would do and how long it takes, from a second of measuring on this machine."""

import os
import tempfile
import time
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tune_kd import names, plan
from tune_kd.data.splits import student_indices
from tune_kd.data.views import Views
from tune_kd.models import build
from tune_kd.plan import Plan
from tune_kd.preparation import IMAGE_KEYS, Prepared, levels, prepare
from tune_kd.space.messages import takes_weight
from tune_kd.space.schema import Student
from tune_kd.space.study import Study, front_models
from tune_kd.training import Images, Job, predict, train

SAMPLE = 256
LEG_SECONDS = 0.02
"""What Ray Tune takes to hand a process its next leg."""
START_SECONDS = 15.0
"""Ray, its workers and their imports."""


@dataclass(frozen=True)
class Speed:
    """Images a second of one process on this machine."""

    training: float
    evaluating: float


def show(study: Study, console: Console) -> int:
    """Prints the plan; the images are loaded, so a source that is too small shows here already."""
    todo = plan.make(study)
    prepared = prepare(todo, lambda text: None)
    console.print(f"[bold]{study.study}[/]  {escape(study.question)}\n")
    console.print(_cells_table(todo, prepared))
    budget = study.budget
    console.print(
        f"\n{len(todo.cells)} cells, {len(todo.arms)} arms, {budget.trials} trials each: {todo.trials} trials, and "
        + (
            f"at most {todo.finals} finals ({budget.repeats} seeds for each model of an arm's front)."
            if front_models(study)
            else f"{todo.finals} finals ({budget.repeats} seeds an arm)."
        )
    )
    stopping = (
        f"rungs at epochs {', '.join(map(str, study.rungs()))}" if len(study.rungs()) > 1 else "no early stopping"
    )
    console.print(f"A trial trains up to {budget.epochs} epochs; {stopping}, at least {study.complete()} to the end.")
    slots, device = _slots(study)
    console.print(f"Resources: {slots} at once on {device}, {study.resources.cpu:g} CPU each.")
    seconds = estimate(todo, prepared, slots)
    console.print(
        f"Time: about {_rounded(seconds)}, measured with the study's own models on one CPU process here; "
        "a GPU or other machines will differ. Nothing was run."
    )
    return 0


def _cells_table(todo: Plan, prepared: Prepared) -> Table:
    table = Table("cell", "student images", "arms", header_style="bold")
    for cell in todo.cells:
        arms = [name for name in (names.DISTILLED, names.SCRATCH) if todo.arm(cell, name)]
        table.add_row(plan.label(cell) or "all", str(max(_images(todo.study, cell, prepared))), ", ".join(arms))
    return table


def _images(study: Study, cell: plan.Cell, prepared: Prepared) -> list[int]:
    """How many images students of the cell may see; several where sources or sizes are searched."""

    def choices(key: str) -> tuple[Any, ...]:
        return (cell[key],) if key in cell else levels(study, key)

    return [
        len(student_indices(prepared.splits, source, size, weight if takes_weight(source) else None))
        for source, size, weight in product(*map(choices, IMAGE_KEYS))
    ]


def estimate(todo: Plan, prepared: Prepared, slots: int) -> float:
    """Seconds, from the epochs to expect and the measured rates of the slowest student and of the teacher."""
    study = todo.study
    shape, classes = prepared.shape, len(prepared.splits.classes)
    students = [measure(study, str(name), shape, classes) for name in levels(study, "student.model")]
    student = min(students, key=lambda speed: speed.training)
    teacher = measure(study, study.teacher.model, shape, classes)
    validation = len(prepared.splits.validation)

    def epoch(images: int) -> float:
        return images / student.training + validation / student.evaluating

    budget = study.budget
    per_arm = plan.expected_epochs(study) + budget.repeats * budget.epochs
    total = sum(
        per_arm * epoch(study.train.epoch_images or max(_images(study, arm.cell, prepared))) for arm in todo.arms
    )
    total += (todo.trials + todo.finals) * LEG_SECONDS
    views = Views.of(study.augment, study.seed).count
    pictures = sum(map(len, prepared.splits.student.values()))
    looked_up = sum(
        per_arm * max(_images(study, arm.cell, prepared)) for arm in todo.arms if arm.name == names.DISTILLED
    )
    total += min(pictures * views, looked_up) / teacher.evaluating
    teaching = 0.0
    if study.teacher.checkpoint is None:
        teaching = study.teacher.epochs * len(prepared.splits.teacher) / teacher.training
    return START_SECONDS + teaching + total / max(1, slots)


def measure(study: Study, model: str, shape: tuple[int, int, int], classes: int) -> Speed:
    """Trains and runs a model on noise for a moment, in one thread as a trial does."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        noise = np.random.default_rng(0).integers(0, 256, (SAMPLE, *shape), dtype=np.uint8)
        images = Images(
            torch.from_numpy(noise), torch.arange(SAMPLE) % classes, (0.5,) * shape[0], (0.25,) * shape[0], classes
        )
        index = torch.arange(SAMPLE)
        settings = study.model_copy(update={"student": Student(model=model)})
        job = Job(settings, index, index[:2], seed=0, until=2)
        rates: list[float] = []
        with tempfile.TemporaryDirectory() as folder:
            train(
                job,
                images,
                None,
                lambda found: rates.append(found[names.IMAGES_PER_SECOND]),
                Path(folder) / "measure.pt",
            )
        network = build(model, classes=classes, in_shape=shape)
        predict(network, images, index)
        started = time.perf_counter()
        predict(network, images, index)
        return Speed(rates[-1], SAMPLE / (time.perf_counter() - started))
    finally:
        torch.set_num_threads(threads)


def _slots(study: Study) -> tuple[int, str]:
    gpus = torch.cuda.device_count() if study.resources.gpu != 0 else 0
    cpus = int((os.cpu_count() or 1) / study.resources.cpu)
    if not gpus:
        return max(1, cpus), "the CPU"
    share = 0.25 if study.resources.gpu == "auto" else float(study.resources.gpu)
    return max(1, min(cpus, int(gpus / share))), f"{gpus} GPU"


def _rounded(seconds: float) -> str:
    if seconds < 90:
        return f"{round(seconds / 10) * 10:.0f} seconds"
    if seconds < 5400:
        return f"{seconds / 60:.0f} minutes"
    return f"{seconds / 3600:.1f} hours"

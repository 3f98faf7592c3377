"""`--plan`: what a study would do and how long it takes, from a few seconds of measuring on this machine."""

import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise, product
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
from tune_kd.errors import InputError
from tune_kd.execution.resources import AUTO_SHARE, Node, Share, slots
from tune_kd.models import build
from tune_kd.options import Options
from tune_kd.plan import Arm, Plan
from tune_kd.preparation import IMAGE_KEYS, Prepared, levels, prepare
from tune_kd.space.messages import takes_weight
from tune_kd.space.schema import Resources, Student
from tune_kd.space.study import Study
from tune_kd.teacher import making as teacher
from tune_kd.training import measures
from tune_kd.training.train import Images, Job, predict, train
from tune_kd.tuning.objectives import objective_of
from tune_kd.tuning.rules import rule_named
from tune_kd.tuning.simulation import Costs, Played, play

SAMPLE = 256
EPOCHS = 4
"""What is measured is measured so often, and the quickest counts: whatever else runs here takes nothing from it."""

# Seconds, as they were on two processors.
START_SECONDS = 6.0
"""Ray, and the images."""
PROCESS_SECONDS = 5.0
"""A worker and its imports."""
LEG_SECONDS = 0.03
REPORT_SECONDS = 0.004
END_SECONDS = 10.0
"""Tables, report, the model, and what MLflow has still to be told."""


@dataclass(frozen=True)
class Machines:
    """Where the study would run: so many of one kind."""

    nodes: int
    cpus: int
    gpus: int

    @property
    def words(self) -> str:
        each = f"{self.cpus} CPUs" + (f" and {self.gpus} GPU{'s' * (self.gpus > 1)}" if self.gpus else "")
        return f"{self.nodes} machines of {each}" if self.nodes > 1 else f"a machine of {each}"

    def slots(self, wanted: Resources) -> tuple[int, float]:
        """How many trials run at once, and the share of a GPU that each has."""
        gpu = 0.0 if not self.gpus else AUTO_SHARE if wanted.gpu == "auto" else float(wanted.gpu)
        return slots([Node("", self.cpus, self.gpus)] * self.nodes, Share(wanted.cpu, gpu)), gpu


def machines(given: Options) -> Machines:
    """Those of the options, else this one."""
    cpus = given.cpus_per_node or os.cpu_count() or 1
    if given.nodes is None:
        return Machines(1, cpus, torch.cuda.device_count())
    return Machines(given.nodes, cpus, given.gpus_per_node or 0)


@dataclass(frozen=True)
class Speed:
    """One process on this machine."""

    training: float
    """Images a second."""
    evaluating: float
    """Images a second."""
    epoch: float
    """Seconds of an epoch that are not for images: a checkpoint, scores."""


@dataclass(frozen=True)
class Estimate:
    slots: int
    gpu: float
    seconds: float
    played: Played

    @property
    def utilisation(self) -> float:
        """How much of the time, on the whole, a slot trains."""
        return self.played.busy / (self.slots * self.seconds)


def show(study: Study, where: Machines, console: Console) -> int:
    """Prints the plan; the images are loaded, so a source that is too small shows here already."""
    todo = plan.make(study)
    prepared = prepare(todo, lambda text: None)
    console.print(f"[bold]{study.study}[/]  {escape(study.question)}\n")
    console.print(_cells_table(todo, prepared))
    budget, objective = study.budget, objective_of(study)
    console.print(
        f"\n{len(todo.cells)} cells, {len(todo.arms)} arms, {_trials(todo)}, and "
        + (
            f"at most {todo.finals} finals ({budget.repeats} seeds for each model of an arm's front)."
            if objective.models
            else f"{todo.finals} finals ({budget.repeats} seeds an arm)."
        )
    )
    marks = rule_named(budget.early_stopping).marks(budget)
    stopping = f"compared at epochs {', '.join(map(str, marks))}" if marks else "no early stopping"
    least = objective.complete(budget) if marks else budget.trials
    if todo.trials:
        console.print(f"A trial trains up to {budget.epochs} epochs; {stopping}, at least {least} to the end.")
    slots, _ = where.slots(study.resources)
    if not slots:
        raise InputError(
            f"resources: a trial with cpu {study.resources.cpu:g} and gpu {study.resources.gpu} does not fit on "
            f"{where.words}. Ask for less with --set resources.cpu=… or resources.gpu=…, or plan for larger machines."
        )
    for line in _words(study, where, estimate(todo, prepared, where)):
        console.print(line)
    return 0


def _trials(todo: Plan) -> str:
    """An arm in which nothing is searched has none."""
    searching = sum(todo.trials_of(arm) > 0 for arm in todo.arms)
    if not searching:
        return "nothing is searched: no trials"
    rest = len(todo.arms) - searching
    without = f" ({rest} arms have nothing to search)" if rest else ""
    return f"{todo.study.budget.trials} trials each{without}: {todo.trials} trials"


def _words(study: Study, where: Machines, found: Estimate) -> list[str]:
    what = f"{found.gpu:g} of a GPU and " if found.gpu else ""
    hours = found.seconds / 3600 * where.nodes * (where.gpus if found.gpu else where.cpus)
    unit = "GPU-hours" if found.gpu else "CPU-hours"
    measured_on_gpu = torch.cuda.is_available() and study.resources.gpu != 0
    here = "one process on the GPU here" if measured_on_gpu else "one CPU process here"
    rate = f"{'share of a GPU' if found.gpu else 'slot'} trains as fast as {here}"
    return [
        f"Resources: {found.slots:,} at once on {where.words}; each has {what}{study.resources.cpu:g} CPU.",
        f"Time: about {_rounded(found.seconds)}, {_number(hours)} {unit}, {found.played.epochs:,} epochs; "
        f"slots train {found.utilisation:.0%} of the time.",
        f"Measured with the study's own models on this machine. It assumes that every {rate}, alone or beside others, "
        "and that all machines are there from the start. Nothing was run.",
    ]


def _cells_table(todo: Plan, prepared: Prepared) -> Table:
    table = Table("cell", "student images", "arms", header_style="bold")
    for cell in todo.cells:
        arms = [name for name in (names.DISTILLED, *names.CONTROLS) if todo.arm(cell, name)]
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


def estimate(todo: Plan, prepared: Prepared, where: Machines) -> Estimate:
    """Plays the study through with the measured rates of the slowest student and of the teacher."""
    study = todo.study
    shape, classes = prepared.shape, len(prepared.splits.classes)
    students = {
        str(name): measure(study, str(name), shape, classes, threads=1) for name in levels(study, names.STUDENT_MODEL)
    }
    slowest = min(students, key=lambda name: students[name].training)
    student = students[slowest]
    # The teacher has a machine's processors to itself, which does not help a small one.
    tutors = [measure(study, study.teacher.model, shape, classes, threads) for threads in (1, os.cpu_count() or 1)]
    tutor = max(tutors, key=lambda speed: speed.training)
    logits = _logit_seconds(todo, prepared, tutors[0].evaluating)
    validation = len(prepared.splits.validation)

    def epoch(arm: Arm) -> float:
        images = study.train.epoch_images or max(_images(study, arm.cell, prepared))
        looked_up = logits if arm.name == names.DISTILLED else 0.0
        return images / student.training + validation / student.evaluating + student.epoch + looked_up

    final = _final_seconds(slowest, study, shape, classes)
    slots, gpu = where.slots(study.resources)
    by_arm = {arm.number: epoch(arm) for arm in todo.arms}
    costs = Costs(lambda arm: by_arm[arm.number], final, PROCESS_SECONDS, LEG_SECONDS, REPORT_SECONDS)
    played = play(todo, slots, costs)
    teaching = PROCESS_SECONDS + _final_seconds(study.teacher.model, study, shape, classes)
    if study.teacher.checkpoint is None:
        images = len(prepared.splits.teacher)
        each = images / tutor.training + validation / tutor.evaluating + tutor.epoch
        teaching += study.teacher.epochs * each
    return Estimate(slots, gpu, START_SECONDS + teaching + played.seconds + END_SECONDS, played)


def _logit_seconds(todo: Plan, prepared: Prepared, rate: float) -> float:
    """What the teacher's logits cost each epoch of a distilled arm; each view of an image is computed once."""
    study = todo.study
    per_arm = plan.expected_epochs(study) + study.budget.repeats * study.budget.epochs
    arms = [arm for arm in todo.arms if arm.name == names.DISTILLED]
    looked_up = sum(per_arm * max(_images(study, arm.cell, prepared)) for arm in arms)
    pictures = sum(map(len, prepared.splits.student.values())) * Views.of(study.augment, study.seed).count
    return min(pictures, looked_up) / rate / max(1, per_arm * len(arms))


def _final_seconds(model: str, study: Study, shape: tuple[int, int, int], classes: int) -> float:
    """What it takes to measure a model's latency, as is done for each final."""
    network = build(model, classes=classes, in_shape=shape)
    one = _seconds(lambda: measures.latency_ms(network, shape, 1, repeats=teacher.LATENCY_REPEATS))
    batch, repeats = study.train.batch_size, teacher.LATENCY_REPEATS // 5
    return one + _seconds(lambda: measures.latency_ms(network, shape, batch, repeats=repeats))


def measure(study: Study, model: str, shape: tuple[int, int, int], classes: int, threads: int) -> Speed:
    """Trains and runs a model on noise for a moment, where a trial would: on a GPU if there is one."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    device = torch.device("cuda" if torch.cuda.is_available() and study.resources.gpu != 0 else "cpu")
    try:
        noise = np.random.default_rng(0).integers(0, 256, (SAMPLE, *shape), dtype=np.uint8)
        images = Images(
            torch.from_numpy(noise), torch.arange(SAMPLE) % classes, (0.5,) * shape[0], (0.25,) * shape[0], classes
        ).to(device)
        index = torch.arange(SAMPLE)
        settings = study.model_copy(
            update={"student": Student(model=model), "train": study.train.model_copy(update={"epoch_images": None})}
        )
        rate = max(found[names.IMAGES_PER_SECOND] for found in _epochs(settings, images, index, index[:2]))
        ends = [found[_WALL] for found in _epochs(settings, images, index[:2], index[:2])]
        beside = min(later - earlier for earlier, later in pairwise(ends))
        network = build(model, classes=classes, in_shape=shape).to(device)
        evaluating = SAMPLE / min(_seconds(lambda: predict(network, images, index)) for _ in range(EPOCHS))
        return Speed(rate, evaluating, beside)
    finally:
        torch.set_num_threads(before)


def _seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


_WALL = "wall"


def _epochs(settings: Study, images: Images, index: torch.Tensor, validation: torch.Tensor) -> list[dict[str, float]]:
    """What is reported of a short training, and when."""
    heard: list[dict[str, float]] = []
    job = Job(settings, index, validation, seed=0, until=EPOCHS)
    with tempfile.TemporaryDirectory() as folder:

        def report(found: dict[str, float]) -> None:
            heard.append(found | {_WALL: time.perf_counter()})

        train(job, images, None, report, Path(folder) / "measure.pt")
    return heard


def _number(hours: float) -> str:
    return f"{hours:,.0f}" if hours >= 10 else f"{hours:.2g}"


def _rounded(seconds: float) -> str:
    if seconds < 90:
        return f"{round(seconds / 10) * 10:.0f} seconds"
    if seconds < 5400:
        return f"{seconds / 60:.0f} minutes"
    return f"{seconds / 3600:.1f} hours"

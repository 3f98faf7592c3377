"""`--plan`: what a study would do and how long it takes, from how fast this machine is known to be."""

import os
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace

import torch
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tune_kd import energy, names, plan
from tune_kd.errors import InputError
from tune_kd.execution.resources import AUTO_SHARE, Node, Share, slots
from tune_kd.models.layout import ImageShape
from tune_kd.options import Options
from tune_kd.plan import Arm, Plan, counted
from tune_kd.planned_images import image_words, sources_table
from tune_kd.planned_logits import asks_teacher, cache_words, cached_seconds, runs_beside, student_images
from tune_kd.planned_networks import network_words, peers_beside, times_the_work
from tune_kd.preparation import Prepared, peers, prepare
from tune_kd.space.designs import designs
from tune_kd.space.schema import Resources, Student
from tune_kd.space.study import Study, by_teacher, lessons
from tune_kd.teacher import making as teacher
from tune_kd.training import rates
from tune_kd.tuning.objectives import objective_of
from tune_kd.tuning.rules import rule_named
from tune_kd.tuning.simulation import Costs, Played, play

MEASURING_SECONDS = 12.0
"""For all models together; a step that is under way then is still done."""

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
        each = counted(self.cpus, "CPU") + (f" and {counted(self.gpus, 'GPU')}" if self.gpus else "")
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
class Estimate:
    slots: int
    gpu: float
    seconds: float
    played: Played

    @property
    def utilisation(self) -> float:
        """How much of the time, on the whole, a slot trains."""
        return self.played.busy / (self.slots * self.seconds)


def show(study: Study, where: Machines, console: Console, price: float | None = None) -> int:
    """Prints the plan; the images are loaded, so a source that is too small shows here already."""
    todo = plan.make(study)
    prepared = prepare(todo, lambda text: None)
    console.print(f"[bold]{study.study}[/]  {escape(study.question)}\n")
    console.print(sources_table(prepared))
    for line in image_words(study, prepared):
        console.print(escape(line))
    console.print(_cells_table(todo, prepared))
    budget, objective = study.budget, objective_of(study)
    seeds = counted(budget.repeats, "seed")
    console.print(
        f"\n{counted(len(todo.cells), 'cell')}, {counted(len(todo.arms), 'arm')}, {_trials(todo)}, and "
        + (
            f"at most {counted(todo.finals, 'final')} ({seeds} for each model of an arm's front)."
            if objective.models
            else f"{counted(todo.finals, 'final')} ({seeds} an arm)."
        )
    )
    rule = rule_named(budget.early_stopping)(budget, objective)
    marks = rule.marks(budget)
    stopping = (
        f"compared at epoch{'s' * (len(marks) > 1)} {', '.join(map(str, marks))}" if marks else "no early stopping"
    )
    least = rule.complete if marks else budget.trials
    if todo.trials:
        console.print(
            f"A trial trains up to {counted(budget.epochs, 'epoch')}; {stopping}, at least {least} to the end."
        )
    for line in (*network_words(todo, prepared), *cache_words(todo, prepared)):
        console.print(escape(line))
    slots, _ = where.slots(study.resources)
    if not slots:
        raise InputError(
            f"resources: a trial with cpu {study.resources.cpu:g} and gpu {study.resources.gpu} does not fit on "
            f"{where.words}. Ask for less with --set resources.cpu=… or resources.gpu=…, or plan for larger machines."
        )
    speeds = Speeds(todo, prepared)
    if speeds.reckoned:
        first = estimate(todo, prepared, where, speeds)
        models = ", ".join(dict.fromkeys(asked.model for asked in speeds.reckoned))
        console.print(
            f"First answer: about {_rounded(first.seconds)}, reckoned from multiplications. Measuring "
            f"{escape(models)}, which takes up to {MEASURING_SECONDS + 3:.0f} seconds …"
        )
        speeds.measure(MEASURING_SECONDS)
    for line in _words(study, where, estimate(todo, prepared, where, speeds), price):
        console.print(line)
    console.print(f"Images/s that a process trains, {escape(speeds.words())}.")
    return 0


def _trials(todo: Plan) -> str:
    """An arm in which nothing is searched has none."""
    searching = sum(todo.trials_of(arm) > 0 for arm in todo.arms)
    if not searching:
        return "nothing is searched: no trials"
    rest = len(todo.arms) - searching
    without = f" ({counted(rest, 'arm')} with nothing to search)" if rest else ""
    return f"{counted(todo.study.budget.trials, 'trial')} each{without}: {counted(todo.trials, 'trial')}"


def _words(study: Study, where: Machines, found: Estimate, price: float | None) -> list[str]:
    what = f"{found.gpu:g} of a GPU and " if found.gpu else ""
    machine_hours = found.seconds / 3600 * where.nodes
    hours = machine_hours * (where.gpus if found.gpu else where.cpus)
    electricity = {"cpu": machine_hours * where.cpus, "gpu": machine_hours * where.gpus if found.gpu else 0.0}
    unit = "GPU-hours" if found.gpu else "CPU-hours"
    if found.gpu and price is not None:
        unit += f" ({_number(hours * price)} at {price:g} an hour of a GPU)"
    measured_on_gpu = torch.cuda.is_available() and study.resources.gpu != 0
    here = "one process on the GPU here" if measured_on_gpu else "one CPU process here"
    rate = f"{'share of a GPU' if found.gpu else 'slot'} trains as fast as {here}"
    return [
        f"Resources: {found.slots:,} at once on {where.words}; each has {what}{study.resources.cpu:g} CPU.",
        f"Time: about {_rounded(found.seconds)}, {_number(hours)} {unit}, {counted(found.played.epochs, 'epoch')}; "
        f"slots train {found.utilisation:.0%} of the time.",
        energy.words(electricity, {}),
        f"It assumes that every {rate}, alone or beside others, and that all machines are there from the start. "
        "Nothing was run.",
    ]


def _cells_table(todo: Plan, prepared: Prepared) -> Table:
    table = Table("cell", "student images", "arms", header_style="bold")
    for cell in todo.cells:
        arms = [name for name in (names.DISTILLED, *names.CONTROLS) if todo.arm(cell, name)]
        table.add_row(plan.label(cell) or "all", str(max(student_images(todo.study, cell, prepared))), ", ".join(arms))
    return table


class Speeds:
    """Of a study's models on this machine: measured, remembered or reckoned."""

    def __init__(self, todo: Plan, prepared: Prepared) -> None:
        study, classes = todo.study, len(prepared.splits.classes)
        own = study.student.image_size
        device = rates.pick_device(study)
        # Alone beside what the students leave, as it is trained; and in one process of a trial, where it is only run.
        most = max(1, (os.cpu_count() or 1) // 2)
        self._studies: dict[rates.Asked, Study] = {}

        def asked(each: Study, own: ImageShape, threads: int) -> rates.Asked:
            found = rates.Asked.of(each, own, classes, device, threads)
            self._studies.setdefault(found, each)
            return found

        def students(made: Iterable[tuple[object, int | None]]) -> tuple[rates.Asked, ...]:
            each = ((study.model_copy(update={"student": Student(model=str(name))}), side) for name, side in made)
            return tuple(asked(one, prepared.of(side), 1) for one, side in each)

        self.students = students(
            (each[names.STUDENT_MODEL], each.get(names.STUDENT_SIDE, own)) for each in designs(study).values()
        )
        self.peers = students((name, prepared.student_side) for name in peers(study))
        taught = zip(by_teacher(study), prepared.teacher_shapes, strict=True)
        chains = [[(each, teacher.as_student(each), own) for each in lessons(one)] for one, own in taught]
        self.lessons = tuple((each.teacher, asked(own, s, most)) for chain in chains for each, own, s in chain)
        """Every teacher and assistant, in the order in which they are made."""
        self.running = tuple(asked(*chain[-1][1:], 1) for chain in chains)
        """Those who teach the students."""
        self._found = {asked: rates.known(asked) or rates.reckon(asked) for asked in self._studies}

    def __getitem__(self, asked: rates.Asked) -> rates.Rate:
        return self._found[asked]

    @property
    def reckoned(self) -> list[rates.Asked]:
        """Those that were never measured here, the slowest first."""
        open_ = [asked for asked, rate in self._found.items() if rate.how == rates.RECKONED]
        return sorted(open_, key=lambda asked: self._found[asked].training)

    def measure(self, seconds: float) -> None:
        """As many as there is time for; what is found is kept for the next plan."""
        end = time.monotonic() + seconds
        todo = self.reckoned
        for done, asked in enumerate(todo):
            left = end - time.monotonic()
            if left <= 0:
                return
            rate = rates.measure(self._studies[asked], asked, left / (len(todo) - done))
            rates.keep(asked, replace(rate, how="measured by an earlier plan"))
            self._found[asked] = rate

    def words(self) -> str:
        """Which figures are measured."""
        by_how: dict[str, list[str]] = {}
        for asked, rate in self._found.items():
            name = f"{asked.model} {rate.training:,.0f}" + (f" ({asked.threads} threads)" * (asked.threads > 1))
            by_how.setdefault(rate.how, []).append(name)
        return "; ".join(f"{how}: {', '.join(found)}" for how, found in by_how.items())


def estimate(todo: Plan, prepared: Prepared, where: Machines, speeds: Speeds) -> Estimate:
    """Plays the study through with the rates of the slowest student and of the teachers."""
    study = todo.study
    slowest = min(speeds.students, key=lambda asked: speeds[asked].training)
    student = speeds[slowest]
    peer = min((speeds[asked].training for asked in speeds.peers), default=student.training)
    running = [speeds[each].evaluating for each in speeds.running]
    logits = cached_seconds(todo, prepared, 1 / sum(1 / each for each in running))
    validation = len(prepared.splits.validation)

    def epoch(arm: Arm) -> float:
        images = study.train.epoch_images or max(student_images(study, arm.cell, prepared))
        beside = peers_beside(study, arm) * images / peer
        if asks_teacher(study, arm):
            beside += logits + runs_beside(study, arm) * images / running[0]
        own = images / student.training + validation / student.evaluating
        return work[arm.number] * own + student.epoch + beside

    slots, gpu = where.slots(study.resources)
    work = {arm.number: times_the_work(study, arm, slowest.model, prepared) for arm in todo.arms}
    by_arm = {arm.number: epoch(arm) for arm in todo.arms}
    final = _final_seconds(student, study.train.batch_size) * sum(work.values()) / len(work)
    costs = Costs(lambda arm: by_arm[arm.number], final, PROCESS_SECONDS, LEG_SECONDS, REPORT_SECONDS)
    played = play(todo, slots, costs)
    teaching = PROCESS_SECONDS
    for made, asked in speeds.lessons:
        tutor, images = speeds[asked], len(prepared.splits.teacher)
        teaching += _final_seconds(tutor, study.train.batch_size)
        if made.checkpoint is None:
            each = images / tutor.training + validation / tutor.evaluating + tutor.epoch
            teaching += made.epochs * each
    return Estimate(slots, gpu, START_SECONDS + teaching + played.seconds + END_SECONDS, played)


def _final_seconds(rate: rates.Rate, batch: int) -> float:
    """What it takes to measure a model's latency, as is done for each final."""
    repeats = teacher.LATENCY_REPEATS
    return repeats * rate.single + repeats // 5 * batch / rate.evaluating


def _number(hours: float) -> str:
    return f"{hours:,.0f}" if hours >= 10 else f"{hours:.2g}"


def _rounded(seconds: float) -> str:
    if seconds < 90:
        return f"{round(seconds / 10) * 10:.0f} seconds"
    if seconds < 5400:
        return f"{seconds / 60:.0f} minutes"
    return f"{seconds / 3600:.1f} hours"

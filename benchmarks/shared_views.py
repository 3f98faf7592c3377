"""What the teacher costs where images are augmented: views that all trials share, against views of each its own.

    python -m benchmarks.shared_views --root DIR_OF_CIFAR

One process and one thread, in CPU-seconds. A round is a training from scratch and some distilled ones, all with crops
and flips, with an empty cache for each side. Accuracy is looked at on digits, with ten seeds: trainings of one seed
differ in their views alone.
"""

import argparse
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch

from benchmarks import exercise
from benchmarks.cached_step import Steps
from benchmarks.driven import scratch
from benchmarks.measuring import Figure, Result, median, parser, progress, ratio, report, require_equal
from tune_kd import names, plan
from tune_kd.data.splits import student_indices
from tune_kd.data.views import Program, Views
from tune_kd.preparation import prepare
from tune_kd.space.load import load
from tune_kd.space.study import Study, resolve
from tune_kd.teacher import making
from tune_kd.teacher.guide import Guide
from tune_kd.training.images import Images
from tune_kd.training.train import Job, train

GOAL = 1.10
DIGITS = """
study: seeds
data: {dataset: digits, drawn: 1000, evaluate_on: [scanned], teacher_on: [scanned]}
teacher: {model: digits_teacher, epochs: 10, augment: {kind: crop_flip, pad: 1}}
student: {model: digits_student_tiny}
augment: {kind: crop, pad: 1}
train: {batch_size: 32, lr: 0.005}
search: {kd.alpha: {uniform: [0.1, 1.0]}}
budget: {epochs: 20}
"""

Programs = dict[str, Callable[[int], Program]]


def main() -> int:
    flags = parser(__doc__, rounds=3)
    exercise.add_flags(flags, images=2048, epochs=3)
    flags.add_argument("--trials", type=int, default=3, help="distilled trainings a side, one after the other")
    flags.add_argument("--seeds", type=int, default=10, help="for the accuracy; 0 leaves it out")
    given = flags.parse_args()
    torch.set_num_threads(1)
    return report("shared_views", given, lambda: measure(given))


def measure(given: argparse.Namespace) -> Result:
    with scratch() as folder:
        os.environ["TUNE_KD_CACHE"] = str(folder / "cache")
        rounds = cost(given, folder)
        accuracy = by_seed(given.seeds, folder) if given.seeds > 1 else {}
    require_equal("images a training", wanted=given.images * given.epochs, shown=rounds.pop("images"))
    plain = rounds["scratch"]
    figures = {
        "second distilled training ÷ scratch, shared views": Figure(ratio(rounds["shared 2"], plain), at_most=GOAL),
        "second distilled training ÷ scratch, own views": Figure(ratio(rounds["own 2"], plain)),
        "first distilled training ÷ scratch": Figure(ratio(rounds["shared 1"], plain)),
        f"{given.trials} distilled trainings, shared ÷ own views": Figure(ratio(rounds["shared"], rounds["own"])),
    }
    for name in accuracy.keys() - {"own"}:
        own = accuracy["own"]
        gains = [100 * (one - other) for one, other in zip(accuracy[name], own, strict=True)]
        error = statistics.stdev(gains) / len(gains) ** 0.5
        note = (
            f"± {error:.2f} (standard error), {len(gains)} seeds; SD over seeds {_sd(accuracy[name])}, own {_sd(own)}"
        )
        figures[f"accuracy, {name} − own views"] = Figure(median(gains), "points", note=note)
    settings = {key: getattr(given, key) for key in ("images", "epochs", "trials", "seeds")} | {
        "cifar": bool(given.root)
    }
    return Result(settings, figures, rounds | {f"accuracy, {key}": found for key, found in accuracy.items()})


def _sd(values: list[float]) -> str:
    return f"{100 * statistics.stdev(values):.2f}"


def cost(given: argparse.Namespace, folder: Path) -> dict[str, list[float]]:
    """CPU-seconds of each training, by round."""
    steps = Steps(exercise.make(given, folder))
    study = steps.study.model_copy(update={"augment": steps.study.augment.model_copy(update={"kind": "crop_flip"})})
    sides: Programs = {"shared": lambda seed: Program(study.seed), "own": Program}
    told: dict[str, list[float]] = {}
    for number in range(given.rounds):
        progress(f"round {number + 1} of {given.rounds}")
        told.setdefault("scratch", []).append(_seconds(steps, study, None, Program(0), 0, folder))
        for side in list(sides)[:: -1 if number % 2 else 1]:
            guide = Guide.of(steps.teacher, steps.data, f"{side} {number}", Views.of(study.augment, study.seed))
            took = [_seconds(steps, study, guide, sides[side](k), k, folder) for k in range(given.trials)]
            for k, seconds in enumerate(took):
                told.setdefault(f"{side} {k + 1}", []).append(seconds)
            told.setdefault(side, []).append(sum(took))
    return told | {"images": len(steps.chosen) * study.budget.epochs}  # type: ignore[return-value]


def _seconds(steps: Steps, study: Study, guide: Guide | None, program: Program, seed: int, folder: Path) -> float:
    started = time.thread_time()
    validation = torch.from_numpy(steps.prepared.splits.validation.copy())[:64]
    _train(study, steps.data, steps.chosen, validation, guide, program, seed, folder)
    return time.thread_time() - started


def _train(
    study: Study,
    data: Images,
    images: torch.Tensor,
    validation: torch.Tensor,
    guide: Guide | None,
    program: Program,
    seed: int,
    folder: Path,
) -> float:
    """The last epoch's accuracy."""
    saved = folder / "student.pt"
    saved.unlink(missing_ok=True)
    heard: list[dict[str, float]] = []
    train(Job(study, images, validation, seed, study.budget.epochs, program=program), data, guide, heard.append, saved)
    return heard[-1][names.VAL_ACCURACY]


def by_seed(seeds: int, folder: Path) -> dict[str, list[float]]:
    """Validation accuracy of distilled students of digits."""
    todo = plan.make(load(DIGITS))
    prepared = prepare(todo, progress)
    splits, study = prepared.splits, resolve(todo.study, {"kd.alpha": 0.7})
    images, labels = torch.from_numpy(splits.images.copy()), torch.from_numpy(splits.labels.copy())
    data = Images(images, labels, prepared.mean, prepared.std, len(splits.classes))
    validation = torch.from_numpy(splits.validation.copy())
    order = making.order(study, data, torch.from_numpy(splits.teacher.copy()), validation)
    made = making.make(order, folder / "digits.pt", lambda found: None)
    guide = Guide.of(made, data, "digits", Views.of(study.augment, study.seed))
    chosen = torch.from_numpy(student_indices(splits, "drawn", "all", None).copy())
    programs: Programs = {
        "own": Program,
        "shared": lambda seed: Program(study.seed),
        "shared, own order": lambda seed: Program(study.seed, seed),
    }
    return {
        name: [_train(study, data, chosen, validation, guide, program(seed), seed, folder) for seed in range(seeds)]
        for name, program in programs.items()
    }


if __name__ == "__main__":
    sys.exit(main())

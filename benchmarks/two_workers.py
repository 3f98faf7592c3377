"""Whether two workers train twice as many images as one.

    python -m benchmarks.two_workers --root DIR_OF_CIFAR

The workers are processes of Ray's that run the search's own legs, with images from the object store and logits from the
cache. One works alone, then two at once; images a second as the trainings report them, summed over the workers.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from typing import Any

import ray

from benchmarks import exercise
from benchmarks.driven import connected, scratch
from benchmarks.measuring import Figure, Result, in_turn, median, parser, ratio, report, require_equal
from tune_kd import names
from tune_kd.execution.order import Order
from tune_kd.execution.resources import Share
from tune_kd.execution.trial import run
from tune_kd.execution.workbench import Material
from tune_kd.storage.stores import Storage
from tune_kd.tuning.conductor import MESSAGE, OK, OUTCOME

GOAL = 1.95
ALONE, BOTH = "1 worker", "2 workers"


def main() -> int:
    flags = parser(__doc__, rounds=5)
    exercise.add_flags(flags, images=8192, epochs=6)
    flags.add_argument("--address", help="a Ray that runs already, with two processors")
    given = flags.parse_args()
    return report("two_workers", given, lambda: measure(given))


@ray.remote(num_cpus=1)
class Worker:
    def train(self, order: Order, material: Sequence[ray.ObjectRef[Any]]) -> list[float]:
        """Images a second of each epoch."""
        heard: list[dict[str, Any]] = []
        told = run({"order": order}, material[0], heard.append)
        if told[OUTCOME] != OK:
            raise RuntimeError(told[MESSAGE])
        return [metrics[names.IMAGES_PER_SECOND] for metrics in heard]


def measure(given: argparse.Namespace) -> Result:
    with scratch() as folder:
        os.environ["TUNE_KD_CACHE"] = str(folder / "cache")
        made = exercise.make(given, folder)
        with connected(given.address):
            study, prepared = made.load()
            teacher = exercise.teacher_of(study, prepared)
            kept = Storage.at(str(folder)).marked()
            material = ray.put(Material(study, prepared.splits, prepared.mean, prepared.std, kept))
            made_teacher = ray.put(teacher)
            workers = [Worker.remote() for _ in range(2)]
            legs = Legs(made, material, made_teacher, workers)
            legs.rates(2)  # imports, and the teacher's logits
            told = in_turn({ALONE: lambda: legs.rates(1), BOTH: lambda: legs.rates(2)}, given.rounds)
    speeds = {name: [sum(rates) for rates in rounds] for name, rounds in told.items()}
    figures = {
        "2 workers ÷ 1 worker": Figure(ratio(speeds[BOTH], speeds[ALONE]), at_least=GOAL),
        ALONE: Figure(median(speeds[ALONE]), "images/s"),
        BOTH: Figure(median(speeds[BOTH]), "images/s"),
    }
    settings = {"images": given.images, "epochs": given.epochs, "cifar": bool(given.root)}
    work = {"images an epoch": given.images, "epochs": given.epochs}
    return Result(settings, figures, told, work)


class Legs:
    def __init__(self, made: exercise.Exercise, material: Any, teacher: Any, workers: Sequence[Any]) -> None:
        self._made, self._material, self._teacher, self._workers = made, material, teacher, workers
        self._number = 0

    def rates(self, workers: int) -> list[float]:
        """One leg each, all at once; the first epoch, in which they may not all be at work yet, does not count."""
        told = ray.get([worker.train.remote(self._order(), [self._material]) for worker in self._workers[:workers]])
        require_equal("epochs", wanted=[self._made.epochs] * workers, told=[len(rates) for rates in told])
        return [median(rates[1:] or rates) for rates in told]

    def _order(self) -> Order:
        self._number += 1
        config = {"kd.alpha": 0.5, "train.lr": 0.001}
        return Order(
            config=config,
            arm=names.DISTILLED,
            seed=self._number,
            until=self._made.epochs,
            reported=0,
            deadline=float("inf"),
            saved=f"{self._number}.pt",
            final=False,
            teacher=self._teacher,
            share=Share(1.0, 0.0),
        )


if __name__ == "__main__":
    sys.exit(main())

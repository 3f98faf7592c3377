"""Makes the teacher where the machines for it are: in a process of Ray's, while what needs no teacher is trained."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
import torch
from ray.util.placement_group import PlacementGroup, placement_group, remove_placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from tune_kd import names
from tune_kd.data.views import Views
from tune_kd.errors import StorageError, TuneKDError
from tune_kd.execution.resources import Share
from tune_kd.execution.workbench import pick_device
from tune_kd.objects import Travelling
from tune_kd.preparation import Prepared
from tune_kd.space.study import TEACHER_EPOCHS, Study, by_teacher, lessons
from tune_kd.storage.stores import Storage
from tune_kd.teacher import making as teacher
from tune_kd.teacher.earlier import TAKEN, Place
from tune_kd.teacher.ensemble import known, long
from tune_kd.teacher.guide import Guide
from tune_kd.teacher.taught import Taught
from tune_kd.training.images import Images, as_tensor
from tune_kd.training.precision import Agree

POLL_SECONDS = 0.25
MOST_DEATHS = 3
"""In a row, without an epoch between them."""
PLACE_SECONDS = 60.0
"""How long the teacher's place is waited for; on a cluster that is full it comes later."""


@dataclass(frozen=True)
class Lesson:
    """An epoch of a teacher's or assistant's."""

    whose: str
    epochs: int
    metrics: dict[str, float]


class Maker:
    """The process in which the teachers are made."""

    def __init__(self) -> None:
        self._heard: list[Lesson] = []
        self._taken: list[str] = []

    def make(
        self,
        study: Study,
        prepared: Prepared,
        loaded: tuple[teacher.Teacher | None, ...],
        storage: Storage,
        agree: Agree | None,
        objects: Travelling,
        threads: int,
    ) -> Taught:
        objects.unpack()
        splits = prepared.splits
        device = pick_device(study)
        torch.set_num_threads(threads)
        images = _images(prepared).to(device)
        index, validation, test = map(as_tensor, (splits.teacher, splits.validation, splits.test))
        chains: list[list[teacher.Teacher]] = []
        levels = study.conditions.get(TEACHER_EPOCHS, ())
        for number, own in enumerate(by_teacher(study)):
            chain: list[teacher.Teacher] = []
            chains.append(chain)
            for step, lesson in enumerate(lessons(own)):
                made = loaded[number] if not chain else None
                if made is None:
                    start = None if chain else prepared.teachers[number]
                    # The same chance where only epochs differ: nothing else is to tell these teachers apart.
                    which = (0 if levels else number, step) if (number and not levels) or step else ()
                    order = teacher.order(lesson, images, index, validation, agree, start, which)
                    tutor = chain[-1] if chain else None
                    whose, file = _whose(study, lesson, number, step), saved_at(number, step)
                    made = self._made(order, tutor, splits.digests["images"], storage, whose, file)
                chain.append(made)
        taught, facts = known([chain[-1] for chain in chains], chains, images, validation, test, levels)
        return Taught(taught, facts | ({TAKEN: ", ".join(self._taken)} if self._taken else {}))

    def _made(
        self, order: teacher.Order, tutor: teacher.Teacher | None, images: str, storage: Storage, whose: str, file: str
    ) -> teacher.Teacher:
        """Taken from an earlier search, where one has trained the same; else trained."""
        place = Place.of(order, images, tutor)

        def told(metrics: dict[str, float]) -> None:
            self._heard.append(Lesson(whose, order.job.until, metrics))

        with storage.training(file, told) as (saved, report):
            # Where this search has begun to train it, that is gone on with.
            if not saved.exists() and (found := place.find(saved)):
                made, when = found
                self._taken.append(f"{whose} ({when})")
                return made
            made = teacher.make(order, saved, report, _guide(order, tutor, images) if tutor else None)
            place.keep(made, saved)
            return made

    def heard(self, start: int) -> list[Lesson]:
        """Reports since the one numbered `start`."""
        return self._heard[start:]


def saved_at(number: int, step: int) -> str:
    """Where a teacher's training is kept, and an assistant's."""
    own = "" if number == step == 0 else f"-{number + 1}" + (f"-{step}" if step else "")
    return f"{names.CHECKPOINT_DIR}/teacher{own}.pt"


def _whose(study: Study, lesson: Study, number: int, step: int) -> str:
    whose = f"assistant {step}" if step else "teacher"
    if TEACHER_EPOCHS in study.conditions:
        return f"{whose} of {'the one of ' * bool(step)}{long(lesson.teacher.epochs)}"
    if study.teachers:
        return f"{whose} of teacher {number + 1}" if step else f"{whose} {number + 1}"
    return whose


def _guide(order: teacher.Order, tutor: teacher.Teacher, digest: str) -> Guide:
    """Whoever came before, for an assistant in training."""
    return Guide.of(tutor, order.data, digest, Views.of(order.study.teacher.augment, order.study.seed))


def _images(prepared: Prepared) -> Images:
    splits = prepared.splits
    return Images(as_tensor(splits.images), as_tensor(splits.labels), prepared.mean, prepared.std, len(splits.classes))


class Teaching:
    """A teacher in the making, looked at between any two events of the search."""

    def __init__(
        self,
        study: Study,
        prepared: Prepared,
        storage: Storage,
        agree: Agree | None,
        gpu: bool,
        report: Callable[[str, int, dict[str, float]], None],
        made: Callable[[Taught], None],
        objects: Travelling,
    ) -> None:
        self._storage = storage
        self._gpu = gpu
        self._report = report
        self._made = made
        self._told = self._deaths = self._told_at_death = 0
        self._looked = self._began = time.monotonic()
        self.taught: Taught | None = None
        self.reference: ray.ObjectRef[Any] | None = None
        self.error: TuneKDError | None = None
        self.seconds = 0.0
        self._place: PlacementGroup | None = None
        self._order = (study, prepared, storage, agree, objects)

    def begin(self) -> None:
        """Takes the teacher that is there; else loads it, takes a place and starts the process that makes it."""
        if taught := Taught.kept(self._storage):
            self._take(taught)
            return
        study, prepared, storage, agree, objects = self._order
        # Files of the user's are read here: other machines need not have them.
        loaded = tuple(_loaded(own, prepared) for own in by_teacher(study))
        self._sent = (study, ray.put(prepared), ray.put(loaded), storage, agree, objects)
        nodes = sum(node["Alive"] for node in ray.nodes())
        # Half of a machine's processors: the other half trains students meanwhile.
        self._threads = 1 if self._gpu else max(1, int(ray.cluster_resources().get("CPU", 1) / nodes) // 2)
        # Its place is taken before any trial's: they keep theirs, and some would wait for the teacher for ever.
        self._place = placement_group([{"CPU": self._threads} | ({"GPU": 1} if self._gpu else {})])
        self._place.wait(PLACE_SECONDS)
        self._start()

    def _start(self) -> None:
        remote: Any = ray.remote(Maker)
        assert self._place is not None  # it has its place until it ends
        place = PlacementGroupSchedulingStrategy(self._place)
        self._maker = remote.options(
            num_cpus=self._threads, num_gpus=1 if self._gpu else 0, max_concurrency=2, scheduling_strategy=place
        ).remote()
        self._making = self._maker.make.remote(*self._sent, self._threads)
        self._hearing = self._maker.heard.remote(self._told)

    def takes(self) -> Share | None:
        return None if self.taught or self.error else Share(self._threads, 1.0 if self._gpu else 0.0)

    def ready(self) -> bool:
        """Looks, now and then, how far it is; asked even when no trial is due, as trials may wait for its place."""
        if self.taught is None and self.error is None and time.monotonic() - self._looked > POLL_SECONDS:
            self._looked = time.monotonic()
            try:
                self._look()
            except TuneKDError as error:
                self.error = error
        return self.taught is not None and self.error is None

    def failed(self) -> bool:
        return not self.ready() and self.error is not None

    def _look(self) -> None:
        try:
            if ray.wait([self._hearing], timeout=0)[0]:
                self._tell(ray.get(self._hearing))
            if not ray.wait([self._making], timeout=0)[0]:
                return
            taught: Taught = ray.get(self._making)
        except (ray.exceptions.RayActorError, ray.exceptions.ObjectLostError) as error:
            self._begin_again(error)
            return
        except ray.exceptions.RayError as error:
            cause = getattr(error, "cause", None) or error
            if isinstance(cause, StorageError):
                self._begin_again(cause)
                return
            if isinstance(cause, TuneKDError):
                raise cause from None
            raise _failed(cause) from error
        self.end()
        self._take(taught)
        taught.keep(self._storage)

    def end(self) -> None:
        """Gives its place back, whether it was made or not."""
        if self._place is not None:
            ray.kill(self._maker)
            remove_placement_group(self._place)
            self._place = None

    def _take(self, taught: Taught) -> None:
        self._made(taught)
        # Put by this process, it outlives the one that made it.
        self.reference = ray.put(taught.teachers)
        self.seconds = time.monotonic() - self._began
        self.taught = taught

    def _tell(self, reports: list[Lesson]) -> None:
        for lesson in reports:
            self._report(lesson.whose, lesson.epochs, lesson.metrics)
        self._told += len(reports)
        self._hearing = self._maker.heard.remote(self._told)

    def _begin_again(self, error: Exception) -> None:
        """Its process, its machine or the storage went away: another goes on from the last epoch saved."""
        self._deaths = self._deaths + 1 if self._told == self._told_at_death else 1
        self._told_at_death = self._told
        if self._deaths >= MOST_DEATHS:
            raise _failed(error) from error
        # One that only does not answer must not go on beside the next.
        ray.kill(self._maker)
        # It hears of all epochs again, from the checkpoint; those told before are skipped.
        self._start()


def _loaded(study: Study, prepared: Prepared) -> teacher.Teacher | None:
    file = study.teacher.checkpoint
    return None if file is None else teacher.load(study, Path(file), _images(prepared), prepared.splits.classes)


def _failed(cause: Exception) -> TuneKDError:
    reason = str(cause).strip().partition("\n")[0]
    return TuneKDError(f"the teacher could not be made: {type(cause).__name__}: {reason}")

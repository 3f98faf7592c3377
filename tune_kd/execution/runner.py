"""Runs a conductor's legs on Ray Tune, in processes that are used again and again."""

import logging
import shutil
import tempfile
from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

import ray
from ray import tune

from tune_kd import names
from tune_kd.errors import InputError
from tune_kd.execution import gauge, inside_tune
from tune_kd.execution.machines import Nodes, Slots, Wishes, read
from tune_kd.execution.resources import Share, Shares, fixed, slots
from tune_kd.execution.searcher import Broken, Floor, LegSearcher
from tune_kd.execution.trial import run
from tune_kd.execution.workbench import Material
from tune_kd.preparation import Prepared
from tune_kd.space.designs import levels
from tune_kd.space.study import Study
from tune_kd.tuning.conductor import Conductor

__all__ = ["alone", "conduct", "drive", "fitting_shares", "slots_now"]


def fitting_shares(study: Study, prepared: Prepared, say: Callable[[str], None]) -> Shares:
    """What each student's trainings take; refused where no machine has room for one."""
    nodes = read()
    wanted = study.resources
    students = [str(name) for name in levels(study, names.STUDENT_MODEL)]
    if not any(node.gpus for node in nodes):
        if wanted.gpu not in ("auto", 0):
            raise InputError(
                f"resources.gpu is {wanted.gpu}, but Ray sees no GPU here. Use --set resources.gpu=auto to train on "
                "the CPU where there is none, or give the address of a cluster that has one."
            )
        shares = fixed(students, wanted.cpu, 0.0)
    elif wanted.gpu == "auto":
        shares = gauge.shares(study, prepared, students, nodes, say)
    else:
        shares = fixed(students, wanted.cpu, float(wanted.gpu))
    shares.check(nodes)
    return shares


class TeacherSeen(Protocol):
    """What the search needs to know of its teacher."""

    @property
    def reference(self) -> ray.ObjectRef[Any] | None:
        """None as long as it is being made."""

    def takes(self) -> Share | None:
        """What of the machines it takes until then."""


def slots_now(shares: Shares) -> int:
    return slots(read(), shares.smallest)


def alone(there: int, live: int, more: bool) -> int:
    """The slots of a search that shares its Ray with no other: all there are."""
    return there


def conduct(
    conductor: Conductor,
    material: Material,
    shares: Shares,
    teacher: TeacherSeen,
    check: Callable[[], None],
    may_use: Callable[[int, int, bool], int] = alone,
) -> None:
    """Returns when every leg is trained; ends with whatever `check` raises between any two events.

    `may_use` says how many of the slots are this search's, from how many there are, how many of its legs are under way,
    and whether it may have more.
    """
    trial = partial(_trial, material=ray.put(material))
    drive(conductor, trial, shares, check, teacher, may_use)


def drive(
    conductor: Conductor,
    trial: Callable[[dict[str, Any]], dict[str, Any]],
    shares: Shares,
    check: Callable[[], None],
    teacher: TeacherSeen | None = None,
    may_use: Callable[[int, int, bool], int] = alone,
) -> None:
    """Whatever it is that a leg does."""
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)
    inside_tune.settle()
    nodes = Nodes()
    there = Slots(nodes, shares.smallest)
    wishes = Wishes(shares.smallest)
    floor = Floor(nodes, teacher.takes if teacher else lambda: None)

    def reference() -> Any:
        return teacher.reference if teacher else None

    def own_slots(live: int, more: bool) -> int:
        return may_use(there(), live, more)

    searcher = LegSearcher(conductor, shares, floor, own_slots, wishes, check, reference)
    scheduler = inside_tune.InOrder(searcher)
    scratch = tempfile.mkdtemp(prefix="tune_kd-")
    try:
        tune.Tuner(
            inside_tune.trainable(trial),
            tune_config=tune.TuneConfig(
                search_alg=searcher,
                scheduler=scheduler,
                num_samples=-1,
                reuse_actors=True,
            ),
            run_config=tune.RunConfig(
                name="legs",
                storage_path=scratch,
                verbose=0,
                progress_reporter=inside_tune.Silent(),
                callbacks=[inside_tune.Course(searcher)],
            ),
        ).fit()
    except BaseException as error:
        scheduler.let_go()
        if isinstance(error, Broken):
            raise error.cause from None
        raise
    finally:
        wishes.withdraw()
        shutil.rmtree(scratch, ignore_errors=True)


def _trial(config: dict[str, Any], material: ray.ObjectRef[Any]) -> dict[str, Any]:
    return run(config, material, tune.report)

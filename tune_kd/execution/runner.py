"""Runs a conductor's legs on Ray Tune, in processes that are used again and again."""

import logging
import os
import shutil
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Protocol

# Read by ray.tune when it is imported. Files per trial, snapshots of Tune's state and its own Ctrl-C are not wanted:
# the ledger has everything, and nothing is to wait for a disk.
os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
os.environ.setdefault("TUNE_GLOBAL_CHECKPOINT_S", "1000000")
os.environ.setdefault("TUNE_DISABLE_SIGINT_HANDLER", "1")
os.environ.setdefault("TUNE_WARN_SLOW_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S", "1000000")
os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
# How many trials may wait for a process: the searcher hands out no more than there are slots.
os.environ.setdefault("TUNE_MAX_PENDING_TRIALS_PG", "1000000")
# After so long without a trial Tune wants to warn, and breaks where there has been none, as the teacher takes longer.
os.environ.setdefault("TUNE_WARN_INSUFFICENT_RESOURCE_THRESHOLD_S", "1000000000")
os.environ.setdefault("TUNE_WARN_INSUFFICENT_RESOURCE_THRESHOLD_S_AUTOSCALER", "1000000000")
# More than one report at once: see `_trainable`.
os.environ.setdefault("TUNE_RESULT_BUFFER_LENGTH", "1000")
# How long a process may take to clear up after a trial before it is thrown away instead of being used again.
os.environ.setdefault("TUNE_FUNCTION_THREAD_TIMEOUT_S", "60")

import ray
from ray import tune
from ray.tune.execution import class_cache
from ray.tune.experiment import Trial
from ray.tune.progress_reporter import TrialProgressCallback
from ray.tune.schedulers import FIFOScheduler
from ray.tune.trainable.function_trainable import wrap_function

from tune_kd import names
from tune_kd.errors import InputError
from tune_kd.execution import gauge, memory
from tune_kd.execution.machines import Nodes, Slots, Wishes, read
from tune_kd.execution.resources import Share, Shares, fixed, slots
from tune_kd.execution.searcher import Broken, Floor, Interrupted, LegSearcher
from tune_kd.execution.trial import run
from tune_kd.execution.workbench import Material
from tune_kd.preparation import Prepared, levels
from tune_kd.space.study import Study
from tune_kd.tuning.conductor import Conductor

__all__ = ["Interrupted", "alone", "conduct", "drive", "fitting_shares", "slots_now"]


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


TOGETHER_SECONDS = 0.05

# Tune sets a variable in its trials' processes for the sake of another library, so Ray would have to start new ones
# instead of using those that it holds ready.
class_cache.DEFAULT_ENV_VARS.clear()


class InOrder(FIFOScheduler):
    """Leaves it to Tune's queue which trial starts, and tells the searcher of trials that are gone.

    The stock scheduler gives a process that has become free to a trial whose own process is still starting, and Tune
    then throws that one away. A leg is shorter than a start, so it would go on like this for ever, on one process.
    """

    def __init__(self, searcher: LegSearcher) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._searcher = searcher

    def choose_trial_to_run(self, tune_controller: Any) -> None:
        # A process that could not be made ready for its next trial is one of which Tune tells nobody.
        for trial in [trial for trial in tune_controller.get_live_trials() if trial.status == Trial.ERROR]:
            self._searcher.died(trial.trial_id)

    def on_trial_error(self, tune_controller: Any, trial: Any) -> None:
        """Tune tells only here why, and in a file that it adds to."""
        try:
            last = Path(trial.error_file).read_text(errors="replace").rpartition("Failure #")[2]
        except (OSError, TypeError):
            last = ""
        self._searcher.died(trial.trial_id, memory.cause_of_death(last))


class TeacherSeen(Protocol):
    """What the search needs to know of its teacher."""

    @property
    def reference(self) -> ray.ObjectRef[Any] | None:
        """None as long as it is being made."""

    def takes(self) -> Share | None:
        """What of the machines it takes until then."""


class Course(TrialProgressCallback):
    """Tells the searcher of trials that have their process, and trials that they are over.

    Being of this kind it stands in for Tune's own, which would keep and print something of every trial.
    """

    def __init__(self, searcher: LegSearcher) -> None:
        super().__init__()
        self._searcher = searcher

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self._searcher.started(trial.trial_id)

    def on_trial_result(self, iteration: int, trials: list[Any], trial: Any, result: Any, **info: Any) -> None: ...

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None: ...

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        trial.forget()


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
    interrupted: Callable[[], bool],
    may_use: Callable[[int, int, bool], int] = alone,
) -> None:
    """Returns when every leg is trained; raises `Interrupted` as soon as the user has had enough.

    `may_use` says how many of the slots are this search's, from how many there are, how many of its legs are under way,
    and whether it may have more.
    """
    trial = partial(_trial, material=ray.put(material))
    drive(conductor, trial, shares, interrupted, teacher, may_use)


def drive(
    conductor: Conductor,
    trial: Callable[[dict[str, Any]], dict[str, Any]],
    shares: Shares,
    interrupted: Callable[[], bool],
    teacher: TeacherSeen | None = None,
    may_use: Callable[[int, int, bool], int] = alone,
) -> None:
    """Whatever it is that a leg does."""
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)
    nodes = Nodes()
    there = Slots(nodes, shares.smallest)
    wishes = Wishes(shares.smallest)
    floor = Floor(nodes, teacher.takes if teacher else lambda: None)

    def reference() -> Any:
        return teacher.reference if teacher else None

    def own_slots(live: int, more: bool) -> int:
        return may_use(there(), live, more)

    searcher = LegSearcher(conductor, shares, floor, own_slots, wishes, interrupted, reference)
    scratch = tempfile.mkdtemp(prefix="tune_kd-")
    try:
        tune.Tuner(
            _trainable(trial),
            tune_config=tune.TuneConfig(
                search_alg=searcher,
                scheduler=InOrder(searcher),
                num_samples=-1,
                reuse_actors=True,
            ),
            run_config=tune.RunConfig(name="legs", storage_path=scratch, verbose=0, callbacks=[Course(searcher)]),
        ).fit()
    except Broken as broken:
        raise broken.cause from None
    finally:
        wishes.withdraw()
        shutil.rmtree(scratch, ignore_errors=True)


def _trainable(trial: Callable[[dict[str, Any]], dict[str, Any]]) -> type:
    class Leg(wrap_function(trial)):  # type: ignore[misc]
        """Tells of its epochs together where they are short: each telling takes Tune and Ray milliseconds."""

        def train_buffered(self, *wanted: float) -> list[dict[str, Any]]:
            # Tune mixes up the two numbers that it passes.
            told: list[dict[str, Any]] = super().train_buffered(TOGETHER_SECONDS)
            return told

    return Leg


def _trial(config: dict[str, Any], material: ray.ObjectRef[Any]) -> dict[str, Any]:
    return run(config, material, tune.report)

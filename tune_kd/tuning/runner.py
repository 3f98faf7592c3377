"""Runs a conductor's legs on Ray Tune, in processes that are used again and again."""

import logging
import os
import shutil
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

# Read by ray.tune when it is imported. Files per trial, snapshots of Tune's state and its own Ctrl-C are not wanted:
# the ledger has everything, and nothing is to wait for a disk.
os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
os.environ.setdefault("TUNE_GLOBAL_CHECKPOINT_S", "1000000")
os.environ.setdefault("TUNE_DISABLE_SIGINT_HANDLER", "1")
os.environ.setdefault("TUNE_WARN_SLOW_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S", "1000000")
os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
# How many trials may wait for a process: the searcher hands out no more than there are slots.
os.environ.setdefault("TUNE_MAX_PENDING_TRIALS_PG", "1000000")

import ray
from ray import tune
from ray.tune.schedulers import FIFOScheduler

from tune_kd.cluster.address import silence
from tune_kd.errors import InputError, TuneKDError
from tune_kd.space.schema import Resources
from tune_kd.tuning.conductor import Conductor
from tune_kd.tuning.resources import Share, Slots, share, slots
from tune_kd.tuning.searcher import LegSearcher
from tune_kd.tuning.trial import run
from tune_kd.tuning.workbench import Material


def connect(address: str | None) -> None:
    """Joins the cluster at `address`, or starts Ray on this machine."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    if address is not None:
        _check_answers(address)
    try:
        ray.init(
            address=address or "local",
            log_to_driver=False,
            logging_level=logging.ERROR,
            include_dashboard=False if address is None else None,
        )
    except (ConnectionError, ValueError, RuntimeError) as error:
        reason = str(error).strip().partition("\n")[0]
        if address is None:
            raise TuneKDError(f"Ray could not be started on this machine: {reason}") from error
        raise _unreachable(address, reason) from error


def _check_answers(address: str) -> None:
    """Ray itself would try for minutes before it says that nobody is there."""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if not colon or not port.isdigit():
        return  # 'auto' and the like, which Ray looks up by itself
    if reason := silence(host, int(port)):
        raise _unreachable(address, reason)


def _unreachable(address: str, reason: str) -> InputError:
    return InputError(
        f"--address {address}: no Ray cluster answers there ({reason}). Start one with `ray start --head`, give the "
        "address that it prints, or leave --address out to run on this machine."
    )


def disconnect() -> None:
    ray.shutdown()


def fitting_share(wanted: Resources) -> Share:
    """What each trial takes; refused where no machine has room for one."""
    each = share(wanted)
    if slots(each) == 0:
        has = {key: value for key, value in ray.cluster_resources().items() if key in ("CPU", "GPU")}
        raise InputError(
            f"resources: no machine of this Ray has room for a trial with {each.request()}. It has {has} in all. "
            "Ask for less with --set resources.cpu=… or resources.gpu=…, or give the --address of a larger one."
        )
    return each


class InOrder(FIFOScheduler):
    """Leaves it to Tune's queue which trial starts.

    The stock scheduler gives a process that has become free to a trial whose own process is still starting, and Tune
    then throws that one away. A leg is shorter than a start, so it would go on like this for ever, on one process.
    """

    def choose_trial_to_run(self, tune_controller: Any) -> None:
        return None


def alone(slots: int, live: int, more: bool) -> int:
    """The slots of a search that shares its Ray with no other: all there are."""
    return slots


def conduct(
    conductor: Conductor,
    material: Material,
    each: Share,
    checkpoints: Path,
    interrupted: Callable[[], bool],
    may_use: Callable[[int, int, bool], int] = alone,
) -> None:
    """Returns when every leg is trained; raises `Interrupted` as soon as the user has had enough.

    `may_use` says how many of the slots are this search's, from how many there are, how many of its legs are under way,
    and whether it may have more.
    """
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)
    slots = Slots(each)
    searcher = LegSearcher(conductor, lambda live, more: may_use(slots(), live, more), interrupted, checkpoints)
    scratch = tempfile.mkdtemp(prefix="tune_kd-")
    try:
        tune.Tuner(
            tune.with_resources(partial(_trial, material=ray.put(material)), each.request()),
            tune_config=tune.TuneConfig(
                search_alg=searcher,
                scheduler=InOrder(),  # type: ignore[no-untyped-call]
                num_samples=-1,
                reuse_actors=True,
                trial_dirname_creator=_one_folder,
            ),
            run_config=tune.RunConfig(name="legs", storage_path=scratch, verbose=0),
        ).fit()
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _trial(config: dict[str, Any], material: ray.ObjectRef[Any]) -> dict[str, Any]:
    return run(config, material, tune.report)


def _one_folder(trial: Any) -> str:
    """Tune wants a folder for each trial; ours write nothing there, so one serves all."""
    return "trial"

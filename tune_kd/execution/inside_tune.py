"""The one place that knows Tune from inside: its variables, its classes' private parts, and what is changed in them.

True for the Ray named in VERSION; `tests/execution/test_inside_tune.py` says what of it another version has changed.
"""

import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Protocol

from ray import tune
from ray.air._internal import usage
from ray.tune.execution import class_cache
from ray.tune.experiment import Experiment, Trial
from ray.tune.progress_reporter import ProgressReporter, TrialProgressCallback
from ray.tune.schedulers import FIFOScheduler
from ray.tune.trainable.function_trainable import wrap_function

from tune_kd.execution import memory
from tune_kd.execution.order import Order
from tune_kd.execution.resources import Share

VERSION: Final = "2.60"

VARIABLES: Final = {
    # Files per trial, snapshots of Tune's state and its own Ctrl-C are not wanted: the ledger has everything, and
    # nothing is to wait for a disk.
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_GLOBAL_CHECKPOINT_S": "1000000",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "TUNE_WARN_SLOW_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "1000000",
    "RAY_AIR_NEW_OUTPUT": "0",
    # How many trials may wait for a process: the searcher hands out no more than there are slots.
    "TUNE_MAX_PENDING_TRIALS_PG": "1000000",
    # After so long without a trial Tune wants to warn, and breaks where there has been none: a teacher takes longer.
    "TUNE_WARN_INSUFFICENT_RESOURCE_THRESHOLD_S": "1000000000",
    "TUNE_WARN_INSUFFICENT_RESOURCE_THRESHOLD_S_AUTOSCALER": "1000000000",
    # More than one report at once: see `trainable`.
    "TUNE_RESULT_BUFFER_LENGTH": "1000",
    # How long a process may take to clear up after a trial before it is thrown away instead of being used again.
    "TUNE_FUNCTION_THREAD_TIMEOUT_S": "60",
}
"""Read by Tune when a search is begun, or by its workers."""

TOGETHER_SECONDS: Final = 0.05


def settle() -> None:
    """Before Tune runs in this process. What somebody has set already stays."""
    for name, value in VARIABLES.items():
        os.environ.setdefault(name, value)
    # Tune sets a variable in its trials' processes for the sake of another library, so Ray would have to start new ones
    # instead of using those that it holds ready.
    class_cache.DEFAULT_ENV_VARS.clear()
    # To count callbacks of its own Tune imports MLflow, while the first trials start and wait for a processor.
    usage.tag_callbacks = lambda callbacks: False


class Hears(Protocol):
    """What is told of trials, by their ids."""

    def started(self, trial_id: str) -> None: ...
    def died(self, trial_id: str, cause: str = "") -> None: ...


class LegTrial(Trial):
    """Knows what it runs. A plain one asks Ray's store for that and unpickles it, several times a trial."""

    def __init__(self, trainable: type, experiment: Experiment, key: str, order: Order) -> None:
        self._trainable = trainable
        super().__init__(
            experiment.spec["run"],
            config={"order": order},
            trial_id=key,
            storage=experiment.spec["storage"],
            checkpoint_config=experiment.spec["checkpoint_config"],
            # Tune gives a process only to trials that ask for the same as the one it was made for.
            placement_group_factory=_request(order.share),
            trial_dirname_creator=_one_folder,
            stub=True,
            _setup_default_resource=False,
        )

    def get_trainable_cls(self) -> type:
        return self._trainable

    def set_ray_actor(self, ray_actor: Any) -> None:
        """Without a call to the process to ask where it is, which nobody wants to know."""
        self.temporary_state.ray_actor = ray_actor

    def update_last_result(self, result: dict[str, Any]) -> None:
        """Without statistics of each number ever told: Tune keeps its trials until the search ends."""
        self.run_metadata.last_result = result

    def forget(self) -> None:
        """It is over, and the ledger has what became of it."""
        self.config = {}
        self.run_metadata.last_result = {}


@functools.cache
def _request(share: Share) -> tune.PlacementGroupFactory:
    return tune.PlacementGroupFactory([share.bundle()])


def _one_folder(trial: Trial) -> str:
    """Tune wants a folder for each trial; ours write nothing there, so one serves all."""
    return "trial"


class InOrder(FIFOScheduler):
    """Leaves it to Tune's queue which trial starts, and tells the searcher of trials that are gone.

    The stock scheduler gives a process that has become free to a trial whose own process is still starting, and Tune
    then throws that one away. A leg is shorter than a start, so it would go on like this for ever, on one process.
    """

    def __init__(self, searcher: Hears) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._searcher = searcher
        self._controller: Any = None

    def let_go(self) -> None:
        """Ends the trials' processes. Tune does so for an `Exception`, not for the errors that end a search at once."""
        if self._controller is not None:
            self._controller._actor_manager.cleanup()

    def choose_trial_to_run(self, tune_controller: Any) -> None:
        self._controller = tune_controller
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


class Course(TrialProgressCallback):
    """Tells the searcher of trials that have their process, and trials that they are over.

    Being of this kind it stands in for Tune's own, which would keep and print something of every trial.
    """

    def __init__(self, searcher: Hears) -> None:
        super().__init__()
        self._searcher = searcher

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self._searcher.started(trial.trial_id)

    def on_trial_result(self, iteration: int, trials: list[Any], trial: Any, result: Any, **info: Any) -> None: ...

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None: ...

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        trial.forget()


class Silent(ProgressReporter):
    """In a notebook Tune's own clears what stands below the cell, even where it is to say nothing."""

    def should_report(self, trials: list[Any], done: bool = False) -> bool:
        return False

    def report(self, trials: list[Any], done: bool, *sys_info: str) -> None: ...


def trainable(trial: Callable[[dict[str, Any]], dict[str, Any]]) -> type:
    class Leg(wrap_function(trial)):  # type: ignore[misc]
        """Tells of its epochs together where they are short: each telling takes Tune and Ray milliseconds."""

        def train_buffered(self, *wanted: float) -> list[dict[str, Any]]:
            # Tune mixes up the two numbers that it passes.
            told: list[dict[str, Any]] = super().train_buffered(TOGETHER_SECONDS)
            return told

    return Leg

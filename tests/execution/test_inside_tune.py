"""What is used of Tune's inside is there, in the version that it was written for."""

import inspect
import subprocess
import sys
from pathlib import Path

import ray
from ray import tune
from ray.air.execution._internal import RayActorManager
from ray.tune.execution import class_cache, tune_controller
from ray.tune.experiment import Trial
from ray.tune.progress_reporter import TrialProgressCallback
from ray.tune.schedulers import FIFOScheduler
from ray.tune.search import SearchAlgorithm
from ray.tune.trainable import Trainable

from tune_kd.execution import inside_tune


def test_it_is_the_version_that_this_was_true_for() -> None:
    assert ray.__version__.startswith(f"{inside_tune.VERSION}.")


def test_tune_still_reads_each_variable() -> None:
    package = Path(tune.__file__).parent
    source = "\n".join(path.read_text(encoding="utf-8") for path in package.rglob("*.py"))
    assert {name for name in inside_tune.VARIABLES if name not in source} == set()


def test_the_private_parts_are_there() -> None:
    assert isinstance(class_cache.DEFAULT_ENV_VARS, dict)
    assert "DEFAULT_ENV_VARS" in inspect.getsource(class_cache)
    assert {"storage", "placement_group_factory", "trial_dirname_creator", "stub", "_setup_default_resource"} <= set(
        inspect.signature(Trial.__init__).parameters
    )
    for name in ("get_trainable_cls", "set_ray_actor", "update_last_result", "generate_id"):
        assert callable(getattr(Trial, name))
    source = inspect.getsource(Trial)
    assert "self.temporary_state" in source
    assert "self.run_metadata" in source
    assert list(inspect.signature(FIFOScheduler.choose_trial_to_run).parameters) == ["self", "tune_controller"]
    assert list(inspect.signature(FIFOScheduler.on_trial_error).parameters) == ["self", "tune_controller", "trial"]
    assert issubclass(TrialProgressCallback, tune.Callback)
    assert callable(SearchAlgorithm.next_trial)
    assert hasattr(tune_controller.TuneController, "get_live_trials")
    assert "self._actor_manager" in inspect.getsource(tune_controller)
    assert callable(RayActorManager.cleanup)


def test_tune_passes_the_two_numbers_that_are_ignored() -> None:
    assert list(inspect.signature(Trainable.train_buffered).parameters) == [
        "self",
        "buffer_time_s",
        "max_buffer_length",
    ]
    assert "buffer_time_s" in inspect.getsource(tune_controller)


def test_tune_counts_no_callbacks_for_which_it_would_import_mlflow() -> None:
    assert "air_usage.tag_callbacks(callbacks)" in inspect.getsource(sys.modules["ray.tune.tune"])
    program = (
        "import sys\n"
        "from ray.tune.tune import air_usage\n"
        "from tune_kd.execution import inside_tune\n"
        "inside_tune.settle()\n"
        "air_usage.tag_callbacks([inside_tune.Course(None)])\n"
        "assert 'mlflow' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_importing_changes_nothing_of_the_process() -> None:
    """A notebook that imports the package keeps its own Tune, and its own optimizers."""
    program = (
        "import os, torch\n"
        "from ray.tune.execution import class_cache\n"
        "before = dict(os.environ), dict(class_cache.DEFAULT_ENV_VARS)\n"
        "import tune_kd.api, tune_kd.session\n"
        "assert (dict(os.environ), dict(class_cache.DEFAULT_ENV_VARS)) == before\n"
        "plain = torch.optim.Optimizer.zero_grad.__wrapped__\n"
        "assert not hasattr(plain, '__dynamo_disable')\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr

"""Ray clusters that a search cannot join."""

import importlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.patience import PATIENCE


@pytest.fixture
def older_ray(ray_address: str) -> Iterator[str]:
    """The tests' Ray, as long as it says that it was started by another version."""
    from ray._common.usage.usage_constants import CLUSTER_METADATA_KEY
    from ray._private.ray_constants import KV_NAMESPACE_CLUSTER
    from ray._raylet import GcsClient

    # Not through this process's own connection: other tests end that.
    store, key = GcsClient(address=ray_address), CLUSTER_METADATA_KEY
    said = store.internal_kv_get(key, KV_NAMESPACE_CLUSTER)
    older = json.dumps(json.loads(said) | {"ray_version": "2.9.1"}).encode()
    store.internal_kv_put(key, older, True, KV_NAMESPACE_CLUSTER)
    yield ray_address
    store.internal_kv_put(key, said, True, KV_NAMESPACE_CLUSTER)


def test_a_ray_of_another_version_is_a_mistake_of_the_user(older_ray: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tune_kd.search", "--address", older_ray],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 2, done.stderr
    assert f"--address {older_ray}: the Ray there is of another version" in done.stderr
    assert "Ray: 2.9.1" in done.stderr
    assert "Traceback" not in done.stderr


def test_tune_does_not_break_where_only_the_teacher_is_made() -> None:
    """After a minute without any trial Tune would name the first of them, of which there is none."""
    importlib.import_module("tune_kd.execution.runner")
    from ray.tune.execution.insufficient_resources_manager import _InsufficientResourcesManager as Manager

    manager = Manager()
    manager.on_no_available_trials([])
    manager._no_running_trials_since = -10_000_000.0
    manager.on_no_available_trials([])

"""What all tests share: a cache folder of their own, and one real Ray for the whole session."""

import os
from collections.abc import Iterator

import pytest

# Tests run in two processes on two cores. PyTorch's threads wait for each other in a loop, which makes small trainings
# many times slower wherever there are more threads than cores.
os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    os.environ["TUNE_KD_CACHE"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session")
def ray_address() -> Iterator[str]:
    """A real Ray on this machine with two CPUs; searches join it as they would join a cluster."""
    import ray

    ray.init(address="local", include_dashboard=False, num_cpus=2, log_to_driver=False)
    yield ray.get_runtime_context().gcs_address
    ray.shutdown()

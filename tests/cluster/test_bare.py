"""What is changed of Ray's own start is there in this version, does what it should, and is put back."""

import inspect
import json
import subprocess
import sys

from ray._private import node, parameter, services, utils, worker

from tests.patience import PATIENCE
from tune_kd.cluster.bare import bare

PARTS = """
import json

import ray
import psutil  # Ray brings it along
from tune_kd.cluster.connection import connected

with connected(None):
    words = [" ".join(each.cmdline()) for each in psutil.Process().children(recursive=True)]
    ray.get(ray.remote(lambda: None).remote())
print(json.dumps(words))
"""


def test_within_it_ray_starts_neither_dashboard_nor_autoscaler_nor_reader_of_logs() -> None:
    own = (parameter.RayParams, node.Node.start_api_server, utils.get_dashboard_dependency_error)
    with bare():
        asked = parameter.RayParams()
        assert (asked.no_monitor, asked.include_log_monitor) == (True, False)
        assert isinstance(utils.get_dashboard_dependency_error(), ImportError)
    assert own == (parameter.RayParams, node.Node.start_api_server, utils.get_dashboard_dependency_error)


def test_ray_asks_for_them_where_they_are_changed() -> None:
    assert "ray._private.parameter.RayParams(" in inspect.getsource(worker.init)
    assert "self._ray_params.no_monitor" in inspect.getsource(node.Node.start_head_processes)
    assert "self.start_api_server(" in inspect.getsource(node.Node.start_head_processes)
    assert "self._webui_url = " in inspect.getsource(node.Node.start_api_server).replace(", process_info", "")
    assert "ray._private.utils.get_dashboard_dependency_error()" in inspect.getsource(services.start_raylet)


def test_a_search_of_its_own_has_the_processes_that_it_uses() -> None:
    done = subprocess.run([sys.executable, "-c", PARTS], capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0, done.stderr
    words = json.loads(done.stdout)
    assert any("raylet" in each for each in words)
    assert not [each for each in words if any(part in each for part in ("dashboard.py", "monitor.py"))]

"""A real head of a cluster of its own, with a jobs server, that lets nobody in without the token."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.patience import PATIENCE

TOKEN = "0123456789abcdef" * 4


@dataclass(frozen=True)
class Head:
    address: str
    home: Path
    """The home of its user, where jobs leave their results."""
    environment: dict[str, str]
    """Of somebody on another machine who has the token."""


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


@pytest.fixture(scope="session")
def head(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Head]:
    folder = tmp_path_factory.mktemp("h")
    # A socket's path has to be short.
    ray = Path(tempfile.mkdtemp(prefix="r"))
    home, port = folder / "home", free_port()
    home.mkdir()
    token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": TOKEN, "RAY_USAGE_STATS_ENABLED": "0"}
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    options = [
        "--head", "--block", "--port=0", "--num-cpus=2", "--include-dashboard=true", f"--dashboard-port={port}",
        f"--ray-client-server-port={free_port()}", "--dashboard-agent-listen-port=0", f"--temp-dir={ray}",
    ]  # fmt: skip
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "ray.scripts.scripts", "start", *options],
            env=os.environ | token | {"HOME": str(home), "PATH": path},
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        wait_for(port, process, folder / "log")
        yield Head(f"http://127.0.0.1:{port}", home, os.environ | token)
    finally:
        # With --block, it ends all that it has started.
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(120)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
        shutil.rmtree(ray, ignore_errors=True)


def wait_for(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.time() + PATIENCE
    while process.poll() is None and time.time() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.2)
    pytest.fail(f"no head: {log.read_text()}")

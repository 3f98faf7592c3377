"""NVIDIA's server (MPS) that lets the kernels of several processes run on a card at once.

Without it they take turns.
"""

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

CONTROL = "nvidia-cuda-mps-control"
PLACE = "CUDA_MPS_PIPE_DIRECTORY"
"""Where the server and those that it serves meet."""

_PREFIX = "tune_kd-mps-"
_NOWHERE = subprocess.DEVNULL
_PATIENCE = 10
_QUIT = "quit -t 1"
"""With so many seconds for those that it serves still, which are none of ours."""


@contextmanager
def served() -> Iterator[None]:
    """In here, processes share this machine's cards through a server of their own, unless one answers already.

    A machine without cards has none, and whatever goes wrong with it, they take turns."""
    if not shutil.which(CONTROL) or answers():
        yield
        return
    _end_those_left()
    with tempfile.TemporaryDirectory(prefix=f"{_PREFIX}{os.getpid()}-", ignore_cleanup_errors=True) as folder:
        own = {PLACE: folder, "CUDA_MPS_LOG_DIRECTORY": folder}
        # In a session of its own, as Ctrl-C ends the search in order, and this last.
        server = subprocess.Popen(
            [CONTROL, "-f"], env=os.environ | own, start_new_session=True, stdout=_NOWHERE, stderr=_NOWHERE
        )
        before = {name: os.environ.get(name) for name in own}
        try:
            if _ready(server, own):
                os.environ.update(own)
            yield
        finally:
            for name, value in before.items():
                os.environ.pop(name, None)
                if value is not None:
                    os.environ[name] = value
            _end(server, own)


def _ready(server: subprocess.Popen[bytes], where: dict[str, str]) -> bool:
    until = time.monotonic() + _PATIENCE
    while server.poll() is None and time.monotonic() < until:
        if _control("get_server_list", where):
            return True
        time.sleep(0.02)
    return False


def _end(server: subprocess.Popen[bytes], where: dict[str, str]) -> None:
    if server.poll() is None:
        _control(_QUIT, where)
    try:
        server.wait(_PATIENCE)
    except subprocess.TimeoutExpired:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()


def answers() -> bool:
    """Whether there is one for the processes that start here."""
    return bool(shutil.which(CONTROL)) and _control("get_server_list", {})


def _end_those_left() -> None:
    """By a search that was killed."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        if not Path("/proc", folder.name.removeprefix(_PREFIX).partition("-")[0]).exists():
            _control(_QUIT, {PLACE: str(folder)})
            shutil.rmtree(folder, ignore_errors=True)


def _control(told: str, where: dict[str, str]) -> bool:
    """Whether it did what it was told."""
    try:
        done = subprocess.run(
            [CONTROL],
            input=told + "\n",
            stdout=_NOWHERE,
            stderr=_NOWHERE,
            text=True,
            timeout=_PATIENCE,
            env=os.environ | where,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0

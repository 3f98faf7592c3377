"""NVIDIA's server (MPS) that lets the kernels of several processes run on a card at once.

Without it they take turns.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

CONTROL = "nvidia-cuda-mps-control"
PLACE = "CUDA_MPS_PIPE_DIRECTORY"
"""Where the server and those that it serves meet."""

NUMBER = "nvidia-cuda-mps-control.pid"
"""There, it writes down the number of its process, which leads a group."""

_PREFIX = "tune_kd-mps-"
_PATIENCE = 5


@contextlib.contextmanager
def served() -> Iterator[None]:
    """In here, processes share this machine's cards through a server of their own, unless one answers already.

    A machine without cards has none, and whatever goes wrong with it, they take turns."""
    if not shutil.which(CONTROL) or answers():
        yield
        return
    for folder in _left():
        _end(folder)
    with tempfile.TemporaryDirectory(prefix=f"{_PREFIX}{os.getpid()}-", ignore_cleanup_errors=True) as name:
        own = {PLACE: name, "CUDA_MPS_LOG_DIRECTORY": name}
        before = {key: os.environ.get(key) for key in own}
        try:
            if _control("-d", where=own):
                os.environ.update(own)
            yield
        finally:
            for key, value in before.items():
                os.environ.pop(key, None)
                if value is not None:
                    os.environ[key] = value
            _end(Path(name))


def answers() -> bool:
    """Whether there is one for the processes that start here."""
    return bool(shutil.which(CONTROL)) and _control(said="get_server_list", where={})


def _left() -> Iterator[Path]:
    """By searches of this user that were killed."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        mine = folder.stat().st_uid == os.getuid()
        if mine and not Path("/proc", folder.name.removeprefix(_PREFIX).partition("-")[0]).exists():
            yield folder


def _end(folder: Path) -> None:
    """The server whose place this is, and the place."""
    with contextlib.suppress(OSError, ValueError):
        number = int((folder / NUMBER).read_text())
        _control(said="quit -t 1", where={PLACE: str(folder)})  # who is served still is none of ours
        until = time.monotonic() + _PATIENCE
        while _is_server(number) and time.monotonic() < until:
            time.sleep(0.02)
        if _is_server(number):
            os.killpg(number, signal.SIGKILL)
    shutil.rmtree(folder, ignore_errors=True)


def _is_server(number: int) -> bool:
    """A file that was left may name a process that is another one by now."""
    command = Path("/proc", str(number), "cmdline")
    return command.exists() and CONTROL.encode() in command.read_bytes()


def _control(*arguments: str, said: str = "", where: dict[str, str]) -> bool:
    """Whether it did what it was told."""
    try:
        done = subprocess.run(
            [CONTROL, *arguments],
            input=said + "\n",
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            text=True,
            timeout=_PATIENCE,
            env=os.environ | where,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0

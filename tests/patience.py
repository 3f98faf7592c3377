"""How long tests wait for what must happen, and processes of their own to do things at once.

A test says what happens, not how fast: the end of its patience only ends what hangs. A busy machine takes many times as
long as a quiet one.
"""

import multiprocessing
import time
from collections.abc import Callable
from typing import Any

PATIENCE = 800
"""Seconds; a little less than pytest's own limit for a test, so that what a process has said until then is shown."""


def wait_for(happened: Callable[[], Any]) -> None:
    end = time.monotonic() + PATIENCE
    while not happened():
        assert time.monotonic() < end
        time.sleep(0.05)


def processes() -> Any:
    """Made by a server without threads: a fork of the tests' own process, which holds a Ray, now and then hangs."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tune_kd.teacher.logits", "tune_kd.training.precision", "tune_kd.storage.folder"])
    return context

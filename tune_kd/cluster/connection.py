"""Joins a Ray cluster, or starts Ray on this machine. Imports nothing heavy, so that Ray can start while others do."""

import importlib
import logging
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext

import ray

from tune_kd.cluster.address import silence
from tune_kd.cluster.bare import bare
from tune_kd.cluster.mps import served
from tune_kd.errors import InputError, TuneKDError

HEAVY = "torch"
"""What takes longest to import. It knows nothing of Ray, so both can be done at once."""


@contextmanager
def connected(address: str | None, meanwhile: str | None = None) -> Iterator[bool]:
    """In Ray at `address`, in the one that this process is in already, or in one of its own.

    Says whether it was there before. A module may be imported meanwhile.
    """
    if ray.is_initialized():
        _check_same(address)
        yield True
        return
    with served() if address is None else nullcontext():
        _connect_while(address, meanwhile)
        try:
            yield address is not None
        finally:
            ray.shutdown()


def _connect_while(address: str | None, importing: str | None) -> None:
    beside = ThreadPoolExecutor(1)
    try:
        if importing:
            beside.submit(importlib.import_module, importing)
        _connect(address)
    finally:
        # Whoever has given a wrong address hears of it without waiting for the import.
        beside.shutdown(wait=False)


def _check_same(address: str | None) -> None:
    own = ray.get_runtime_context().gcs_address
    if address not in (None, "auto", own):
        raise InputError(
            f"address {address}: this process is connected to the Ray at {own} already. Leave the address out to "
            "search there, or call ray.shutdown() first."
        )


def _connect(address: str | None) -> None:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    if address is None:
        # The processes that Ray holds ready for trials import this while they wait for one, and wait for longer than
        # the second after which Ray would end them.
        os.environ.setdefault("RAY_preload_python_modules", f"{HEAVY},ray.tune")
        os.environ.setdefault("RAY_idle_worker_killing_time_threshold_ms", "30000")
        # Tune trains each leg in a new thread, and glibc gives up to eight threads a core memory of their own to keep.
        os.environ.setdefault("MALLOC_ARENA_MAX", "2")
    else:
        _check_answers(address)
    try:
        with bare() if address is None else nullcontext():
            ray.init(
                address=address or "local",
                log_to_driver=False,
                logging_level=logging.ERROR,
                include_dashboard=False if address is None else None,
            )
    except (ConnectionError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        if address is None:
            raise TuneKDError(f"Ray could not be started on this machine: {reason}") from error
        if "Version mismatch" in reason:
            raise InputError(
                f"--address {address}: the Ray there is of another version. {reason}. Install the same on both "
                "sides, or leave --address out to run on this machine."
            ) from error
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

"""How busy one driver keeps a hundred workers whose epochs take a second.

    python -m benchmarks.many_workers --workers 100 --trials 1000

Conductor, ledger, sampler, Ray Tune, Ray's calls and its placement groups are the real ones; the processors are
pretended, and all workers sleep in one process, as a hundred processes would take 40 GB. What starting processes takes
is so left out: busy is counted from when every worker has its first trial until the last one is handed out.
"""

import argparse
import asyncio
import json
import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from typing import Any

import numpy as np
import ray
from ray import tune
from ray.actor import ActorClass
from ray.tune.execution.class_cache import _ActorClassCache

from benchmarks.driven import Clock, Idle, Search, idle_study, scratch
from benchmarks.measuring import Figure, Result, median, parser, report, require_equal
from tune_kd import names
from tune_kd.cluster.bare import bare
from tune_kd.execution.order import Order
from tune_kd.tuning.conductor import OK, OUTCOME
from tune_kd.tuning.entry import RESULT

BUSY = 0.95

Epoch = tuple[float, float, int]
"""When it began and ended, and at which worker."""


def main() -> int:
    flags = parser(__doc__, rounds=1)
    flags.add_argument("--workers", type=int, default=100)
    flags.add_argument("--trials", type=int, default=1000)
    flags.add_argument("--reports", type=int, default=5, help="epochs that each trial reports")
    flags.add_argument("--seconds", type=float, default=1.0, help="what each epoch takes (1.0)")
    given = flags.parse_args()
    return report("many_workers", given, lambda: measure(given))


def measure(given: argparse.Namespace) -> Result:
    with pretended(given.workers):
        runs = [once(given) for _ in range(given.rounds)]
    figures = {
        "share of the time that workers train": Figure(median([run["busy"] for run in runs]), at_least=BUSY),
        "driver's CPU-seconds a second": Figure(median([run["load"] for run in runs]), "s"),
        "driver's CPU ms an epoch told": Figure(median([run["ms_per_report"] for run in runs]), "ms"),
    }
    settings = {key: getattr(given, key) for key in ("workers", "trials", "reports", "seconds")}
    return Result(settings, figures, {"ours": runs}, {"reports": given.trials * given.reports})


def once(given: argparse.Namespace) -> dict[str, Any]:
    clock = Clock()
    study = idle_study(given.trials, given.reports, 1)
    with scratch() as folder, in_one_process(given.seconds) as host:
        search = Search.of(study, folder)
        before = time.process_time()
        search.conduct(None, Idle(given.seconds), clock, teacher=None)
        spent = time.process_time() - before
        finals = sum(1 for _ in search.ledger.all_finals())
        epochs: list[Epoch] = ray.get(host.trained.remote())
    require_equal("reports", wanted=(given.trials + finals) * given.reports, heard=clock.reports, trained=len(epochs))
    last = max(at for key, at in clock.began.items() if key.startswith("trial"))
    # Of each worker its first epoch; all processes have the machine's one clock.
    starts: dict[int, float] = {}
    for start, _, number in sorted(epochs):
        starts.setdefault(number, start)
    first = max(starts.values())
    inside = sum(max(0.0, min(end, last) - max(start, first)) for start, end, _ in epochs)
    whole = max(end for _, end, _ in epochs) - min(clock.began.values())
    return {
        "busy": inside / (given.workers * (last - first)),
        "seconds": whole,
        "load": spent / whole,
        "ms_per_report": 1000 * spent / clock.reports,
    }


@contextmanager
def pretended(processors: int) -> Iterator[None]:
    """A Ray that believes to have so many, and starts no processes for them ahead."""
    with bare():
        ray.init(
            address="local", num_cpus=processors, include_dashboard=False, log_to_driver=False,
            logging_level=logging.ERROR, _system_config={"prestart_worker_first_driver": False},
        )  # fmt: skip
    try:
        yield
    finally:
        ray.shutdown()


class Sleeper(tune.Trainable):
    """Tells what a training tells, after the host has slept for it."""

    def setup(self, config: dict[str, Any]) -> None:
        self.order: Order = config["order"]
        self.epoch = self.order.reported
        self.quality = float(np.random.default_rng(self.order.seed).random())

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self.setup(new_config)
        return True

    def step(self) -> dict[str, Any]:
        if self.epoch == self.order.until:
            return {OUTCOME: OK, "done": True, RESULT: json.dumps({names.TEST_ACCURACY: self.quality})}
        self.epoch += 1
        accuracy = self.quality * (1 - 0.5**self.epoch)
        return {names.EPOCH: self.epoch, names.VAL_ACCURACY: accuracy, names.SECONDS: 1.0}


class Host:
    """The one process in which all workers sleep."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._sleepers: dict[int, Sleeper] = {}
        self._trained: list[Epoch] = []

    async def call(self, number: int, method: str, args: tuple[Any, ...], keywords: dict[str, Any]) -> Any:
        if method == "made":
            self._sleepers[number] = Sleeper(**keywords)
        elif method == "train_buffered":
            return [await self._train(number)]
        elif not method.startswith("__ray"):
            return getattr(self._sleepers[number], method)(*args, **keywords)
        return None

    async def _train(self, number: int) -> Any:
        sleeper = self._sleepers[number]
        if sleeper.epoch < sleeper.order.until:
            start = time.perf_counter()
            await asyncio.sleep(self._seconds)
            self._trained.append((start, time.perf_counter(), number))
        told: dict[str, Any] = sleeper.train()  # type: ignore[no-untyped-call]
        return told

    async def trained(self) -> list[Epoch]:
        return self._trained


class Pretended(ActorClass[Any]):
    """What Tune takes for the class of its trials' processes."""

    def __init__(self, host: Any) -> None:
        self._host = host
        self._numbers = count()

    def options(self, **_: Any) -> "Pretended":
        return self

    def remote(self, *args: Any, **keywords: Any) -> Any:
        handle = Handle(self._host, next(self._numbers))
        handle.made.remote(**keywords)
        return handle


class Handle:
    """And what it takes for one of them: `handle.method.remote(…)` is a call of Ray's to the host."""

    def __init__(self, host: Any, number: int, method: str = "") -> None:
        self._host, self._number, self._method = host, number, method

    def __getattr__(self, method: str) -> "Handle":
        return Handle(self._host, self._number, method)

    def remote(self, *args: Any, **keywords: Any) -> Any:
        return self._host.call.remote(self._number, self._method, args, keywords)


@contextmanager
def in_one_process(seconds: float) -> Iterator[Any]:
    host: Any = ray.remote(Host).options(num_cpus=0, max_concurrency=10_000).remote(seconds)
    cache: Any = _ActorClassCache
    own, kill, workers = cache.get, ray.kill, Pretended(host)
    cache.get = lambda its, trainable: workers
    ray.kill = lambda actor, **given: None if isinstance(actor, Handle) else kill(actor, **given)
    try:
        yield host
    finally:
        cache.get, ray.kill = own, kill
        ray.kill(host)


if __name__ == "__main__":
    sys.exit(main())

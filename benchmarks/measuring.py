"""What every benchmark shares: sides in turn, medians, the machine, and one JSON file at the end."""

import argparse
import contextlib
import ctypes
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any, Final, TypeVar

import torch

ROOT: Final = Path(__file__).parents[1]
RESULTS: Final = ROOT / "benchmarks" / "results"
VERSIONS: Final = ("torch", "ray", "optuna", "mlflow", "numpy")
NO_RESULT: Final = 2
"""Exit code where the machine lacks what a benchmark needs."""

T = TypeVar("T")


@dataclass(frozen=True)
class Figure:
    """One number of a result, and what it should be: `at_least` or `at_most`."""

    value: float
    unit: str = "×"
    at_least: float | None = None
    at_most: float | None = None
    note: str = ""

    @property
    def met(self) -> bool | None:
        if self.at_least is not None:
            return self.value >= self.at_least
        return None if self.at_most is None else self.value <= self.at_most

    def words(self) -> str:
        goal = f"≥ {self.at_least:g}" if self.at_least is not None else f"≤ {self.at_most}"
        wanted = "" if self.met is None else f" (goal {goal})"
        unit = "" if self.unit == "×" else f" {self.unit}"
        return f"{self.value:.4g}{unit}{wanted}{' – ' + self.note if self.note else ''}"


@dataclass
class Result:
    """What goes into the JSON."""

    settings: dict[str, Any]
    figures: dict[str, Figure]
    rounds: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    equal_work: dict[str, Any] = field(default_factory=dict)


class UnequalWork(Exception):
    """The two sides did not do the same, so their times cannot be compared."""


def parser(description: str | None, rounds: int = 3) -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(description=(description or "").partition("\n")[0], allow_abbrev=False)
    made.add_argument("--rounds", type=int, default=rounds, help=f"how often each side is measured ({rounds})")
    made.add_argument("--out", type=Path, help="where the JSON goes (benchmarks/results/<name>.json)")
    return made


def in_turn(sides: Mapping[str, Callable[[], T]], rounds: int) -> dict[str, list[T]]:
    """Each side once a round, in opposite order every other round: what else the machine does hits both alike."""
    told: dict[str, list[T]] = {name: [] for name in sides}
    for number in range(rounds):
        for name in list(sides)[:: -1 if number % 2 else 1]:
            progress(f"round {number + 1} of {rounds}: {name}")
            told[name].append(sides[name]())
    return told


def median(values: Sequence[float]) -> float:
    return statistics.median(values)


def ratio(above: Sequence[float], below: Sequence[float]) -> float:
    """Median of the rounds' own ratios: what slows a whole round down cancels out."""
    return statistics.median(a / b for a, b in zip(above, below, strict=True))


def require_equal(what: str, **sides: Any) -> Any:
    """The one value that all sides have, or the benchmark ends here."""
    values = list(sides.values())
    if any(value != values[0] for value in values):
        raise UnequalWork(f"{what} differs: {sides}")
    return values[0]


def report(name: str, given: argparse.Namespace, measure: Callable[[], Result]) -> int:
    """Measures, writes the JSON, prints a line a figure; the exit code."""
    before, started = os.getloadavg(), time.time()
    adopt_orphans()
    result = measure()
    record = {
        "benchmark": name,
        "command": ["python", "-m", f"benchmarks.{name}", *sys.argv[1:]],
        "when": time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(started)),
        "took_seconds": round(time.time() - started, 1),
        "cpu_seconds": round(cpu_seconds(), 1),
        "machine": machine(),
        "load_average": {"before": before, "after": os.getloadavg()},
        "settings": result.settings,
        "equal_work": result.equal_work,
        "rounds": result.rounds,
        "results": {key: {**vars(figure), "met": figure.met} for key, figure in result.figures.items()},
    }
    path: Path = given.out or RESULTS / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(record, indent=1, ensure_ascii=False, default=str) + "\n")
    for key, figure in result.figures.items():
        print(f"{key}: {figure.words()}")
    return 0


def adopt_orphans() -> None:
    """Processes whose parents end, as those of Ray do, become this one's, so that their time is counted here."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER


def cpu_seconds() -> float:
    """Of this process and all that have ended under it: steadier than the time of day on a busy machine."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    told = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(each.ru_utime + each.ru_stime for each in told)


def spent(root: int) -> float:
    """CPU-seconds so far of a process and all under it, and of those that have ended and been waited for."""
    found: dict[int, tuple[int, float]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it has just ended
            fields = path.read_text().rpartition(")")[2].split()
            ticks = sum(map(int, fields[11:15]))
            found[int(path.parent.name)] = int(fields[1]), ticks / os.sysconf("SC_CLK_TCK")
    under = {root}
    while more := {pid for pid, (parent, _) in found.items() if parent in under} - under:
        under |= more
    return sum(found[pid][1] for pid in under if pid in found)


def machine() -> dict[str, Any]:
    return {
        "processor": _processor(),
        "bf16": torch.cpu._is_avx512_bf16_supported(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "system": platform.system(),
        "python": platform.python_version(),
        **{name: metadata.version(name) for name in VERSIONS},
        "commit": _commit(),
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")


def _commit() -> str:
    done = subprocess.run(["git", "-C", str(ROOT), "describe", "--always", "--dirty"], capture_output=True, text=True)
    return done.stdout.strip()


def progress(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def resident_mb(pid: int | str = "self") -> float:
    """Memory of a process that lies in RAM, shared pages included."""
    return _status(pid, "VmRSS:") / 1024


def own_mb(pid: int | str = "self") -> float:
    """Memory that is no file's: what a process adds to the machine.

    The system also calls a page of a mapped file private while no other process has looked at it.
    """
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Anonymous:")) / 1024


def _status(pid: int | str, key: str) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(key))

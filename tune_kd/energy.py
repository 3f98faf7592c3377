"""Electricity: read off this machine's counters where they can be read, else reckoned from hours, and it says which.

Counters are of a whole machine: RAPL's of its processors, NVML's of its GPUs. Memory, disks and cooling are in neither.
"""

import ctypes
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Final

CORE_WATTS: Final = 4.0
SOURCE: Final = "4 W a core, CodeCarbon's figure for a processor that it does not know"
KWH: Final = 3.6e6
POWERCAP: Final = Path("/sys/class/powercap")
LOOK_SECONDS: Final = 30.0
"""Counters of processors begin anew after some minutes under load: they are read more often than that."""

Counter = Callable[[], float]
"""Joules since some time or other."""


def processors(root: Path = POWERCAP) -> list[tuple[Counter, float]]:
    """A counter for each package, and where it begins anew; none where not all of them may be read."""
    found = []
    try:
        for folder in sorted(root.glob("intel-rapl:*")):
            if (folder / "name").read_text().startswith("package"):
                counter = _microjoules(folder / "energy_uj")
                counter()
                found.append((counter, float((folder / "max_energy_range_uj").read_text()) / 1e6))
    except (OSError, ValueError):
        return []
    return found


def _microjoules(file: Path) -> Counter:
    return lambda: float(file.read_text()) / 1e6


def gpus() -> list[tuple[Counter, float]]:
    """A counter for each GPU that this process may use; none where the driver has none for one of them."""
    try:
        nvml = ctypes.CDLL("libnvidia-ml.so.1")
        if nvml.nvmlInit_v2():
            return []
        found = [(_millijoules(nvml, handle), float("inf")) for handle in _handles(nvml)]
        for counter, _ in found:
            counter()
    except (OSError, ValueError, AttributeError):
        return []
    return found


def _handles(nvml: Any) -> Iterator[ctypes.c_void_p]:
    count = ctypes.c_uint()
    _right(nvml.nvmlDeviceGetCount_v2(ctypes.byref(count)))
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    for name in map(str, range(count.value)) if named is None else filter(None, named.split(",")):
        handle = ctypes.c_void_p()
        if name.strip().isdecimal():
            _right(nvml.nvmlDeviceGetHandleByIndex_v2(int(name), ctypes.byref(handle)))
        else:
            _right(nvml.nvmlDeviceGetHandleByUUID(name.strip().encode(), ctypes.byref(handle)))
        yield handle


def _millijoules(nvml: Any, handle: ctypes.c_void_p) -> Counter:
    def read() -> float:
        value = ctypes.c_ulonglong()
        _right(nvml.nvmlDeviceGetTotalEnergyConsumption(handle, ctypes.byref(value)))
        return value.value / 1e3

    return read


def _right(code: int) -> None:
    if code:
        raise ValueError(f"NVML: {code}")


class Meter:
    """What this machine takes while it is entered."""

    def __init__(self) -> None:
        self._counters = {kind: found for kind, found in (("cpu", processors()), ("gpu", gpus())) if found}
        self._last = {kind: [read() for read, _ in found] for kind, found in self._counters.items()}
        self._joules = dict.fromkeys(self._counters, 0.0)
        self._lock, self._end = threading.Lock(), threading.Event()

    @property
    def kwh(self) -> dict[str, float]:
        """Of `cpu` and of `gpu`, each where it could be read to the end."""
        self._look()
        return {kind: joules / KWH for kind, joules in self._joules.items()}

    def __enter__(self) -> "Meter":
        if self._counters:
            threading.Thread(target=self._keep_looking, daemon=True, name="energy").start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._end.set()

    def _keep_looking(self) -> None:
        while not self._end.wait(LOOK_SECONDS):
            self._look()

    def _look(self) -> None:
        with self._lock:
            for kind in list(self._joules):
                try:
                    now = [read() for read, _ in self._counters[kind]]
                except (OSError, ValueError):  # half a measurement is none
                    del self._joules[kind]
                    continue
                ranges = (most for _, most in self._counters[kind])
                steps = zip(now, self._last[kind], ranges, strict=True)
                self._joules[kind] += sum(new - old if new >= old else new - old + most for new, old, most in steps)
                self._last[kind] = now


def words(hours: Mapping[str, float], measured: Mapping[str, float]) -> str:
    """One sentence: what was read, and what is reckoned from the hours of processors and GPUs."""
    used = {kind: kwh for kind, kwh in measured.items() if hours.get(kind)}
    read = [f"{_amount(used[kind])} of {name}" for kind, name in NAMES.items() if kind in used]
    parts = (
        [f"{' and '.join(read)}, read off counters (all that ran on this machine from start to end)"] if read else []
    )
    if "cpu" not in used and hours.get("cpu"):
        parts.append(f"about {_amount(hours['cpu'] * CORE_WATTS / 1000)} of {NAMES['cpu']}, an estimate ({SOURCE})")
    if "gpu" not in used and hours.get("gpu"):
        parts.append("that of GPUs is not known without their counters")
    return f"Energy: {'; '.join(parts)}. Memory, disks and cooling are not in it." if parts else ""


NAMES: Final = {"cpu": "processors", "gpu": "GPUs"}


def _amount(kwh: float) -> str:
    return f"{kwh:,.3g} kWh" if kwh >= 0.1 else f"{1000 * kwh:.2g} Wh"

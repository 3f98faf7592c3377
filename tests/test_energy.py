"""Energy: counters that begin anew, that go away, or that are not there; and what is reckoned then."""

import ctypes
from pathlib import Path
from typing import Any

import pytest

from tune_kd import energy
from tune_kd.energy import Meter


def package(root: Path, number: int, joules: float, most: float = 100.0, name: str = "package-0") -> Path:
    folder = root / f"intel-rapl:{number}"
    folder.mkdir(exist_ok=True)
    (folder / "name").write_text(f"{name}\n")
    (folder / "energy_uj").write_text(f"{joules * 1e6:.0f}\n")
    (folder / "max_energy_range_uj").write_text(f"{most * 1e6:.0f}\n")
    return folder


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    read = energy.processors
    monkeypatch.setattr(energy, "processors", lambda: read(tmp_path))
    monkeypatch.setattr(energy, "gpus", list)
    return tmp_path


def test_packages_are_added_and_what_lies_in_them_is_not_counted_twice(root: Path) -> None:
    for number, name in enumerate(("package-0", "package-1", "dram", "psys")):
        package(root, number, 10, name=name)
    package(root, 7, 10, name="core").rename(root / "intel-rapl:0:0")
    meter = Meter()
    for number, name in enumerate(("package-0", "package-1", "dram", "psys")):
        package(root, number, 46, name=name)
    assert meter.kwh == {"cpu": pytest.approx(72 / 3.6e6)}


def test_a_counter_that_begins_anew_between_two_looks_goes_on(root: Path) -> None:
    package(root, 0, 90)
    with Meter() as meter:
        package(root, 0, 30)
        assert meter.kwh["cpu"] == pytest.approx(40 / 3.6e6)
        package(root, 0, 35)
        assert meter.kwh["cpu"] == pytest.approx(45 / 3.6e6)


def test_a_counter_that_goes_away_is_no_measurement(root: Path) -> None:
    folder = package(root, 0, 1)
    meter = Meter()
    (folder / "energy_uj").unlink()
    assert meter.kwh == {}


def test_counters_that_may_not_be_read_are_none(root: Path) -> None:
    package(root, 0, 1)
    (package(root, 1, 1, name="package-1") / "energy_uj").unlink()
    assert Meter().kwh == {}


class Nvml:
    """Two GPUs, as NVIDIA's library answers; `broken` is the code that a card without a counter gives."""

    def __init__(self, broken: int = 0) -> None:
        self.millijoules, self.broken = {1: 5_000, 2: 7_000}, broken

    def nvmlInit_v2(self) -> int:
        return 0

    def nvmlDeviceGetCount_v2(self, count: Any) -> int:
        count._obj.value = 2
        return 0

    def nvmlDeviceGetHandleByIndex_v2(self, index: int, handle: Any) -> int:
        handle._obj.value = index + 1
        return 0

    def nvmlDeviceGetHandleByUUID(self, name: bytes, handle: Any) -> int:
        handle._obj.value = {b"GPU-b": 2}[name]
        return 0

    def nvmlDeviceGetTotalEnergyConsumption(self, handle: ctypes.c_void_p, value: Any) -> int:
        value._obj.value = self.millijoules[handle.value or 0]
        return self.broken


@pytest.mark.parametrize(("visible", "joules"), [(None, 12.0), ("1", 7.0), ("GPU-b", 7.0), ("", 0.0)])
def test_of_gpus_those_count_that_may_be_used(
    visible: str | None, joules: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda name: Nvml())
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert sum(read() for read, _ in energy.gpus()) == joules


def test_a_gpu_without_a_counter_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda name: Nvml(broken=3))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert energy.gpus() == []


@pytest.mark.parametrize(
    ("hours", "measured", "said"),
    [
        ({"cpu": 0.5}, {}, "about 2 Wh of processors, an estimate (4 W a core, CodeCarbon's"),
        ({"cpu": 0.5}, {"cpu": 0.25}, "0.25 kWh of processors, read off counters"),
        ({"cpu": 0.5, "gpu": 1.0}, {"cpu": 0.25, "gpu": 1.5}, "0.25 kWh of processors and 1.5 kWh of GPUs, read off"),
        ({"cpu": 0.5, "gpu": 1.0}, {}, "an estimate (4 W a core"),
        ({"cpu": 0.5, "gpu": 1.0}, {}, "that of GPUs is not known"),
    ],
)
def test_it_says_what_was_read_and_what_is_reckoned(
    hours: dict[str, float], measured: dict[str, float], said: str
) -> None:
    assert said in energy.words(hours, measured)
    # A card that stood idle beside a search on processors is not part of it.
    assert "GPUs" not in energy.words({"cpu": 1.0}, {"gpu": 3.0})


def test_without_hours_nothing_is_said() -> None:
    assert energy.words({}, {}) == ""

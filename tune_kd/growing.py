"""Keeps report.html up to date while a search runs: written by a thread, twice a minute at most."""

import logging
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from tune_kd import names
from tune_kd.names import TrialState
from tune_kd.plan import Arm, Plan
from tune_kd.space.study import searched_keys
from tune_kd.storage.files import replace
from tune_kd.summary import cells
from tune_kd.summary.growing import Grown, growing
from tune_kd.tuning.entry import Entry
from tune_kd.tuning.ledger import Ledger

SECONDS: Final = 30.0
"""Between two pages. The first is written with the first report."""
LOG: Final = logging.getLogger(__name__)


class Growing:
    """Hears what happens, and only notes it: pages are drawn in a thread, from copies."""

    def __init__(self, plan: Plan, ledger: Ledger, file: Path, name: str, line: Callable[[], str]) -> None:
        self._plan, self._file, self._name, self._line = plan, file, name, line
        self._curves: dict[int, dict[int, list[float]]] = {arm.number: {} for arm in plan.arms}
        self._settings: dict[int, Mapping[str, Any]] = {}
        self._finals = dict.fromkeys(self._curves, 0)
        self._lock = threading.Lock()
        self._news, self._over = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._work, name="report", daemon=True)
        for arm in plan.arms:
            for entry, trial in ledger.entries(arm):
                values = [value for _, value in sorted(trial.intermediate_values.items())]
                self._curves[arm.number][entry.id] = values
                self._settings[entry.id] = entry.config
        for entry, trial in ledger.all_finals():
            self._finals[entry.arm.number] += trial.state.is_finished()

    def __enter__(self) -> "Growing":
        self._thread.start()
        return self

    def __exit__(self, *failure: object) -> None:
        self._over.set()
        self._news.set()
        self._thread.join()

    def started(self, entry: Entry) -> None:
        if not entry.final:
            with self._lock:
                self._curve(entry)

    def _curve(self, entry: Entry) -> list[float]:
        self._settings[entry.id] = entry.config
        return self._curves[entry.arm.number].setdefault(entry.id, [])

    def reported(self, entry: Entry, metrics: Mapping[str, float]) -> None:
        if not entry.final:
            epoch = int(metrics[names.EPOCH])
            with self._lock:
                # An epoch that is done again after a crash takes its own place.
                self._curve(entry)[epoch - 1 :] = [metrics[names.validated(self._plan.study.objective.metric)]]
        self._news.set()

    def paused(self, entry: Entry) -> None:
        pass

    def ended(self, entry: Entry, state: TrialState, reason: str, results: Mapping[str, Any]) -> None:
        with self._lock:
            self._finals[entry.arm.number] += entry.final

    def _work(self) -> None:
        while not self._over.is_set():
            self._news.wait()
            self._news.clear()
            if not self._over.is_set():
                self._write(running=True)
                self._over.wait(SECONDS)
        # Of a search that comes to its verdict, the report takes this page's place.
        self._write(running=False)

    def _write(self, running: bool) -> None:
        """A page that cannot be drawn or kept must not end a search: the next one may, and the log says why."""
        try:
            page = growing(self._name, self._plan.study.question, self._line(), self._arms(), running)
            replace(self._file, page.encode())
        except Exception as error:
            LOG.warning("report.html could not be written at %s: %s", time.strftime("%H:%M:%S"), error)

    def _arms(self) -> list[Grown]:
        with self._lock:
            curves = {number: {key: list(curve) for key, curve in of.items()} for number, of in self._curves.items()}
            finals = dict(self._finals)
        return [self._arm(arm, curves[arm.number], finals[arm.number]) for arm in self._plan.arms]

    def _arm(self, arm: Arm, curves: Mapping[int, list[float]], finals: int) -> Grown:
        best = max((key for key in curves if curves[key]), key=lambda key: max(curves[key]), default=None)
        budget = self._plan.study.budget
        return Grown(
            cell=cells.label(arm.cell),
            name=arm.name,
            asked=len(curves),
            trials=budget.trials,
            finals=finals,
            all_finals=self._plan.finals_of_arm,
            curves=list(curves.values()),
            settings=self._words(arm, self._settings[best]) if best is not None else "",
        )

    def _words(self, arm: Arm, config: Mapping[str, Any]) -> str:
        keys = [key for key in searched_keys(self._plan.study, arm.name) if config.get(key) is not None]
        shown = {key: f"{config[key]:.3g}" if isinstance(config[key], float) else str(config[key]) for key in keys}
        return ", ".join(f"{key} {value}" for key, value in shown.items())

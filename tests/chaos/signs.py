"""What can be seen of a search from outside, as it happens: its files."""

import json
import time
from collections import Counter
from pathlib import Path
from typing import Any

from tests.chaos.world import Search
from tune_kd import names
from tune_kd.tuning.conductor import MOST_ATTEMPTS
from tune_kd.tuning.entry import ATTEMPTS

OPERATIONS = {4: "asked", 7: "reported", 6: "ended"}
"""Optuna's numbers in its journal."""
RESULTS = (names.TRIALS_FILE, names.FINALS_FILE, names.VERDICT_FILE, names.MODEL_DIR)
"""What is written at the end alone; the report grows while the search runs."""
POLL_SECONDS = 0.002


class Tail:
    """Whole lines that are new since the last look."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._at = 0

    def lines(self) -> list[bytes]:
        try:
            if self._path.stat().st_size <= self._at:
                return []
            with self._path.open("rb") as file:
                file.seek(self._at)
                new = file.read()
        except OSError:
            return []
        whole = new[: new.rfind(b"\n") + 1]
        self._at += len(whole)
        return whole.splitlines()


class Signs:
    """Counts of each kind of event since the search began, and how long each life took to get to work."""

    def __init__(self, search: Search) -> None:
        self.counts: Counter[str] = Counter()
        self.waits: list[float] = []
        """Seconds from a resumed search's first word to the tracker, when it has joined Ray, to its first epoch."""
        self.fragile: set[Any] = set()
        """Trainings that would be given up if they died once more without a report."""
        self._search = search
        self._ledger, self._audit = Tail(search.ledger), Tail(search.audit)
        self._spool = Tail(search.folder / "mlflow" / "events.jsonl")
        self._looks: dict[str, float] = {}
        self._up: float | None = None
        self._resumed = False

    def begin(self) -> None:
        """A new process of the search starts; what the last one left behind counts as seen."""
        self.look()
        self._up, self._resumed = None, self._search.lives > 0
        self._looks = self._results()

    def hold(self) -> None:
        """A machine is missing: the time to work counts from its return."""
        if self._up is not None:
            self._up = time.monotonic()

    def look(self) -> None:
        for line in self._ledger.lines():
            self._note(json.loads(line))
        if self._spool.lines() and self._up is None:
            self._up = time.monotonic()
        epochs = len(self._audit.lines())
        self.counts["epoch"] += epochs
        if epochs and self._up is not None and self._resumed:
            self.waits.append(time.monotonic() - self._up)
            self._resumed = False
        looks = self._results()
        self.counts["written"] += sum(looks[name] != self._looks.get(name) for name in looks)
        self._looks = looks

    def _note(self, record: dict[str, Any]) -> None:
        sign = OPERATIONS.get(record["op_code"])
        deaths, _ = record.get("user_attr", {}).get(ATTEMPTS, (0, 0))
        if sign:
            self.counts[sign] += 1
            self.fragile.discard(record.get("trial_id"))
        if deaths:
            self.counts["died"] += 1
        if deaths == MOST_ATTEMPTS - 1:
            self.fragile.add(record["trial_id"])

    def _results(self) -> dict[str, float]:
        found = {}
        for name in RESULTS:
            try:
                found[name] = (self._search.folder / name).stat().st_mtime
            except OSError:
                continue
        return found

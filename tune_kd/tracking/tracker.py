"""What a search tells MLflow. Every call returns at once, and saying a thing twice is the same as saying it once."""

import math
import os
import re
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from tune_kd import names
from tune_kd.errors import InputError
from tune_kd.names import TrialState
from tune_kd.tracking import champion, view
from tune_kd.tracking.address import redact, resolve
from tune_kd.tracking.runs import PARENT, RUNNING, Runs
from tune_kd.tracking.spool import Event, Spool, State, load
from tune_kd.tracking.writer import Delivery, Writer

if TYPE_CHECKING:
    import numpy as np
    import torch

MAX_PARAM: Final = 500
MAX_TAG: Final = 5000
INTERRUPTED: Final = "INTERRUPTED"
TAG_DIVERGED: Final = "diverged"
TAG_NOTE: Final = "mlflow.note.content"
TAG_COMMIT: Final = "mlflow.source.git.commit"

SearchStatus = Literal["FINISHED", "FAILED", "KILLED"]
_STATUS: Final[Mapping[str, str]] = {names.COMPLETE: "FINISHED", names.PRUNED: "FINISHED", names.FAIL: "FAILED"}


@dataclass(frozen=True)
class SearchInfo:
    """What stands on the parent run. `id` is unique for ever; `digests` are the splits', by role."""

    id: str
    name: str
    params: Mapping[str, object] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    note: str = ""
    dataset: str = ""
    digests: Mapping[str, str] = field(default_factory=dict)
    commit: str = ""
    settings: Sequence[str] = ()
    metric: str = names.ACCURACY
    """What settings are chosen by."""
    """What the search varies: the columns of its table."""


class Tracker:
    """One search's line to MLflow. After a resume, telling it the whole ledger again fills gaps and nothing else."""

    def __init__(self, search: SearchInfo, spool: Spool, runs: Runs, writer: Writer) -> None:
        self._search = search
        self._spool = spool
        self._runs = runs
        self._writer = writer
        self._told: dict[str, dict[int, set[str]]] = {}
        self._verdict: tuple[int, Mapping[str, float]] = (-1, {})
        # What ended may have been opened again, so the last status counts.
        last = {event.key: event.status for event in spool.events() if event.status and event.key != PARENT}
        self._ended = {key for key, status in last.items() if status in _STATUS.values()}
        for event in spool.events():
            self._remember(event)

    @classmethod
    def start(
        cls,
        *,
        uri: str | None,
        experiment: str,
        search: SearchInfo,
        spool: Path,
        on_run_id: Callable[[str, str], None] = lambda key, run_id: None,
        say: Callable[[str], None] = lambda text: None,
        head_start: float = 0.0,
    ) -> "Tracker":
        """Both callbacks are called from the writer's thread, which begins so many seconds later.

        An address that cannot be right is an InputError.
        """
        address, spool = resolve(uri), spool.absolute()
        events = Spool(spool)
        state = load(spool) or State(search.id, experiment, address.shown)
        if state.search != search.id:
            events.close()
            raise InputError(f"{spool} is of the search '{state.search}', not of '{search.id}'. Give another --out.")
        state = State(search.id, experiment, address.shown, state.delivered)
        events.save(state)
        runs = Runs(address, experiment, search.id, spool, on_run_id)
        writer = Writer(events, runs, state, say, head_start)
        tracker = cls(search, events, runs, writer)
        tracker._begin()
        writer.start()
        return tracker

    @property
    def problem(self) -> str:
        """Why the store takes nothing at the moment, or nothing."""
        return self._writer.problem

    @property
    def run_ids(self) -> Mapping[str, str]:
        """The MLflow runs known so far, by key."""
        return dict(self._runs.ids)

    @property
    def parent_run_id(self) -> str | None:
        """None until the store has answered."""
        return self._runs.ids.get(PARENT)

    @property
    def command(self) -> str:
        """What shows the store, from any folder; nothing where a server does."""
        return self._runs.address.command

    @property
    def page(self) -> str:
        """The address of the search's table; of the server alone until the store has answered."""
        return self._runs.address.page(self._runs.experiment_id, self._search.id)

    def reopen(self, keys: Collection[str]) -> None:
        """Trainings that had ended and go on, as the search may train longer; what was told of them stays told."""
        again = self._ended.intersection(keys)
        self._ended -= again
        for event in self._spool.events() if again else ():
            if event.key in again:
                self._note(event)

    def trial_started(self, key: str, *, name: str, params: Mapping[str, object], tags: Mapping[str, str]) -> None:
        """A new run, or the same one going on after a resume. `params` are only what the search varies."""
        if key in self._ended:
            return
        now = {**tags, names.TAG_STATE: RUNNING}
        if key in self._told:
            self._tell(Event(key, time.time(), status=RUNNING, tags=_tags(now)))
        else:
            short, long = _params(params)
            self._tell(Event(key, time.time(), name=name, status=RUNNING, params=short, texts=long, tags=_tags(now)))

    def metrics(self, key: str, values: Mapping[str, float], step: int, at: float) -> None:
        """The first value of a metric at a step counts: an epoch done again after a crash is not a second point."""
        if key in self._ended:
            return
        told = self._told[key].get(step, ())
        new = {name: float(value) for name, value in values.items() if name not in told}
        finite = {name: value for name, value in new.items() if math.isfinite(value)}
        bad = next((name for name in new if name not in finite), None)
        tags = {TAG_DIVERGED: f"{bad} is {new[bad]} at step {step}"} if bad else {}
        if new:
            self._tell(Event(key, at, step=step, metrics=finite, tags=tags))

    def tags(self, key: str, tags: Mapping[str, str]) -> None:
        self._tell(Event(key, time.time(), tags=_tags(tags)))

    def trial_ended(
        self, key: str, *, state: TrialState, stop_reason: str, ended: float, metrics: Mapping[str, float]
    ) -> None:
        """Metrics of the whole trial stand at its last step."""
        if key in self._ended:
            return
        self.metrics(key, metrics, max(self._told[key], default=0), ended)
        reason = {names.TAG_STOP_REASON: stop_reason} if stop_reason else {}
        self._tell(Event(key, ended, status=_STATUS[state], tags=_tags({names.TAG_STATE: state, **reason})))
        self._ended.add(key)
        del self._told[key]

    def register_champion(
        self, module: "torch.nn.Module", *, name: str, example: "np.ndarray[Any, Any]", weights: Path, note: str = ""
    ) -> None:
        """Register the winner: its program for use, its `weights` to teach with. Takes seconds (torch.export).

        `example` are images as the module takes them.
        """
        digest = champion.digest(module)
        folder = self._spool.folder / f"champion-{digest}"
        if not folder.exists():
            champion.pack(module, example, weights, folder)
        name = re.sub(r"[/:'\"]+", "-", name)
        about = {"name": name, "digest": digest, "folder": folder.name, "note": redact(note)}
        self._tell(Event(PARENT, time.time(), champion=about))

    def finish(
        self,
        *,
        status: SearchStatus,
        metrics: Mapping[str, float],
        tags: Mapping[str, str],
        artifacts: Sequence[Path],
        seconds: float = 15.0,
    ) -> Delivery:
        """Close the search's runs, a trial that was still going as KILLED, and wait so long for the store.

        A folder among the artifacts keeps its name. What cannot be delivered stays on disk (`python -m
        tune_kd.tracking`).
        """
        now = time.time()
        for key in self._told.keys() - {PARENT}:
            self._tell(Event(key, now, status="KILLED", tags={names.TAG_STATE: INTERRUPTED}))
        step, last = self._verdict
        values = {name: float(value) for name, value in metrics.items() if math.isfinite(value)}
        if values and values != last:
            self._tell(Event(PARENT, now, step=step + 1, metrics=values))
        files = [os.path.relpath(path, self._spool.folder) for path in artifacts]
        self._tell(Event(PARENT, now, status=status, tags=_tags(tags), files=files))
        return self.leave(seconds)

    def leave(self, seconds: float = 15.0) -> Delivery:
        """Without a word on how the search ended, as it has not: another machine goes on with its runs."""
        delivery = self._writer.close(seconds)
        self._spool.close()
        return delivery

    def _begin(self) -> None:
        """The parent run; for a search that goes on, the same one is RUNNING again."""
        search = self._search
        short, long = _params(search.params)
        tags = {**search.tags, TAG_NOTE: search.note, TAG_COMMIT: search.commit}
        self._tell(
            Event(
                PARENT,
                time.time(),
                name="" if PARENT in self._told else search.name,
                status=RUNNING,
                params=short,
                texts=long,
                tags=_tags({name: value for name, value in tags.items() if value}),
                datasets=[(search.dataset, digest, role) for role, digest in search.digests.items()],
                views=view.tags(search.id, search.settings, search.metric),
            )
        )

    def _tell(self, event: Event) -> None:
        self._spool.add(event)
        self._remember(event)
        self._writer.notify()

    def _remember(self, event: Event) -> None:
        if event.key == PARENT and event.metrics:
            self._verdict = event.step, event.metrics
        if event.key not in self._ended:
            self._note(event)

    def _note(self, event: Event) -> None:
        told = self._told.setdefault(event.key, {})
        if event.metrics:
            told.setdefault(event.step, set()).update(event.metrics)


def _params(params: Mapping[str, object]) -> tuple[dict[str, str], dict[str, str]]:
    """Values that MLflow's tables can hold, and as files the full text of those that had to be cut."""
    full = {name: redact(str(value)) for name, value in params.items()}
    long = {f"params/{name}.txt": value for name, value in full.items() if len(value) > MAX_PARAM}
    return {name: _cut(value, MAX_PARAM) for name, value in full.items()}, long


def _tags(tags: Mapping[str, str]) -> dict[str, str]:
    return {name: _cut(redact(str(value)), MAX_TAG) for name, value in tags.items()}


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[: length - 1]}…"

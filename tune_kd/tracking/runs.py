"""Events of a search as MLflow runs: one parent, a child a trial. Telling the same events twice changes nothing."""

import getpass
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from tune_kd import names
from tune_kd.tracking import champion, store
from tune_kd.tracking.address import Address
from tune_kd.tracking.spool import Event

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

PARENT: Final = "search"
TAG_KEY: Final = f"{names.TAG_PREFIX}key"
TAG_CHANGED: Final = f"{names.TAG_PREFIX}changed."
RUNNING: Final = "RUNNING"

MAX_ITEMS: Final = 1000
MAX_PARAMS: Final = 100
MAX_TAGS: Final = 100
MAX_BYTES: Final = 900_000
"""MLflow's limits of one `log_batch` are 1000 items, 100 params, 100 tags and 1 MB."""

_FINAL_ERRORS: Final = ("INVALID_PARAMETER_VALUE", "RESOURCE_DOES_NOT_EXIST", "ENDPOINT_NOT_FOUND")
"""Answers that will be the same next time; anything else is worth another try."""


class Runs:
    """The runs of one search on one store."""

    def __init__(
        self,
        address: Address,
        experiment: str,
        search: str,
        folder: Path,
        on_run_id: Callable[[str, str], None] = lambda key, run_id: None,
    ) -> None:
        self.address = address
        self.experiment = experiment
        self.search = search
        self.ids: dict[str, str] = {}
        self.refused: dict[tuple[str, str], str] = {}
        self.experiment_id = ""
        self._folder = folder
        self._on_run_id = on_run_id
        self._client: MlflowClient | None = None

    def open(self) -> bool:
        """Connect, and read which runs the store has of this search. False: it knows nothing of it."""
        self._client = self._client or store.connect(self.address)
        self.experiment_id = store.experiment_id(self._client, self.experiment, self.address)
        found: dict[str, str] = {}
        for run in sorted(self._search(), key=self._rank, reverse=True):
            key, run_id = run.data.tags.get(TAG_KEY, ""), str(run.info.run_id)
            if found.setdefault(key, run_id) != run_id:
                self._client.delete_run(run_id)  # Made by a call that we had given up on; nothing was told to it.
        for key, run_id in found.items():
            self._found(key, run_id)
        self.ids = found
        return PARENT in found

    def _search(self) -> "Iterator[Run]":
        quote = '"' if "'" in self.search else "'"
        query, page = f"tags.`{names.TAG_SEARCH}` = {quote}{self.search}{quote}", None
        while True:
            runs = self.client.search_runs([self.experiment_id], query, max_results=1000, page_token=page)
            yield from runs
            page = runs.token
            if not page:
                return

    def _rank(self, run: "Run") -> tuple[bool, int]:
        """Of several runs of one trial, the one we write to, or else the one with something in it, is the right one."""
        known = self.ids.get(run.data.tags.get(TAG_KEY, ""))
        return run.info.run_id == known, len(run.data.metrics) + len(run.data.params)

    def deliver(self, events: Iterable[Event]) -> None:
        """Raises when the store does not answer; then `open` and tell the same events again."""
        groups: dict[str, list[Event]] = {}
        for event in events:
            groups.setdefault(event.key, []).append(event)
        for key, group in groups.items():
            self._tell(key, group)

    def _tell(self, key: str, events: Sequence[Event]) -> None:
        known = key in self.ids
        named = next((event for event in events if event.name), None)
        if not known and named is None:
            self.refused[key, ""] = "its run was deleted in MLflow"
            return
        run_id = self.ids[key] if known or named is None else self._create(named)
        for batch in batches(self._items(events)):
            self._log(key, run_id, batch)
        for event in events:
            self._attach(key, run_id, event)
        status = next((event for event in reversed(events) if event.status), None)
        if status and (known or status.status != RUNNING):
            self._set_status(run_id, status)

    def _create(self, event: Event) -> str:
        tags = {
            names.TAG_SEARCH: self.search,
            TAG_KEY: event.key,
            "mlflow.user": _user(),
            "mlflow.source.name": "tune_kd.search",
            "mlflow.source.type": "LOCAL",
        }
        if event.key != PARENT:
            tags["mlflow.parentRunId"] = self.ids[PARENT]
        run = self.client.create_run(self.experiment_id, _milliseconds(event.at), tags, event.name)
        return self._found(event.key, str(run.info.run_id))

    def _found(self, key: str, run_id: str) -> str:
        if self.ids.get(key) != run_id:
            self.ids[key] = run_id
            self._on_run_id(key, run_id)
        return run_id

    @property
    def client(self) -> "MlflowClient":
        if self._client is None:
            raise RuntimeError("open() first")
        return self._client

    def _items(self, events: Sequence[Event]) -> Iterator[Any]:
        """Params and tags once each (MLflow refuses a batch that names one twice), metrics in order."""
        from mlflow.entities import Metric, Param, RunTag

        params = {name: value for event in events for name, value in event.params.items()}
        tags = {name: value for event in events for name, value in event.tags.items()}
        points = (
            Metric(name, value, _milliseconds(event.at), event.step)
            for event in events
            for name, value in event.metrics.items()
        )
        return chain((Param(*item) for item in params.items()), (RunTag(*item) for item in tags.items()), points)

    def _log(self, key: str, run_id: str, batch: Sequence[Any]) -> None:
        """One bad item must not take the rest of its batch along, so a refused batch is halved until it is alone."""
        from mlflow.entities import Metric, Param, RunTag
        from mlflow.exceptions import MlflowException

        try:
            self.client.log_batch(
                run_id,
                metrics=[item for item in batch if isinstance(item, Metric)],
                params=[item for item in batch if isinstance(item, Param)],
                tags=[item for item in batch if isinstance(item, RunTag)],
            )
        except MlflowException as error:
            if error.error_code not in _FINAL_ERRORS:
                raise
            middle = len(batch) // 2
            if middle:
                self._log(key, run_id, batch[:middle])
                self._log(key, run_id, batch[middle:])
            elif isinstance(batch[0], Param):  # A param cannot change, but a resumed search may have grown.
                self._log(key, run_id, [RunTag(TAG_CHANGED + batch[0].key, batch[0].value)])
            else:
                self.refused[key, batch[0].key] = str(error)

    def _attach(self, key: str, run_id: str, event: Event) -> None:
        from mlflow.exceptions import MlflowException

        try:
            for path, text in event.texts.items():
                self.client.log_text(run_id, text, path)
            for name in event.files:
                self._upload(key, run_id, (self._folder / name).resolve())
            for name, text in event.views.items():
                self.client.set_experiment_tag(self.experiment_id, name, text)
            if event.datasets:
                self.client.log_inputs(run_id, [_dataset(*item) for item in event.datasets])
            if event.champion:
                champion.register(self.client, self.experiment_id, run_id, self._folder, event.champion)
        except MlflowException as error:
            if error.error_code not in _FINAL_ERRORS:
                raise
            self.refused[key, "files"] = str(error)

    def _upload(self, key: str, run_id: str, path: Path) -> None:
        if path.is_dir():
            self.client.log_artifacts(run_id, str(path), path.name)
        elif path.is_file():
            self.client.log_artifact(run_id, str(path))
        else:
            self.refused[key, path.name] = f"{path} is not there any more"

    def _set_status(self, run_id: str, event: Event) -> None:
        if event.status == RUNNING:
            self.client.update_run(run_id, RUNNING)
        else:
            self.client.set_terminated(run_id, event.status, _milliseconds(event.at))


def batches(items: Iterable[Any]) -> Iterator[list[Any]]:
    """Items of MLflow's kinds, as many at a time as one `log_batch` takes."""
    limits: Mapping[str, int] = {"Param": MAX_PARAMS, "RunTag": MAX_TAGS, "Metric": MAX_ITEMS}
    batch: list[Any] = []
    counts: dict[str, int] = {}
    size = 0
    for item in items:
        kind, cost = type(item).__name__, 100 + len(json.dumps([item.key, item.value]))
        full = len(batch) == MAX_ITEMS or counts.get(kind, 0) == limits[kind] or size + cost > MAX_BYTES
        if batch and full:
            yield batch
            batch, counts, size = [], {}, 0
        batch.append(item)
        counts[kind] = counts.get(kind, 0) + 1
        size += cost
    if batch:
        yield batch


def _dataset(name: str, digest: str, context: str) -> Any:
    from mlflow.entities import Dataset, DatasetInput, InputTag

    source = json.dumps({"tags": {"mlflow.source.name": "tune_kd.search"}})
    return DatasetInput(Dataset(name, digest, "code", source), [InputTag("mlflow.data.context", context)])


def _milliseconds(seconds: float) -> int:
    return int(seconds * 1000)


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"

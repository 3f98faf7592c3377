"""What MLflow is to be told, on disk before it is sent: a killed driver or a dead server loses nothing.

The file is the queue, so waiting points take no memory however long a server is away. It is never shortened: a store
that lost its data, or another store, can be told the whole search again.
"""

import fcntl
import hashlib
import json
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Final

from tune_kd.errors import InputError, TuneKDError
from tune_kd.storage.files import replacing
from tune_kd.storage.journal import Journal

FOLDER: Final = "mlflow"
EVENTS_FILE: Final = "events.jsonl"
STATE_FILE: Final = "state.json"


@dataclass(frozen=True, slots=True)
class Event:
    """Something to add to the run of one trial (`key`). A name starts the run; a status changes it."""

    key: str
    at: float
    name: str = ""
    step: int = 0
    status: str = ""
    metrics: Mapping[str, float] = field(default_factory=dict)
    params: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    texts: Mapping[str, str] = field(default_factory=dict)
    files: Sequence[str] = ()
    datasets: Sequence[Sequence[str]] = ()
    champion: Mapping[str, str] = field(default_factory=dict)
    views: Mapping[str, str] = field(default_factory=dict)

    def line(self) -> bytes:
        body = {name: value for name in _FIELDS if (value := getattr(self, name))}
        return _encode(body).encode() + b"\n"

    @staticmethod
    def of(line: bytes) -> "Event | None":
        """None for a line that a crash of the machine left unreadable."""
        try:
            return Event(**{"at": 0.0, **json.loads(line)})
        except (ValueError, TypeError):
            return None


_FIELDS: Final = tuple(item.name for item in fields(Event))
_encode: Final = json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode


@dataclass(frozen=True)
class State:
    """Which search this is, where it goes, and how far each destination has been told."""

    search: str
    experiment: str
    address: str
    delivered: Mapping[str, int] = field(default_factory=dict)


class Spool:
    """An append-only file of events and, beside it, how much of it each destination has."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self._lock = threading.Lock()
        self._file = Journal(folder / EVENTS_FILE)
        self._lock_folder()
        self._file.drop_torn_line()

    def add(self, event: Event) -> None:
        """Append one event: whole, or not at all."""
        line = event.line()
        with self._lock:
            try:
                self._file.append(line)
            except OSError as error:
                file = self.folder / EVENTS_FILE
                raise TuneKDError(f"Cannot write {file}: {error}. Make room, then resume.") from error

    def lines(self, offset: int = 0) -> Iterator[tuple[bytes, int]]:
        """Every whole line from the offset on, and the offset behind it."""
        with (self.folder / EVENTS_FILE).open("rb") as stream:
            stream.seek(offset)
            for line in stream:
                if not line.endswith(b"\n"):
                    return
                offset += len(line)
                yield line, offset

    def events(self) -> Iterator[Event]:
        for line, _ in self.lines():
            if event := Event.of(line):
                yield event

    def save(self, state: State) -> None:
        with replacing(self.folder / STATE_FILE, sync=False) as file:
            file.write(json.dumps(asdict(state), indent=1).encode())

    def close(self) -> None:
        """Another process may go on with this folder."""
        self._file.close()

    def _lock_folder(self) -> None:
        """Two processes that deliver at once would make every run twice. A dead process holds no such lock."""
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self._file.close()
            raise InputError(f"{self.folder} is in use by a search that runs. Wait for its end, or stop it.") from error


def destination(uri: str, experiment: str) -> str:
    """A name for a store that gives nothing away about its address."""
    return hashlib.sha256(f"{uri}\n{experiment}".encode()).hexdigest()[:16]


def load(folder: Path) -> State | None:
    """What an earlier process left; a broken file only means that everything is told once more."""
    try:
        return State(**json.loads((folder / STATE_FILE).read_bytes()))
    except (OSError, ValueError, TypeError):
        return None

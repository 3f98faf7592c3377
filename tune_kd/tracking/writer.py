"""The background thread that tells MLflow what the spool holds, at its own pace and as often as it takes."""

import shlex
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import islice
from typing import Final

from tune_kd.tracking.address import redact
from tune_kd.tracking.runs import Runs
from tune_kd.tracking.spool import Event, Spool, State, destination

CHUNK: Final = 500
GATHER_SECONDS: Final = 1.0
"""Waiting this long for company turns many reports into one call; MLflow takes 30 ms for one report or for ten."""
FIRST_PAUSE: Final = 0.5
LONGEST_PAUSE: Final = 5.0
LONGEST_REASON: Final = 300


@dataclass(frozen=True)
class Delivery:
    """Records that still wait on disk, the command that delivers them, and things that the store will never take."""

    waiting: int
    refused: int
    reason: str
    command: str

    @property
    def notes(self) -> tuple[str, ...]:
        """What people should know of it."""
        refused = f"MLflow refused {self.refused} records: {self.reason}" if self.refused else ""
        waiting = (
            f"MLflow has not taken {self.waiting} records ({self.reason}). They wait on disk; this delivers them: "
            f"{self.command}"
            if self.waiting
            else ""
        )
        return tuple(note for note in (refused, waiting) if note)


class Writer:
    """Delivers in order, exactly once as far as the store can tell, and never raises into the search."""

    def __init__(
        self,
        spool: Spool,
        runs: Runs,
        state: State,
        say: Callable[[str], None] = lambda text: None,
        head_start: float = 0.0,
    ) -> None:
        self.problem = ""
        self._head_start = head_start
        self._spool = spool
        self._runs = runs
        self._state = state
        self._say = say
        self._destination = destination(runs.address.uri, runs.experiment)
        self._offset = state.delivered.get(self._destination, 0)
        self._open = False
        self._had_trouble = False
        self._news = threading.Event()
        self._closing = threading.Event()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, name="mlflow", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def notify(self) -> None:
        self._news.set()

    def close(self, seconds: float) -> Delivery:
        """Deliver what is left for at most so long; the rest stays on disk."""
        self._closing.set()
        self._news.set()
        self._thread.join(seconds)
        self._stop.set()
        waiting = sum(1 for _ in self._spool.lines(self._offset))
        reason = self.problem or next(iter(self._runs.refused.values()), "")
        command = f"python -m tune_kd.tracking {shlex.quote(str(self._spool.folder))}" if waiting else ""
        return Delivery(waiting, len(self._runs.refused), redact(reason), command)

    def _work(self) -> None:
        self._closing.wait(self._head_start)
        pause = FIRST_PAUSE
        while not self._stop.is_set():
            closing = self._closing.is_set()
            try:
                self._deliver()
                if closing:
                    return self._settle()
            except Exception as error:  # Whatever a server, a network or MLflow comes up with: try again later.
                self._failed(error)
                self._rest(pause)
                pause = min(2 * pause, LONGEST_PAUSE)
            else:
                pause = FIRST_PAUSE
                self._await_news()

    def _await_news(self) -> None:
        """`close` sets closing first: between the check and the wait it can only add news."""
        if not self._closing.is_set():
            self._news.wait()
            self._closing.wait(GATHER_SECONDS)

    def _rest(self, pause: float) -> None:
        """A search that ends does not wait out a long pause, but does not hammer a dead server either."""
        if self._closing.wait(pause):
            self._stop.wait(FIRST_PAUSE)

    def _deliver(self) -> None:
        """Everything there is. The offset is saved behind each chunk; a chunk told twice leaves no trace."""
        if not self._open:
            known = self._runs.open()
            self._offset = self._offset if known else 0
            self._open = True
        while not self._stop.is_set():
            self._news.clear()
            chunk = list(islice(self._spool.lines(self._offset), CHUNK))
            if not chunk:
                break
            events = (Event.of(line) for line, _ in chunk)
            self._runs.deliver(event for event in events if event)
            self._offset = chunk[-1][1]
            delivered = {**self._state.delivered, self._destination: self._offset}
            self._state = replace(self._state, delivered=delivered)
            self._spool.save(self._state)
        if self.problem:
            self.problem = ""
            self._say(f"The tracking store {self._runs.address.shown} answers again; all points are delivered.")

    def _settle(self) -> None:
        """A call we gave up on may have been heard late; its run would be a second one of the same trial."""
        if self._had_trouble:
            self._runs.open()

    def _failed(self, error: Exception) -> None:
        """Said once per silence. The store is asked again what it has: a call that failed may have been heard."""
        self._open = False
        self._had_trouble = True
        first = not self.problem
        self.problem = _why(error)
        if first and not self._stop.is_set():
            self._say(
                f"The tracking store {self._runs.address.shown} does not take our points: {self.problem}. "
                f"The search goes on; points wait in {self._spool.folder} and are delivered when it answers."
            )


def _why(error: BaseException) -> str:
    """The root of it where the system names one (`Connection refused`), not the tower of clients on top."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, TimeoutError):
            return "timed out"
        if isinstance(cause, OSError) and cause.strerror:
            return f"{cause.strerror}: {cause.filename}" if cause.filename else cause.strerror
        if isinstance(cause, ConnectionError):
            return str(cause)
        wrapped = (part for part in cause.args if isinstance(part, BaseException))
        cause = cause.__cause__ or cause.__context__ or next(wrapped, None)
    line = str(error).strip().partition("\n")[0] or type(error).__name__
    return redact(line).removesuffix(".")[:LONGEST_REASON]

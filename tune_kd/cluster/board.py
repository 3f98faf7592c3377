"""The board of a cluster: which searches run there now, and how much of it each may use.

An actor of Ray's that outlives the searches. It knows nothing that they do not tell it again every few seconds, so it
may be lost and made anew at any time. Imports nothing heavy: its process only keeps a list.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import ray

from tune_kd.cluster.turns import Want, turns

NAMESPACE = "tune_kd"
NAME = "board-1"
"""With the version of what is said to it: searches of other versions of this package may share the cluster."""
EXPIRES_SECONDS = 20.0
HEAD = "node:__internal_head__"


@dataclass(frozen=True)
class Notice:
    """What a search says of itself."""

    id: str
    name: str
    user: str
    study: str
    phase: str = "starting"
    progress: str = ""
    slots: int = 0
    live: int = 0
    wanted: int = 0


@dataclass(frozen=True)
class Place:
    """What the board answers: how many slots, and how many searches there are and came before."""

    slots: int
    searches: int
    before: int


@dataclass(frozen=True)
class Listed:
    """One line of `--list-running`."""

    notice: Notice
    seconds: float
    may: int


@dataclass
class _Seat:
    notice: Notice
    since: float
    heard: float = field(default=0.0)


class Board:
    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._seats: dict[str, _Seat] = {}

    def hear(self, notice: Notice, age: float) -> Place:
        """A search is alive, and `age` seconds old: after the board was lost, the order is what it was."""
        now = self._clock()
        seat = self._seats.setdefault(notice.id, _Seat(notice, now - age))
        seat.notice, seat.heard = notice, now
        order, given = self._shared()
        number = next(k for k, each in enumerate(order) if each.notice.id == notice.id)
        # One that does not know yet how many slots it could use takes none from the others.
        return Place(given[number], sum(each.notice.slots > 0 for each in order), number)

    def leave(self, id: str) -> None:
        self._seats.pop(id, None)

    def listed(self) -> list[Listed]:
        order, given = self._shared()
        now = self._clock()
        return [Listed(seat.notice, now - seat.since, may) for seat, may in zip(order, given, strict=True)]

    def _shared(self) -> tuple[list[_Seat], list[int]]:
        """Those that are alive, first come first, and what each may use."""
        late = self._clock() - EXPIRES_SECONDS
        self._seats = {id: seat for id, seat in self._seats.items() if seat.heard >= late}
        order = sorted(self._seats.values(), key=lambda seat: (seat.since, seat.notice.id))
        return order, turns([Want(seat.notice.slots, seat.notice.wanted) for seat in order])


def board() -> Any:
    """The cluster's board, put up where there is none. On the head: on a worker it would keep that from being idle."""
    return (
        ray.remote(Board)
        .options(
            name=NAME,
            namespace=NAMESPACE,
            lifetime="detached",
            get_if_exists=True,
            num_cpus=0,
            resources={HEAD: 0.001},
            max_restarts=-1,
        )
        .remote()
    )


def listed(seconds: float) -> list[Listed]:
    """What runs now; nothing where no search has ever run."""
    try:
        found = ray.get_actor(NAME, namespace=NAMESPACE)
    except ValueError:
        return []
    answer: list[Listed] = ray.get(found.listed.remote(), timeout=seconds)
    return answer

"""What is killed, when, and in which order: all of it follows from a seed."""

import math
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.chaos.signs import POLL_SECONDS, Signs
from tests.chaos.world import SEARCH_SECONDS, Failed, Machines, Search, Server, wait_for

DRIVER, WORKER, RAYLET, SERVER = "driver", "worker", "raylet", "mlflow"
DEATH_SECONDS = 15.0
"""After this long the death of a process was not one of a trial, or the search would have heard of it."""
LONGEST_START = 8.0
"""Seconds in which a search imports, joins Ray, opens its ledger and says what it is about to do."""


@dataclass(frozen=True)
class Kill:
    """`victim` dies `delay` seconds after the sign (`begun`: after its process was started); `away` is its repair."""

    victim: str
    sign: str
    delay: float
    away: float = 0.0

    def __str__(self) -> str:
        return f"{self.victim} {self.delay:.3f} s after '{self.sign}'" + f", away {self.away:.1f} s" * bool(self.away)


def plan(choose: random.Random, count: int) -> list[Kill]:
    """Kills of one search. Results are written at its end, so a kill then comes last."""
    kills = [_kill(choose) for _ in range(count - 1)]
    if choose.random() < 0.4:
        kills.insert(0, Kill(SERVER, "down", 0.0, choose.uniform(1, 10)))
    last = Kill(DRIVER, "written", choose.choice([0.0, choose.uniform(0, 0.3), choose.uniform(0, 3)]))
    return [*kills[: count - 1], last]


def _kill(choose: random.Random) -> Kill:
    victim = choose.choices([DRIVER, WORKER, RAYLET, SERVER], [45, 30, 10, 15])[0]
    soon = choose.choice([0.0, choose.uniform(0, 0.02), choose.uniform(0, 0.3)])
    if victim == DRIVER:
        sign = choose.choice(["asked", "reported", "ended", "epoch", "begun"])
        return Kill(DRIVER, sign, choose.uniform(0, LONGEST_START) if sign == "begun" else soon)
    sign = choose.choice(["asked", "reported", "epoch"])
    return Kill(victim, sign, soon, choose.uniform(0, 4) if victim != WORKER else 0.0)


@dataclass
class Game:
    """One search under fire."""

    machines: Machines
    server: Server
    search: Search
    choose: random.Random
    nodes: int = 1
    done: list[Kill] = field(default_factory=list)
    kept: list[bytes] = field(default_factory=list)
    """The ledger at each kill of the driver."""
    _deaths: int = 0
    _died: float = -math.inf

    def play(self, kills: list[Kill]) -> Signs:
        """Kills as planned until the search is over; those that found nothing to kill are not in `done`."""
        self.machines.have(self.nodes)
        self.signs = Signs(self.search)
        if not (kills and kills[0].sign == "down"):
            wait_for(self.server.answers, "MLflow's first answer")
        self._restart_at: float | None = None
        for kill in kills:
            if kill.sign == "down":
                self._stop_server(kill)
        self._begin()
        for kill in kills:
            if kill.sign != "down" and self._await(kill):
                self._do(kill)
        self._until(lambda: False, "the end")
        if self._restart_at is not None:
            self._restart_at = 0.0
            self._look()
        wait_for(self.server.answers, "MLflow's return")
        return self.signs

    def _begin(self) -> None:
        self.signs.begin()
        self._began = time.monotonic()
        self.search.start()

    def _await(self, kill: Kill) -> bool:
        """Whether the moment came before the search was over."""
        if kill.sign == "begun":
            return self._until(lambda: time.monotonic() > self._began + kill.delay, "its start")
        if kill.victim in (WORKER, RAYLET) and not self._until(self._may_die, "a training that may die"):
            return False
        came, late = self._progress(kill.sign), self._progress("written")
        if not self._until(lambda: came() or late(), kill.sign):
            return False
        if not came() and kill.victim in (WORKER, RAYLET):
            return False  # Results are written, and nothing is trained any more.
        moment = time.monotonic() + kill.delay
        return self._until(lambda: time.monotonic() >= moment, "its moment")

    def _may_die(self) -> bool:
        """A training that dies three times without a report is given up, as it should be; here none is driven there."""
        noticed = self.signs.counts["died"] > self._deaths or time.monotonic() > self._died + DEATH_SECONDS
        return noticed and not self.signs.fragile

    def _progress(self, sign: str) -> Callable[[], bool]:
        seen = self.signs.counts[sign]
        return lambda: self.signs.counts[sign] > seen

    def _until(self, condition: Callable[[], bool], what: str) -> bool:
        end = time.monotonic() + SEARCH_SECONDS
        while not condition():
            if self.search.ended:
                return False
            if time.monotonic() > end:
                raise Failed(f"waited {SEARCH_SECONDS:.0f} s for {what}")
            time.sleep(POLL_SECONDS)
            self._look()
        return not self.search.ended

    def _look(self) -> None:
        self.signs.look()
        if self._restart_at is not None and time.monotonic() > self._restart_at:
            self._restart_at = None
            self.server.start()

    def _do(self, kill: Kill) -> None:
        deaths = self.signs.counts["died"]
        if kill.victim == DRIVER:
            self.search.kill()
            self.kept.append(self.search.ledger.read_bytes() if self.search.ledger.exists() else b"")
            self._begin()
        elif kill.victim == WORKER:
            if not self._until(lambda: self.machines.kill_worker(self.choose), "a process that trains"):
                return
        elif kill.victim == RAYLET:
            self.machines.lose_one(self.choose)
            moment = time.monotonic() + kill.away
            self._until(lambda: time.monotonic() > moment, "a node's repair")
            self.machines.have(self.nodes)
            self.signs.hold()
        else:
            self._stop_server(kill)
        self.done.append(kill)
        if kill.victim in (WORKER, RAYLET):
            self._deaths, self._died = deaths, time.monotonic()

    def _stop_server(self, kill: Kill) -> None:
        self.server.kill()
        self._restart_at = time.monotonic() + kill.away
        if kill.sign == "down":
            self.done.append(kill)

"""A search's seat at the board of its cluster: tells it how the search stands, hears how many slots it may use."""

import getpass
import logging
import os
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import ray

from tune_kd.cluster.address import USER
from tune_kd.cluster.board import Notice, Place, board
from tune_kd.log import reason

BEAT_SECONDS = 2.0
ANSWER_SECONDS = 10.0


class Alone:
    """The seat of a search that shares its Ray with no other: all there is, is for it."""

    progress: Callable[[], str] = str

    def tell(self, phase: str) -> None: ...

    def may_use(self, slots: int, live: int, more: bool) -> int:
        """How many of `slots` the search may have now, with `live` of them taken and more wanted or not."""
        return slots

    def leave(self) -> None: ...


class Seat(Alone):
    """Talks in a thread of its own, so that a slow board holds nothing up. A board that is gone limits nobody.

    A seat belongs to a results folder: a search that goes on after a kill takes its own again.
    """

    def __init__(self, folder: Path, name: str, study: str, say: Callable[[str], None]) -> None:
        owner = os.environ.get(USER) or getpass.getuser()
        self._notice = Notice(f"{socket.gethostname()}:{folder}", name, owner, study)
        self._say = say
        self._began = time.monotonic()
        self._place: Place | None = None
        self._hungry = False
        self._most = 0
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._news = threading.Event()
        self._thread = threading.Thread(target=self._talk, name="seat", daemon=True)

    @classmethod
    def taken(cls, folder: Path, name: str, study: str, say: Callable[[str], None]) -> "Seat":
        seat = cls(folder, name, study, say)
        seat._thread.start()
        return seat

    def leave(self) -> None:
        self._over.set()
        self._news.set()
        self._thread.join(ANSWER_SECONDS)

    def tell(self, phase: str) -> None:
        with self._lock:
            self._notice = replace(self._notice, phase=phase)

    def may_use(self, slots: int, live: int, more: bool) -> int:
        with self._lock:
            self._most = max(self._most, live)
            self._hungry = self._hungry or more
            if slots and not self._notice.slots:
                self._news.set()
            self._notice = replace(self._notice, slots=slots, live=live)
            return slots if self._place is None else min(slots, self._place.slots)

    def _talk(self) -> None:
        found: Any = None
        while not self._over.is_set():
            try:
                found = found or board()
                notice = self._next()
                place = ray.get(found.hear.remote(notice, self._age()), timeout=ANSWER_SECONDS)
                # What is answered to a search that does not know yet how many it could use says nothing.
                if notice.slots:
                    self._heard(place)
            except Exception as error:
                # Whatever it is, the search is worth more than the order of turns.
                logging.getLogger(__name__).warning("no order of turns: %s", reason(error))
                found = None
            self._news.wait(BEAT_SECONDS)
            self._news.clear()
        try:
            if found is not None:
                ray.get(found.leave.remote(self._notice.id), timeout=ANSWER_SECONDS)
        except Exception as error:
            logging.getLogger(__name__).warning("no order of turns: %s", reason(error))

    def _age(self) -> float:
        return time.monotonic() - self._began

    def _next(self) -> Notice:
        """What to say now: the search wants all it can get, unless it had nothing to do ever since it last spoke."""
        with self._lock:
            notice = replace(self._notice, progress=self.progress())
            wanted = notice.slots if self._hungry else self._most
            self._hungry, self._most = False, notice.live
            # One at least: the teacher is a training too, and only a search that has a slot asks whether it is done.
            return replace(notice, wanted=max(wanted, 1))

    def _heard(self, place: Place) -> None:
        with self._lock:
            before, self._place = self._place, place
            busy = bool(self._notice.live or self._most or self._hungry)
        if before == place or (before is None and place.searches == 1):
            return
        if place.slots == 0 and busy and (before is None or before.slots > 0):
            self._say(f"waiting for a free slot: {place.before} searches came before this one")
        elif before is None or before.searches != place.searches or before.slots == 0:
            others = place.searches - 1
            self._say(
                f"shared with {others} other search{'es' * (others > 1)}; slots for this one: {place.slots}"
                if others
                else "alone on the cluster again"
            )

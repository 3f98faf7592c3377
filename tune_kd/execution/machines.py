"""Looks at the machines that Ray has, and says what a search could use to whoever can start more."""

import contextlib
import math
import time
from collections.abc import Callable

import ray
from ray.autoscaler.sdk import request_resources

from tune_kd.execution.resources import TYPE_RESOURCE, Node, Share, slots

LOOK_SECONDS = 2.0

MOST_WISHED = 1000
"""The autoscaler is told of each wish by itself, so there is an end to them."""


def read() -> list[Node]:
    """The machines that are there now."""
    return [
        Node(
            node["NodeID"],
            node["Resources"].get("CPU", 0.0),
            int(node["Resources"].get("GPU", 0)),
            next((k.removeprefix(TYPE_RESOURCE) for k in node["Resources"] if k.startswith(TYPE_RESOURCE)), ""),
        )
        for node in ray.nodes()
        if node["Alive"]
    ]


class Nodes:
    """The machines; asked between any two events, so Ray is asked only now and then."""

    def __init__(self) -> None:
        self._nodes: list[Node] = []
        self._looked = -math.inf

    def __call__(self) -> list[Node]:
        if time.monotonic() - self._looked > LOOK_SECONDS:
            self._nodes = read()
            self._looked = time.monotonic()
        return self._nodes


class Slots:
    """How many trainings of one share fit now."""

    def __init__(self, nodes: Nodes, each: Share) -> None:
        self._nodes = nodes
        self._each = each

    def __call__(self) -> int:
        return slots(self._nodes(), self._each)


class Wishes:
    """Tells Ray's autoscaler how many trainings could run, running ones included, so that it brings machines for them.

    A search hands out no leg for which there is no room, so Ray never sees one that waits. Without an autoscaler
    nobody reads this. The autoscaler remembers the last request of anybody, so of several searches the last one counts.
    """

    def __init__(self, each: Share) -> None:
        self._each = each
        self._told = 0
        self._when = -math.inf

    def __call__(self, could_run: Callable[[], int]) -> None:
        """Asked between any two events, so it counts and tells only now and then."""
        if time.monotonic() - self._when < LOOK_SECONDS:
            return
        self._when = time.monotonic()
        wanted = min(could_run(), MOST_WISHED)
        if wanted != self._told:
            self._tell(wanted)

    def withdraw(self) -> None:
        if self._told:
            with contextlib.suppress(Exception):  # Ray may be gone by now, and its wishes with it
                self._tell(0)

    def _tell(self, wanted: int) -> None:
        request_resources(bundles=[self._each.bundle()] * wanted)
        self._told = wanted

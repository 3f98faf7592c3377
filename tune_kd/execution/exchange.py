"""Logits that one machine has computed reach the caches of the others through Ray's object store."""

import secrets
import time
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import numpy as np
import ray
from ray.exceptions import GetTimeoutError, RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

Block = tuple[np.ndarray, np.ndarray, np.ndarray]
"""That of the teacher. It is not imported, as the depot's process needs no torch."""

ReadTo = tuple[str, int]
"""How far somebody has read: in the list of which depot, and how many blocks of it."""

ANSWER_SECONDS = 5.0
"""For the depot's answer, and again for the blocks to arrive. Longer than that the teacher does not wait."""

REST = 9
"""Asking takes a tenth of a training's time at most, however slow the network is or whatever is gone."""

LOOSE_BYTES = 4 << 20
"""Of a machine's logits wait to be packed; as long as nobody asks they are in the depot's own memory."""

KEPT_BYTES = 1 << 30
"""In Ray's store. What is computed after that each machine computes for itself."""

FRESH_SHARE = 1 / 200
"""Of the time that a cache has been filled for: so old may be what is not packed yet. A cache that takes hours to fill
would come in a hundred thousand pieces, and a machine that joins late would wait for each."""


class Shelf:
    """What is known of one cache."""

    def __init__(self) -> None:
        self.blocks: list[tuple[str, ray.ObjectRef[Any]]] = []
        """Whose they are, in the order in which they were packed."""
        self.bytes = 0
        self._loose: dict[str, list[Block]] = defaultdict(list)
        self._begun = self._packed = time.monotonic()

    def add(self, node: str, block: Block) -> None:
        self.bytes += _size(block)
        self._loose[node].append(block)
        if sum(map(_size, self._loose[node])) >= LOOSE_BYTES:
            self._pack(node)

    def pack_for(self, node: str) -> None:
        """Puts what is new into the store, if it is time and another node than this one has something new."""
        now = time.monotonic()
        if self._loose.keys() - {node} and now - self._packed >= FRESH_SHARE * (now - self._begun):
            self._packed = now
            for each in list(self._loose):
                self._pack(each)

    def _pack(self, node: str) -> None:
        block = tuple(np.concatenate(parts) for parts in zip(*self._loose.pop(node), strict=True))
        self.blocks.append((node, ray.put(block)))


def _size(block: Block) -> int:
    return sum(part.nbytes for part in block)


class Depot:
    """A process of its own that owns the blocks, so that they outlive the workers which computed them.

    If it dies, its blocks are gone, and whoever lacks them runs the teacher.
    """

    def __init__(self) -> None:
        self._life = secrets.token_hex(8)
        self._shelves: dict[str, Shelf] = defaultdict(Shelf)

    @ray.method(num_returns=0)
    def offer(self, cache: str, node: str, block: Block) -> None:
        if sum(shelf.bytes for shelf in self._shelves.values()) < KEPT_BYTES:
            self._shelves[cache].add(node, block)

    def others(self, cache: str, node: str, read: ReadTo | None) -> tuple[ReadTo, list[ray.ObjectRef[Any]]]:
        """Blocks of other nodes, after those which were read. Of another life's depot none were."""
        shelf = self._shelves[cache]
        shelf.pack_for(node)
        begin = read[1] if read and read[0] == self._life else 0
        new = [block for whose, block in shelf.blocks[begin:] if whose != node]
        return (self._life, len(shelf.blocks)), new


class Exchange:
    """Asks the depot from whatever machine. Made by the search itself, beside which the depot runs."""

    def __init__(self, depot: Any) -> None:
        self._depot = depot
        self._read: dict[str, ReadTo] = {}
        self._coming: dict[str, list[ray.ObjectRef[Any]]] = {}
        self._rests_until = 0.0

    @classmethod
    def begun(cls) -> "Exchange":
        """Starts the depot."""
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        return cls(ray.remote(Depot).options(num_cpus=0, max_restarts=-1, scheduling_strategy=here).remote())

    def ask(self, cache: str) -> Iterator[Block]:
        began = time.monotonic()
        if began < self._rests_until:
            return
        try:
            yield from self._fetch(cache)
        finally:
            now = time.monotonic()
            self._rests_until = now + REST * (now - began)

    def offer(self, cache: str, block: Block) -> None:
        images, views, logits = block
        self._depot.offer.remote(cache, _node(), (images.astype(np.int32), views.astype(np.int32), logits))

    def _fetch(self, cache: str) -> Iterator[Block]:
        """A node's object store brings a block there once, however many of its workers ask for it."""
        question = self._depot.others.remote(cache, _node(), self._read.get(cache))
        self._read[cache], new = ray.get(question, timeout=ANSWER_SECONDS)
        coming = self._coming.pop(cache, []) + new
        if not coming:
            return
        end = time.monotonic() + ANSWER_SECONDS
        arrived, self._coming[cache] = ray.wait(coming, num_returns=len(coming), timeout=ANSWER_SECONDS)
        while arrived:
            try:
                block: Block = ray.get(arrived[0], timeout=max(0, end - time.monotonic()))
            except GetTimeoutError:
                self._coming[cache] += arrived
                return
            except RayError:
                arrived.pop(0)  # it is lost
                continue
            arrived.pop(0)
            yield block


def _node() -> str:
    node: str = ray.get_runtime_context().get_node_id()
    return node

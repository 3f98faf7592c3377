"""One decision for all machines: the first one counts, and the storage keeps it for a search that goes on."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from tune_kd import names
from tune_kd.storage.stores import Storage

Decision = dict[str, Any]


class Register:
    """A process of its own that hears one question after the other: an object store cannot say who wrote first."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._known: dict[str, Decision] = {}

    def first(self, name: str, found: Decision | None = None) -> Decision | None:
        """What was decided first under that name; with `found`, that is it where there was nothing before."""
        if name not in self._known:
            kept = self._storage.read(name)
            if kept is None and found is None:
                return None
            if kept is None:
                self._storage.write(name, json.dumps(found).encode())
            self._known[name] = json.loads(kept) if kept is not None else found or {}
        return self._known[name]


class Agreement:
    """Asks the register from whatever machine. Made by the search itself, beside which the register runs."""

    def __init__(self, register: Any) -> None:
        self._register = register

    @classmethod
    def begun(cls, storage: Storage) -> "Agreement":
        """Starts the register."""
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        placed = ray.remote(Register).options(
            num_cpus=0, max_restarts=-1, max_task_retries=-1, scheduling_strategy=here
        )
        return cls(placed.remote(storage))

    def __call__(self, file: Path, decide: Callable[[], Decision]) -> Decision:
        name = f"{names.CHECKPOINT_DIR}/{file.name}"
        known: Decision | None = ray.get(self._register.first.remote(name))
        if known is None:
            known = ray.get(self._register.first.remote(name, decide()))
        assert known is not None
        return known

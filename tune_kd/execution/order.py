"""What a worker is told. Imports nothing heavy, because it is read before anything else there."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tune_kd.execution.resources import Share

NOTES = "notes"
"""What a worker has to say for the log, at the end of a leg."""


@dataclass(frozen=True)
class Order:
    """A leg as it travels to the worker."""

    config: Mapping[str, Any]
    arm: str
    seed: int
    until: int
    reported: int
    deadline: float
    saved: str
    final: bool
    teacher: Any
    """Ray's reference to it; None as long as there is none, which scratch trials need not wait for."""
    share: Share

"""The teacher as it was made, kept so that a search that goes on neither trains nor tests it again."""

import contextlib
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from tune_kd import checkpoint
from tune_kd.errors import InputError, TuneKDError
from tune_kd.teacher import Teacher


@dataclass(frozen=True)
class Taught:
    teacher: Teacher
    facts: dict[str, Any]

    def keep(self, path: Path) -> None:
        """Where there is no room for it, it is made again."""
        state = {field.name: getattr(self.teacher, field.name) for field in fields(Teacher)}
        with contextlib.suppress(OSError, TuneKDError):
            checkpoint.save(path, state | {"weights": dict(self.teacher.weights), "facts": self.facts})

    @staticmethod
    def kept(path: Path) -> "Taught | None":
        """None where it has not been made yet, or where a crash of the machine left half of it."""
        try:
            state = checkpoint.load(path)
            return Taught(Teacher(**{field.name: state[field.name] for field in fields(Teacher)}), state["facts"])
        except (InputError, KeyError):
            return None

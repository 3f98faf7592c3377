"""The teacher as it was made, kept so that a search that goes on neither trains nor tests it again."""

import contextlib
import tempfile
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from tune_kd import names
from tune_kd.errors import InputError, StorageError
from tune_kd.storage.stores import Storage
from tune_kd.teacher.making import Teacher
from tune_kd.training import checkpoint

MADE = f"{names.CHECKPOINT_DIR}/teacher.made"


@dataclass(frozen=True)
class Taught:
    teacher: Teacher
    facts: dict[str, Any]

    def keep(self, storage: Storage) -> None:
        """Where there is no room for it, it is made again."""
        state = {field.name: getattr(self.teacher, field.name) for field in fields(Teacher)}
        state |= {"weights": dict(self.teacher.weights), "facts": self.facts}
        with contextlib.suppress(StorageError):
            storage.write(MADE, checkpoint.packed(state))

    @staticmethod
    def kept(storage: Storage) -> "Taught | None":
        """None where it has not been made yet, or where a crash of the machine left half of it."""
        try:
            with tempfile.TemporaryDirectory(prefix="tune_kd-") as scratch:
                path = storage.fetch(MADE, Path(scratch))
                if path is None:
                    return None
                state = checkpoint.load(path)
            return Taught(Teacher(**{field.name: state[field.name] for field in fields(Teacher)}), state["facts"])
        except (InputError, KeyError):
            return None

"""The teachers as they were made, kept so that a search that goes on neither trains nor tests them again."""

import contextlib
import tempfile
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from tune_kd import names
from tune_kd.errors import InputError, StorageError
from tune_kd.storage.stores import Storage
from tune_kd.teacher.ensemble import Ensemble
from tune_kd.teacher.making import Teacher
from tune_kd.training import checkpoint

FIELDS = tuple(field.name for field in fields(Teacher))
MADE = f"{names.CHECKPOINT_DIR}/teacher.made"


@dataclass(frozen=True)
class Taught:
    teachers: Ensemble
    facts: dict[str, Any]

    def keep(self, storage: Storage) -> None:
        """Where there is no room for them, they are made again."""
        members = [
            {name: getattr(each, name) for name in FIELDS} | {"weights": dict(each.weights)}
            for each in self.teachers.members
        ]
        state = {"members": members, "accuracies": list(self.teachers.accuracies), "facts": self.facts}
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
            # A search that was begun when there was one teacher goes on with it.
            each = state["members"] if "members" in state else [{name: state[name] for name in FIELDS if name in state}]
            right = state["accuracies"] if "members" in state else [state["facts"][names.VAL_ACCURACY]]
            return Taught(Ensemble(tuple(Teacher(**one) for one in each), tuple(right)), state["facts"])
        except (InputError, KeyError):
            return None

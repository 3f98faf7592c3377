"""One search as it was asked for, by the command or from Python, and what became of it."""

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from tune_kd import names, tracking
from tune_kd.errors import TuneKDError
from tune_kd.objects import NO_OBJECTS, Objects
from tune_kd.options import EXPERIMENT
from tune_kd.space.study import Study
from tune_kd.storage.stores import Storage

Ending = Literal["finished", "failed", "teacher failed", "interrupted", "taken over"]


@dataclass(frozen=True)
class Request:
    study: Study
    name: str
    folder: Path
    resume: bool = False
    tracking_uri: str | None = None
    experiment: str = EXPERIMENT
    address: str | None = None
    storage: str | None = None
    objects: Objects = NO_OBJECTS

    @property
    def repeat(self) -> str:
        """The command that does it again."""
        storage = Storage.at(self.storage) if self.storage else None
        words = ("--storage", storage.uri) if storage and not storage.secret else ()
        return self._command(str(self.folder / names.STUDY_FILE), *words)

    @property
    def go_on(self) -> str:
        return self._command("--out", str(self.folder), "--resume")

    def _command(self, *words: str) -> str:
        """A command that finds the same MLflow store and the same Ray from any folder; passwords are not shown."""
        address = tracking.resolve(self.tracking_uri)
        if address.shown == address.uri:
            words += ("--tracking-uri", address.uri)
        words += ("--experiment", self.experiment)
        if self.address:
            words += ("--address", self.address)
        return shlex.join(["python", "-m", "tune_kd.search", *words])


@dataclass(frozen=True)
class Outcome:
    """How a search ended. All but one that is finished have an error, which says why and what to do next."""

    request: Request
    ending: Ending
    error: BaseException | None = None
    verdict: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    """What did not come off although the search did."""
    mlflow: tuple[str, str] = ("", "")
    """The command and the page that show it."""

    @property
    def code(self) -> int:
        """What the command exits with."""
        if isinstance(self.error, TuneKDError):
            return self.error.exit_code
        return 0 if self.error is None else names.INTERRUPTED

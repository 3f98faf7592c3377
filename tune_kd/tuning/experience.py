"""What finished searches leave for later ones: settings and curves. No image, no name of the user's and no path.

A file a search, in a folder for each likeness: the student and the data set, both only as a digest. Whoever looks for
relatives looks there, so a search of strangers, which would mislead, is never found.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from optuna.trial import TrialState

from tune_kd import names
from tune_kd.data.sources import user_cache
from tune_kd.errors import InputError
from tune_kd.plan import Plan, label
from tune_kd.space.schema import Data
from tune_kd.space.study import Study, searched_keys
from tune_kd.storage.files import replace
from tune_kd.tuning.forecast import Past
from tune_kd.tuning.ledger import Ledger

ON, OFF = "on", "off"
LATEST: Final = 8
"""Searches that teach a new one; older ones say little more, and learning takes time."""
MOST: Final = 3
"""Settings of earlier searches that are tried first: each is tried instead of something new."""
SHARE: Final = 5
"""One of so many trials at most: where few are made, what is best elsewhere is a dear guess."""
SUFFIX: Final = ".json"


@dataclass(frozen=True)
class Search:
    """What one search left."""

    file: Path
    ended: str
    arms: tuple[Past, ...]

    @property
    def trainings(self) -> int:
        return sum(len(arm.curves) for arm in self.arms)


def place(wanted: str) -> Path | None:
    """Where experience is kept: in the user's cache, or in a folder that several people or machines share."""
    if wanted == OFF:
        return None
    return user_cache() / "experience" if wanted == ON else Path(wanted).expanduser()


def likeness(study: Study) -> str:
    """The same for searches that can teach each other: of the same students, on the same images."""
    students = study.search[names.STUDENT_MODEL].spec() if names.STUDENT_MODEL in study.search else None
    sides = [study.search[names.STUDENT_SIDE].spec()] if names.STUDENT_SIDE in study.search else []
    common = set(Data.model_fields) - {"dataset"}
    images = {key: value for key, value in study.data.model_dump(mode="json").items() if key not in common}
    told = json.dumps([study.student.model, students, images, *sides], sort_keys=True)
    return hashlib.sha256(told.encode()).hexdigest()[:16]


def left_by(plan: Plan, ledger: Ledger) -> list[Past]:
    """A search's arms, with what is searched: other settings are the same for all, or names of the user's."""
    pasts = []
    for arm in plan.arms:
        keys = [key for key in searched_keys(plan.study, arm.name) if not key.startswith("data.")]
        told = [
            (
                {key: entry.config[key] for key in keys if key in entry.config},
                tuple(value for _, value in sorted(trial.intermediate_values.items())),
            )
            for entry, trial in ledger.entries(arm)
            if trial.intermediate_values and trial.state != TrialState.FAIL
        ]
        if told:
            cell = hashlib.sha256(label(arm.cell).encode()).hexdigest()[:8]
            configs, curves = zip(*told, strict=True)
            pasts.append(Past(cell, arm.name, plan.study.budget.epochs, configs, curves))
    return pasts


def keep(folder: Path, kind: str, search: str, ended: str, arms: Sequence[Past]) -> None:
    """A search that went on has one file, as it is now."""
    target = folder / kind / f"{search}{SUFFIX}"
    target.parent.mkdir(parents=True, exist_ok=True)
    replace(target, as_bytes(ended, arms))


def as_bytes(ended: str, arms: Sequence[Past]) -> bytes:
    return json.dumps({"ended": ended, "arms": [asdict(arm) for arm in arms]}).encode()


def read(path: Path) -> Search:
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
        return Search(path, str(told["ended"]), tuple(map(as_past, told["arms"])))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{path}: not what a search left ({type(error).__name__}: {error}). Give a file that "
            "`python -m tune_kd.experience export` wrote, or forget it."
        ) from None


def as_past(told: Mapping[str, Any]) -> Past:
    curves = tuple(tuple(map(float, curve)) for curve in told["curves"])
    configs = tuple(map(dict, told["configs"]))
    if len(curves) != len(configs) or not all(0 < len(curve) <= told["epochs"] for curve in curves):
        raise ValueError("settings and curves do not belong together")
    return Past(str(told["cell"]), str(told["arm"]), int(told["epochs"]), configs, curves)


def searches(folder: Path) -> list[Search]:
    """All there are, the latest first; a damaged one is an error."""
    return _latest_first(map(read, _files(folder, "*")))


def _files(folder: Path, kind: str) -> list[Path]:
    return sorted(folder.glob(f"{kind}/*{SUFFIX}"))


def _latest_first(found: Iterable[Search]) -> list[Search]:
    return sorted(found, key=lambda search: (search.ended, search.file.name), reverse=True)


def relatives(folder: Path, kind: str, noted: Callable[[str], None]) -> list[Search]:
    """The latest few of the same likeness. No search is held up by what another has left damaged."""

    def readable(path: Path) -> Search | None:
        try:
            return read(path)
        except InputError as error:
            noted(f"left aside: {error}")
            return None

    return _latest_first(filter(None, map(readable, _files(folder, kind))))[:LATEST]


def best_settings(pasts: Sequence[Past], study: Study) -> list[Mapping[str, Any]]:
    """The best of each arm as far as this study searches it too, the most accurate first; few, and no two that differ
    only in how they distil, so that the control is given as many as the distilled arm."""
    best = []
    for past in pasts:
        number = max(range(len(past.curves)), key=lambda n: (len(past.curves[n]), max(past.curves[n])))
        best.append((max(past.curves[number]), past.configs[number]))
    found: dict[str, Mapping[str, Any]] = {}
    for _, config in sorted(best, key=lambda one: -one[0]):
        domains = {key: study.search[key] for key in searched_keys(study, names.DISTILLED)}
        point = {key: config[key] for key, domain in domains.items() if key in config and domain.contains(config[key])}
        shared = str({key: value for key, value in point.items() if not key.startswith("kd.")})
        if point:
            found.setdefault(shared, point)
    return list(found.values())[: min(MOST, study.budget.trials // SHARE)]

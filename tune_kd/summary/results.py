"""A result folder read back: what the search stored, and errors that name the file."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from tune_kd.errors import InputError
from tune_kd.names import EXAMPLES_FILE, FINALS_FILE, STUDY_FILE, TEST_ACCURACY, TRIALS_FILE, VERDICT_FILE
from tune_kd.space.yaml12 import parse

AGAIN = (
    "Point at the folder of a search (it holds study.yaml and trials.parquet), or resume the search to write it anew."
)


@dataclass(frozen=True)
class Results:
    """What a search left on disk."""

    folder: Path
    study: Mapping[str, Any]
    trials: pd.DataFrame
    finals: pd.DataFrame
    teacher: Mapping[str, Any]
    facts: Mapping[str, Any]
    examples: Mapping[str, Any] = field(default_factory=dict)
    """Some of the images, where the search has kept any."""


def read(folder: Path) -> Results:
    """Read a result folder. Finals and verdict may be missing: the search was interrupted before them."""
    if not folder.is_dir():
        raise InputError(f"{folder}: there is no such folder. {AGAIN}")
    study = _study(folder / STUDY_FILE)
    trials = _table(folder / TRIALS_FILE, ("number", "arm", "state", "value"))
    missing = not (folder / FINALS_FILE).exists()
    finals = pd.DataFrame() if missing else _table(folder / FINALS_FILE, ("arm", "seed", TEST_ACCURACY))
    verdict = _verdict(folder / VERDICT_FILE)
    examples = _examples(folder / EXAMPLES_FILE)
    return Results(folder, study, trials, finals, _part(verdict, "teacher"), _part(verdict, "facts"), examples)


def _study(path: Path) -> Mapping[str, Any]:
    try:
        study = parse(path.read_text(encoding="utf-8"), str(path))
    except FileNotFoundError:
        raise InputError(f"{path}: the file is missing. {AGAIN}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read as YAML ({_first_line(error)}). {AGAIN}") from None
    if not isinstance(study, dict):
        raise InputError(f"{path}: holds no study; a mapping of keys is needed. {AGAIN}")
    return study


def _table(path: Path, columns: tuple[str, ...]) -> pd.DataFrame:
    if not path.exists():
        raise InputError(f"{path}: the file is missing. {AGAIN}")
    try:
        table = pd.read_parquet(path)
    except (OSError, ValueError, KeyError) as error:
        reason = _first_line(error)
        raise InputError(f"{path}: cannot be read as parquet, perhaps truncated ({reason}). {AGAIN}") from None
    absent = [column for column in columns if column not in table]
    if absent and len(table):
        raise InputError(
            f"{path}: lacks the columns {', '.join(absent)}; found {', '.join(map(str, table.columns))}. {AGAIN}"
        )
    return table


def _verdict(path: Path) -> Mapping[str, Any]:
    if not path.exists():
        return {}
    try:
        verdict = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        reason = _first_line(error)
        raise InputError(f"{path}: cannot be read as JSON ({reason}). Delete it to judge again without it.") from None
    return verdict if isinstance(verdict, dict) else {}


def _examples(path: Path) -> Mapping[str, Any]:
    """Pictures for the eye: no report fails for want of them."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _part(verdict: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    part = verdict.get(key)
    return part if isinstance(part, dict) else {}


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]

"""The verdict as objects, for Python: read from what `verdict.json` holds, by this version or by one before."""

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from tune_kd.errors import InputError
from tune_kd.names import ACCURACY, COST, DISTILLED, SCRATCH, VERDICT_FILE

T = TypeVar("T")


@dataclass(frozen=True)
class Gain:
    """Distilled minus scratch on the test images, in 0…1; `reason` says why a number is None."""

    mean: float | None = None
    low: float | None = None
    high: float | None = None
    p: float | None = None
    """Corrected over all comparisons of the study."""
    p_uncorrected: float | None = None
    pairs: tuple[float, ...] = ()
    reason: str = ""
    correlation: float | None = None
    """Of the two arms over their seeds: what pairing is worth."""
    seeds_and_images: tuple[float, float] | None = None
    """The interval that covers other test images as well as other seeds."""
    trimmed: Mapping[str, float] | None = None
    """The second opinion: the middle pairs alone."""
    with_failed: Mapping[str, float] | None = None
    """The gain with failed finals counted as guessing, where there are any."""


@dataclass(frozen=True)
class Side:
    """One arm of a cell: its configuration, and what its finals measured on the test images."""

    mean: float | None = None
    sd: float | None = None
    n: int = 0
    values: tuple[float, ...] = ()
    seeds: tuple[int, ...] = ()
    config: Mapping[str, Any] = field(default_factory=dict)
    validation: float | None = None
    optimism: float | None = None
    trial: int | None = None
    measured: Mapping[str, Any] = field(default_factory=dict)
    """Everything else, by the names of `verdict.json`."""


@dataclass(frozen=True)
class Cell:
    """One answer: of a cell, or of one model on its front."""

    cell: Mapping[str, Any]
    word: str
    gain: Gain
    distilled: Side | None
    scratch: Side | None
    but: str = ""
    """What takes from the word, or from the lack of one."""
    failed: Mapping[str, Any] = field(default_factory=dict)
    """By arm: how many finals failed, of how many, and why."""
    controls: Mapping[str, Any] = field(default_factory=dict)
    """Arms beside scratch, and what the distilled one has `beyond` each."""
    lost: Mapping[str, Any] = field(default_factory=dict)
    """By arm: how many finals failed or collapsed, of how many, and the share of trainings, `at_most`."""
    model: str = ""
    cost: float | None = None
    front: tuple["Cell", ...] = ()
    """With two objectives an answer for each model, cheapest first."""


@dataclass(frozen=True)
class Verdict:
    study: str
    question: str
    cells: tuple[Cell, ...]
    control: bool
    objectives: tuple[str, ...]
    teacher: Mapping[str, Any]
    counts: Mapping[str, int]
    facts: Mapping[str, Any]
    metric: str
    """What arms are compared by."""
    raw: Mapping[str, Any] = field(repr=False)
    """The whole of `verdict.json`."""


def read_verdict(folder: Path) -> Verdict:
    path = folder / VERDICT_FILE
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path}: the file is missing, so the search has no verdict yet. Go on with it.") from None
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read ({error}). `python -m tune_kd.summary {folder}` makes it.") from None
    if not isinstance(raw, dict) or "cells" not in raw:
        raise InputError(f"{path}: holds no verdict. `python -m tune_kd.summary {folder}` makes it.")
    return of(raw)


def of(raw: Mapping[str, Any]) -> Verdict:
    return Verdict(
        study=raw["study"],
        question=raw.get("question") or "",
        cells=tuple(_cell(one, one["cell"]) for one in raw["cells"]),
        control=raw.get("control", True),
        objectives=tuple(raw.get("objectives") or ("accuracy",)),
        metric=raw.get("metric") or ACCURACY,
        teacher=raw.get("teacher") or {},
        counts=raw.get("counts") or {},
        facts=raw.get("facts") or {},
        raw=raw,
    )


def _cell(one: Mapping[str, Any], where: Mapping[str, Any]) -> Cell:
    return Cell(
        cell=where,
        word=one["word"],
        gain=_known(Gain, one["gain"]),
        distilled=_side(one[DISTILLED]),
        scratch=_side(one[SCRATCH]),
        but=one.get("but", ""),
        failed=one.get("failed") or {},
        controls=one.get("controls") or {},
        lost=one.get("lost") or {},
        model=one.get("model", ""),
        cost=one.get(COST),
        front=tuple(_cell(point, where) for point in one.get("front") or ()),
    )


def _side(arm: Mapping[str, Any] | None) -> Side | None:
    if arm is None:
        return None
    own = {each.name for each in dataclasses.fields(Side)}
    return _known(Side, {**arm, "measured": {key: value for key, value in arm.items() if key not in own}})


def _known(kind: type[T], given: Mapping[str, Any]) -> T:
    """A dataclass from the values that it has fields for: another version may have written more, or less."""
    wanted = [each.name for each in dataclasses.fields(kind)]  # type: ignore[arg-type]
    found = {key: given[key] for key in wanted if key in given}
    return kind(**{key: tuple(value) if isinstance(value, list) else value for key, value in found.items()})

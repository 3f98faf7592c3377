"""Every key of a study with what it means, takes and is by default: for the reference in docs/ and for editors."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

import yaml
from pydantic.fields import FieldInfo

from tune_kd.errors import TuneKDError
from tune_kd.space import methods
from tune_kd.space.allowed import FIELDS, RULES, allowed, allowed_for, dotted_keys, section_type
from tune_kd.space.schema import Section
from tune_kd.space.study import Study

KEYS: Final = Path(__file__).with_name("keys.yaml")
SHARED: Final = ("train.", "augment.")
"""Sections that stand elsewhere as well and mean the same there."""
VARIED: Final = {
    "conditions": "keys and lists of levels",
    "search": "keys and domains",
    "first": "a list of settings",
    "published": "a list of reported figures",
    "teachers": "a list of teachers, each with the keys of `teacher`",
}


@dataclass(frozen=True)
class Key:
    """One key, in the words of the reference."""

    name: str
    means: str
    allowed: str
    default: Any
    required: bool
    example: Any
    published: str
    varies: bool


def every_key() -> Iterator[Key]:
    """Every key of the study file, in its order."""
    for name in dict.fromkeys([*dotted_keys(Study), *FIELDS]):
        field, told = field_of(name), _told(name)
        takes = VARIED.get(name) or (allowed_for(name) if name in FIELDS else _allowed(name, field))
        yield Key(
            name=name,
            means=told["means"],
            allowed=takes,
            default=None if field.is_required() else field.get_default(call_default_factory=True),
            required=field.is_required(),
            example=told["example"],
            published=told.get("published", ""),
            varies=name in FIELDS,
        )


def field_of(name: str) -> FieldInfo:
    """The field behind a dotted key."""
    if name in FIELDS:
        return FIELDS[name]
    *sections, leaf = name.split(".")
    owners: list[type[Section]] = [Study]
    for part in sections:
        inner = next(filter(None, (section_type(owner.model_fields[part]) for owner in owners)))
        owners = list(_family(inner))
    return next(owner.model_fields[leaf] for owner in owners if leaf in owner.model_fields)


def _family(section: type[Section]) -> Iterator[type[Section]]:
    """A section and its kinds: data sets of each kind have keys of their own."""
    yield section
    for kind in section.__subclasses__():
        yield from _family(kind)


def _allowed(name: str, field: FieldInfo) -> str:
    return RULES[name][1] if name in RULES else allowed(field)


@cache
def _all() -> dict[str, dict[str, Any]]:
    return dict(yaml.safe_load(KEYS.read_text(encoding="utf-8")))


def _told(name: str) -> dict[str, Any]:
    if own := methods.told(name):
        return own
    shared = next((name[name.index(each) :] for each in SHARED if f".{each}" in name), name)
    for each in (name, shared):
        if each in _all():
            return _all()[each]
    raise TuneKDError(f"{KEYS.name} does not say what {name} means. Add a line: {name}: {{means: …, example: …}}")

"""The kinds of data sets: a line each, and what their settings are.

A kind is one module with `Settings`, its keys under `data`, and `load`, which reads its images. It is imported when a
study names it, as some bring libraries that take seconds.
"""

import importlib
from collections.abc import Mapping
from typing import Any, Final, cast

from tune_kd.errors import did_you_mean
from tune_kd.space.schema import Data

KINDS: Final[Mapping[str, str]] = {
    "digits": "tune_kd.data.digits",
    "cifar10": "tune_kd.data.cifar",
    "cifar100": "tune_kd.data.cifar",
    "folder": "tune_kd.data.folders",
    "table": "tune_kd.data.tables",
    "hf": "tune_kd.data.hugging_face",
    "torchvision.NAME": "tune_kd.data.torchvision_sets",
    "objects": "tune_kd.data.objects",
}

DEFAULT: Final = "digits"


def kind_of(name: str) -> str | None:
    """The kind that a name belongs to: `torchvision.SVHN` is one of torchvision's."""
    return next((kind for kind in (name, f"{name.partition('.')[0]}.NAME") if kind in KINDS), None)


def member(name: str) -> Any:
    """The module of a data set, by a name that is known."""
    return importlib.import_module(KINDS[cast(str, kind_of(name))])


def settings_of(name: str) -> type[Data]:
    return cast(type[Data], member(name).Settings)


def default() -> Data:
    return settings_of(DEFAULT)(dataset=DEFAULT)


def every_settings() -> tuple[type[Data], ...]:
    return tuple(dict.fromkeys(settings_of(kind) for kind in KINDS))


def without_strangers(raw: Mapping[str, Any], own: type[Data]) -> dict[str, Any]:
    """Keys of other kinds that say nothing, as they are at their default there, are passed over: studies that were
    written out by an earlier version hold all keys of all kinds."""

    def says_something(key: str, value: Any) -> bool:
        others = [kind for kind in every_settings() if key in kind.model_fields]
        return not any(value in (None, kind.model_fields[key].default) for kind in others)

    return {key: value for key, value in raw.items() if key in own.model_fields or says_something(key, value)}


def unknown_name(name: object) -> str:
    near = did_you_mean(name, KINDS)
    return f"not allowed. Allowed: one of {', '.join(KINDS)}.{near}"


def owners(key: str) -> tuple[str, ...]:
    """The kinds that have a key."""
    return tuple(kind for kind in KINDS if key in settings_of(kind).model_fields)

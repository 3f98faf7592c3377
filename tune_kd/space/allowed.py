"""What each key of a study allows, in words, and the nearest one to a name that is none."""

import re
import types
from collections import ChainMap
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Final, Literal, Union, cast, get_args, get_origin

import annotated_types as bounds
from pydantic.fields import FieldInfo

from tune_kd import names
from tune_kd.errors import did_you_mean
from tune_kd.space import augmentations, datasets, methods
from tune_kd.space.augmentations import AUGMENTATIONS
from tune_kd.space.schema import SEARCHABLE, Augment, Data, Distillation, Section, Student, Teacher, Train

SECTIONS: Final[Mapping[str, type[Section]]] = {
    "data": Data,
    "augment": Augment,
    "student": Student,
    "kd": Distillation,
    "train": Train,
    "teacher": Teacher,
}
COMMON: Final[Mapping[str, FieldInfo]] = {
    f"{section}.{name}": info
    for section, model in SECTIONS.items()
    for name, info in model.model_fields.items()
    if f"{section}.{name}" in SEARCHABLE
}
FIELDS: Final[Mapping[str, FieldInfo]] = ChainMap(methods.FIELDS, cast(dict[str, FieldInfo], COMMON))
"""Every key that may vary: the common ones, and those of single methods."""


def not_allowed(key: str, value: object, field: FieldInfo) -> str:
    """'not allowed', with what is, and the nearest name where a field has named choices."""
    near = did_you_mean(value, _choices(field.annotation)) if isinstance(value, str) else ""
    return f"not allowed. Allowed: {_rule(key) if key in RULES else allowed(field)}.{near}"


def unknown_key(name: str, owner: type[Section], root: type[Section]) -> str:
    """'unknown key', with the nearest one of its section, or the section it belongs to, and all that are allowed."""
    elsewhere = [key for key in dotted_keys(root) if f".{key}".endswith(f".{name}")]
    section, _, leaf = min(elsewhere, key=len, default="").rpartition(".")
    kinds = datasets.owners(name) if issubclass(owner, Data) else ()
    near = did_you_mean(name, owner.model_fields) or (f" Did you mean '{leaf}' under '{section}'?" if section else "")
    if kinds:
        near = f" It belongs to data.dataset={' and '.join(kinds)}."
    return f"unknown key.{near} Keys here: {', '.join(owner.model_fields)}."


def section_type(field: FieldInfo) -> type[Section] | None:
    """The section a field holds, if it holds one."""
    kind = field.annotation
    return kind if isinstance(kind, type) and issubclass(kind, Section) else None


def dotted_keys(model: type[Section], prefix: str = "") -> tuple[str, ...]:
    """Every key of a model, those of its sections included."""
    keys: list[str] = []
    for name, field in model.model_fields.items():
        inner = section_type(field)
        kinds = datasets.every_settings() if inner is Data else (inner,) if inner else ()
        keys += [key for kind in kinds for key in dotted_keys(kind, f"{prefix}{name}.")] or [f"{prefix}{name}"]
    return tuple(dict.fromkeys(keys))


def allowed(field: FieldInfo) -> str:
    """What a field takes, in plain words: 'a number from 0 to 1'."""
    return field.description or _in_words(field.annotation, field.metadata)


def _in_words(kind: Any, metadata: Sequence[Any] = ()) -> str:
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Annotated:
        inner = [each for extra in arguments[1:] for each in getattr(extra, "metadata", [extra])]
        return _in_words(arguments[0], inner)
    if origin in (Union, types.UnionType):
        return " or ".join(_in_words(each) for each in arguments)
    if origin is Literal:
        choices = ", ".join(map(str, arguments))
        return f"one of {choices}" if len(arguments) > 1 else choices
    if origin is tuple:
        return f"a list, each item {_in_words(arguments[0])}"
    if isinstance(kind, type) and issubclass(kind, Section):
        return f"keys and values; keys: {', '.join(kind.model_fields)}"
    names = {bool: "true or false", int: "a whole number", float: "a number", str: "text", types.NoneType: "null"}
    return names.get(kind, "another type") + _range(metadata)


def _range(metadata: Sequence[Any]) -> str:
    low = next((m for m in metadata if isinstance(m, bounds.Ge | bounds.Gt)), None)
    high = next((m for m in metadata if isinstance(m, bounds.Le | bounds.Lt)), None)
    if isinstance(low, bounds.Ge) and isinstance(high, bounds.Le):
        return f" from {low.ge} to {high.le}"
    words = []
    if low is not None:
        words.append(f"above {low.gt}" if isinstance(low, bounds.Gt) else f"at least {low.ge}")
    if high is not None:
        words.append(f"below {high.lt}" if isinstance(high, bounds.Lt) else f"at most {high.le}")
    return " " + " and ".join(words) if words else ""


def _choices(kind: Any) -> tuple[str, ...]:
    """The named choices of a type, those inside unions included."""
    if get_origin(kind) is Literal:
        return tuple(map(str, get_args(kind)))
    return tuple(name for inner in get_args(kind) for name in _choices(inner))


def mix_parts(source: str) -> tuple[tuple[str, float | None], ...]:
    """Names and written weights of `a`, `a+b` or `a*0.7+b*0.3`; nothing where the text is none of these."""
    parts: list[tuple[str, float | None]] = []
    for text in source.split("+"):
        name, star, weight = (each.strip() for each in text.partition("*"))
        if not name or (star and not re.fullmatch(r"\d+\.?\d*|\.\d+", weight)):
            return ()
        parts.append((name, float(weight) if star else None))
    weights = [weight for _, weight in parts if weight is not None]
    even, weighted = not weights, len(weights) == len(parts) > 1 and all(weights)
    return tuple(parts) if len(dict(parts)) == len(parts) and (even or weighted) else ()


def takes_weight(source: str) -> bool:
    """Whether `data.weight` means something: a mix of two sources that has no weights of its own."""
    return [weight for _, weight in mix_parts(source)] == [None, None]


def _is_checkpoint(address: str) -> bool:
    return bool(address.strip()) and (address.startswith("models:/") or not re.match(r"\w\w+:", address))


_KIND: Final = (augmentations.is_kind, f"none, or different parts of {', '.join(AUGMENTATIONS)} joined by +")
_NAME: Final = (lambda text: bool(text.strip()), "text that is not empty")
_METHOD: Final = (methods.is_method, "one of {methods}, or several joined by +")
RULES: Final[Mapping[str, tuple[Callable[[str], bool], str]]] = {
    "data.source": (lambda text: bool(mix_parts(text)), "a source, all, or a mix such as a+b or a*0.7+b*0.3"),
    "data.root": _NAME,
    "augment.kind": _KIND,
    "augment.strong": _KIND,
    "kd.method": _METHOD,
    "kd.layers": (methods.is_layers, "auto, first, middle, last, all, or pairs student.path:teacher.path with commas"),
    "kd.mutual_peer": _NAME,
    names.STUDENT_MODEL: _NAME,
    "teacher.model": _NAME,
    "teacher.augment.kind": _KIND,
    "teacher.augment.strong": _KIND,
    "teacher.checkpoint": (_is_checkpoint, "a file of weights or an MLflow address models:/name/version"),
}
"""What a text must look like, beyond being text."""


def _rule(key: str) -> str:
    return RULES[key][1].format(methods=", ".join(methods.METHODS))


def text_fault(key: str, value: object) -> str | None:
    """What is wrong with a value that is text with rules of its own."""
    if key not in RULES or not isinstance(value, str) or RULES[key][0](value):
        return None
    names = AUGMENTATIONS if RULES[key] is _KIND else tuple(methods.METHODS) if RULES[key] is _METHOD else ()
    wrong = next((part for part in value.split("+") if part not in names), "")
    near = did_you_mean(wrong, names) if names else ""
    return f"not allowed. Allowed: {_rule(key)}.{near}"


def allowed_for(key: str) -> str:
    """What a searchable key takes, in plain words."""
    return _rule(key) if key in RULES else allowed(FIELDS[key])


def types_of(key: str) -> set[Any]:
    """The plain types a searchable key takes."""
    return _types(FIELDS[key].annotation)


def _types(kind: Any) -> set[Any]:
    if get_origin(kind) is Annotated:
        return _types(get_args(kind)[0])
    inner = get_args(kind) if get_origin(kind) in (Union, types.UnionType) else ()
    return {leaf for each in inner for leaf in _types(each)} or {kind}

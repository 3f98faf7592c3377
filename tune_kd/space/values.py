"""Reads what stands under a key: as it is stored, or what is wrong with it."""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Annotated, Any, cast

from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from tune_kd.errors import did_you_mean
from tune_kd.space.allowed import (
    FIELDS,
    SECTIONS,
    allowed,
    allowed_for,
    not_allowed,
    section_type,
    text_fault,
    unknown_key,
)
from tune_kd.space.problems import Problem, Problems, fail, show
from tune_kd.space.schema import Section


@cache
def _adapter(key: str) -> TypeAdapter[Any]:
    info = FIELDS[key]
    return TypeAdapter(cast(Any, Annotated[info.annotation, info]), config=ConfigDict(allow_inf_nan=False))


def problems_of(
    error: ValidationError, root: type[Section], inside: type[Section] | None = None, at: tuple[str, ...] = ()
) -> list[Problem]:
    """Pydantic's errors in our words: one for each key, though a union reports one for each of its types.

    They may be of a section `inside` the root that was read on its own, `at` a key of it.
    """
    found: dict[str, Problem] = {}
    own: list[Problem] = []
    for detail in error.errors(include_url=False):
        reason = detail.get("ctx", {}).get("error")
        if isinstance(reason, Problems):
            own += reason.problems
            continue
        path, owner, field = _locate(detail["loc"], inside or root)
        path = [*at, *path]
        if field is None:
            problem = Problem(".".join(path), unknown_key(path[-1], owner, root), detail["input"])
        elif detail["type"] == "missing":
            problem = Problem(".".join(path), f"missing. Give it {allowed(field)}.")
        else:
            key = ".".join(path)
            problem = Problem(key, not_allowed(key, detail["input"], field), detail["input"])
        found.setdefault(problem.key, problem)
    return [*found.values(), *own]


def _locate(loc: Sequence[int | str], root: type[Section]) -> tuple[list[str], type[Section], FieldInfo | None]:
    """The key an error belongs to, the section that holds it, and its field if there is one."""
    path: list[str] = []
    owner, field, inner = root, None, root
    for part in loc:
        path.append(str(part))
        owner, field = inner, inner.model_fields.get(str(part))
        below = section_type(field) if field else None
        if below is None:
            break
        inner = below
    return path, owner, field


def flatten(raw: Any, at: str) -> dict[str, Any]:
    """`kd: {alpha: 1}` and `kd.alpha: 1` alike as dotted keys; nothing as no keys."""
    if raw is None:
        return {}
    if not isinstance(raw, Mapping):
        fail(at, "must hold keys and values. Write a key, a colon and its value.", raw)
    pairs: list[tuple[str, Any]] = []
    for name, value in raw.items():
        nested = name in SECTIONS and isinstance(value, Mapping)
        pairs += [(f"{name}.{key}", inner) for key, inner in value.items()] if nested else [(str(name), value)]
    flat: dict[str, Any] = {}
    for key, value in pairs:
        if key in flat:
            fail(f"{at}.{key}", "stands here twice. Keep one.", value)
        flat[key] = value
    return flat


def check_key(key: str, at: str, value: object) -> None:
    """Refuses a key that neither `conditions` nor `search` may hold."""
    if key in FIELDS:
        return
    section = SECTIONS.get(key.partition(".")[0])
    known = section is not None and key.partition(".")[2] in section.model_fields
    what = "cannot vary between trials; set it as a constant in its section" if known else "unknown key"
    sections = [each for each in FIELDS if each.endswith(f".{key}")]
    near = "" if known else did_you_mean(sections[0] if sections else key, FIELDS)
    fail(at, f"{what}.{near} Keys that may stand here: {', '.join(FIELDS)}.", value)


def read_values(key: str, raw: Any, at: str) -> tuple[Any, ...]:
    """A list of different values, each one that the key allows."""
    if raw is None or raw in ((), []):
        fail(at, f"empty. Name at least one value: {allowed_for(key)}.", raw)
    if not isinstance(raw, list | tuple):
        fail(at, f"must be a list. Write [{show(raw)}] for one value.", raw)
    values, problems = [], []
    for item in raw:
        try:
            value = clean(key, item, at)
            if value in values:
                problems.append(Problem(at, "stands in the list twice. Keep one.", item))
            values.append(value)
        except Problems as problem:
            problems += problem.problems
    if problems:
        raise Problems(problems)
    return tuple(values)


def clean(key: str, value: Any, at: str) -> Any:
    """The value as its key stores it (1 becomes 1.0 for a fraction), or what is wrong with it."""
    try:
        stored = _adapter(key).validate_python(value, strict=True)
    except ValidationError:
        fail(at, not_allowed(key, value, FIELDS[key]), value)
    if fault := text_fault(key, stored):
        fail(at, fault, value)
    return stored

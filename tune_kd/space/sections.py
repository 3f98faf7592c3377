"""Sections whose keys depend on what is chosen in them, and texts that have rules of their own."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, cast

from pydantic import AfterValidator, ValidationError, ValidatorFunctionWrapHandler

from tune_kd.space import datasets, methods, schema
from tune_kd.space.allowed import FIELDS, text_fault, unknown_key
from tune_kd.space.problems import Problem, Problems, fail
from tune_kd.space.schema import Section
from tune_kd.space.values import clean, problems_of


def sound(prefix: str) -> AfterValidator:
    """Checks texts that have rules of their own, here and in the sections below."""

    def check(section: Section) -> Section:
        if problems := tuple(_faults(section, prefix, prefix)):
            raise Problems(problems)
        return section

    return AfterValidator(check)


def sound_each(prefix: str) -> Callable[[tuple[Any, ...]], tuple[Any, ...]]:
    """The same for sections in a list, whose rules are those of the section in the singular."""

    def check(sections: tuple[Any, ...]) -> tuple[Any, ...]:
        every = (_faults(each, prefix[:-1], f"{prefix}[{number}]") for number, each in enumerate(sections, 1))
        if problems := tuple(problem for found in every for problem in found):
            raise Problems(problems)
        return sections

    return check


def _faults(section: Section, prefix: str, shown: str) -> Iterator[Problem]:
    for name, value in section:
        if isinstance(value, Section):
            yield from _faults(value, f"{prefix}.{name}", f"{shown}.{name}")
        elif fault := text_fault(f"{prefix}.{name}", value):
            yield Problem(f"{shown}.{name}", fault, value)


def read_data(raw: Any, root: type[Section]) -> Any:
    """The settings of the kind of data set that `data.dataset` names."""
    if not isinstance(raw, Mapping):
        return raw
    name = raw.get("dataset", datasets.DEFAULT)
    if not isinstance(name, str) or datasets.kind_of(name) is None:
        fail("data.dataset", datasets.unknown_name(name), name)
    kind = datasets.settings_of(name)
    try:
        return kind.model_validate({"dataset": name} | datasets.without_strangers(raw, kind), strict=True)
    except ValidationError as error:
        raise Problems(problems_of(error, root, kind, ("data",))) from None


def read_methods(raw: Any, read: ValidatorFunctionWrapHandler, root: type[Section]) -> schema.Distillation:
    """Common settings as their section allows, those of single methods each as its method does."""
    if not isinstance(raw, Mapping):
        return cast(schema.Distillation, read(raw))
    problems, own = list[Problem](), dict[str, Any]()
    for name, value in raw.items():
        key = f"kd.{name}"
        try:
            if name in schema.Distillation.model_fields:
                continue
            if key not in FIELDS:
                fail(key, unknown_key(str(name), schema.Distillation, root), value)
            stored = clean(key, value, key)
            # What is as published anyway need not stand here.
            own |= {name: stored} if stored != methods.default(key) else {}
        except Problems as found:
            problems += found.problems
    try:
        common: schema.Distillation = read({key: raw[key] for key in raw if key in schema.Distillation.model_fields})
    except ValidationError as error:
        raise Problems([*problems_of(error, root, schema.Distillation, ("kd",)), *problems]) from None
    if problems:
        raise Problems(problems)
    return common.model_copy(update=own)

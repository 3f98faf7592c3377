"""What a student is, as far as it decides what it costs: a model, and the size of its pictures where that varies."""

from collections.abc import Mapping
from typing import Any

from tune_kd import names
from tune_kd.space.domains import Choice, Constant, Integer, Uniform
from tune_kd.space.study import Study, constants, varies


def called(config: Mapping[str, Any]) -> str:
    """A trial's student by one name: its model, with `at 96 px` where the study has several sizes."""
    side = config.get(names.STUDENT_SIDE)
    # A column of a table with numbers and gaps has NaN for none, the only value that is not itself.
    return str(config[names.STUDENT_MODEL]) + (f" at {int(side)} px" if side is not None and side == side else "")


def designs(study: Study) -> Mapping[str, Mapping[str, Any]]:
    """Every student that some trial may have: by name the settings that make it one."""
    found = [
        {names.STUDENT_MODEL: model} | ({names.STUDENT_SIDE: side} if varies(study, names.STUDENT_SIDE) else {})
        for model in levels(study, names.STUDENT_MODEL)
        for side in levels(study, names.STUDENT_SIDE)
    ]
    return {called(each): each for each in found if _together(study, each)}


def front_models(study: Study) -> tuple[str, ...]:
    """The students of which a search with two objectives makes a front; none where it has one objective."""
    searched = [study.search.get(key) for key in (names.STUDENT_MODEL, names.STUDENT_SIDE)]
    if len(study.objectives) < 2 or not any(isinstance(domain, Choice) for domain in searched):
        return ()
    return tuple(designs(study))


def levels(study: Study, key: str) -> tuple[Any, ...]:
    """The values that a key takes somewhere in the study; of a range its two ends."""
    if key in study.conditions:
        return study.conditions[key]
    match study.search.get(key):
        case None:
            section, _, leaf = key.partition(".")
            return (getattr(getattr(study, section), leaf),)
        case Choice(values=values) as domain:
            found = values
        case Uniform(low=low, high=high) | Integer(low=low, high=high) as domain:
            found = (low, high)
        case domain:
            found = (domain.value,) if isinstance(domain, Constant) else ()
    # Where the key is not searched it has the value of its section.
    return (*found, constants(study)[key]) if domain.when else tuple(found)


def _together(study: Study, design: Mapping[str, Any]) -> bool:
    """Whether a model and a size can meet, where one of the two is searched only with some values of the other."""
    for key, value in design.items():
        domain = study.search.get(key)
        on_it = {on: allowed for on, allowed in domain.when.items() if on in design} if domain else {}
        if domain is None or not on_it:
            continue
        searched = all(design[on] in allowed for on, allowed in on_it.items())
        own = levels(study.model_copy(update={"search": {}, "conditions": {}}), key)
        if (searched and on_it == domain.when and not domain.contains(value)) or (not searched and value not in own):
            return False
    return True

"""A study's `modes`: other ways to run it, each a set of overrides. They are applied while loading and then gone."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from tune_kd.errors import did_you_mean
from tune_kd.space.problems import fail
from tune_kd.space.schema import SEARCH_MODE

Override = tuple[Sequence[str], Any]

DOMAIN_DEPTH: Final = 3
"""`search.kd.alpha` has three parts; what lies below is one domain, replaced as a whole."""


def chosen(raw: dict[str, Any], given: Sequence[Override]) -> list[Mapping[str, Any]]:
    """Takes `modes` out of a study; returns the one it asks for, and those named like an override: `data.dataset=x`."""
    modes = _read(raw.pop("modes", None))
    stored = raw.get("mode", SEARCH_MODE)
    asked = next((value or SEARCH_MODE for parts, value in reversed(given) if list(parts) == ["mode"]), stored)
    own = [name for name in modes if "=" not in name]
    # A study that was written out has its mode applied already: only its name is left.
    if isinstance(asked, str) and asked not in own and asked != (SEARCH_MODE if modes else stored):
        allowed = list(dict.fromkeys([SEARCH_MODE if modes else stored, *own]))
        names = ", ".join(map(str, allowed))
        fail("mode", f"no such mode.{did_you_mean(asked, allowed)} Modes of this study: {names}.", asked)
    spelled = [f"{'.'.join(parts)}={value}" for parts, value in given]
    return [modes[name] for name in modes if name == asked or ("=" in name and name in spelled)]


def _read(raw: Any) -> Mapping[str, Mapping[str, Any]]:
    modes = {} if raw is None else raw
    if not isinstance(modes, Mapping):
        fail("modes", "must hold names and what each changes. Write `replicate: {budget.repeats: 1}`.", raw)
    for name, changes in modes.items():
        if not isinstance(changes, Mapping):
            fail(f"modes.{name}", "must hold keys and values, such as `budget.repeats: 1`.", changes)
    return modes


def leaves(modes: Sequence[Mapping[str, Any]], varied: Sequence[str]) -> Iterator[Override]:
    """Every override in the order of the file: `search: null` first, then what takes its place."""

    def walk(entries: Mapping[str, Any], before: tuple[str, ...]) -> Iterator[Override]:
        for key, value in entries.items():
            parts = (*before, *key.split("."))
            if not all(parts):
                fail("modes", "a part of a key is empty. Write keys such as `kd.alpha`.", key)
            if isinstance(value, Mapping) and (parts[0] not in varied or len(parts) < DOMAIN_DEPTH):
                yield from walk(value, parts)
            else:
                yield parts, value

    for entries in modes:
        yield from walk(entries, ())

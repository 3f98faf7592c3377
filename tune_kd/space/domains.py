"""What a searched key may become, and how the study file says so."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final, Protocol

from tune_kd.errors import did_you_mean
from tune_kd.space import methods
from tune_kd.space.allowed import allowed_for, types_of
from tune_kd.space.problems import Problem, Problems, fail
from tune_kd.space.values import check_key, clean, flatten, read_values

When = Mapping[str, tuple[Any, ...]]


class Trial(Protocol):
    """What a domain needs of `optuna.trial.Trial`; naming it here keeps optuna out of this package."""

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float: ...
    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1, log: bool = False) -> int: ...
    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any: ...


@dataclass(frozen=True)
class Domain(ABC):
    """The values a searched key may take; `when` names the settings under which it is searched at all."""

    kind: ClassVar[str]
    when: When = field(default_factory=dict, kw_only=True)

    @abstractmethod
    def suggest(self, trial: Trial, key: str) -> Any:
        """A value, asked of the trial under the key's name."""

    @abstractmethod
    def contains(self, value: Any) -> bool:
        """Whether the value, one that its key allows, could be suggested."""

    @abstractmethod
    def _body(self) -> dict[str, Any]: ...

    def spec(self) -> dict[str, Any]:
        """The domain as it stands in the study file."""
        return self._body() | ({"when": {key: list(values) for key, values in self.when.items()}} if self.when else {})


@dataclass(frozen=True)
class Uniform(Domain):
    kind: ClassVar[str] = "uniform"
    log: ClassVar[bool] = False
    low: float
    high: float

    def suggest(self, trial: Trial, key: str) -> float:
        return trial.suggest_float(key, self.low, self.high, log=self.log)

    def contains(self, value: Any) -> bool:
        return _is_number(value) and self.low <= value <= self.high

    def _body(self) -> dict[str, Any]:
        return {self.kind: [self.low, self.high]}


@dataclass(frozen=True)
class LogUniform(Uniform):
    kind: ClassVar[str] = "loguniform"
    log: ClassVar[bool] = True


@dataclass(frozen=True)
class Integer(Domain):
    kind: ClassVar[str] = "int"
    low: int
    high: int
    step: int = 1
    log: bool = False

    def suggest(self, trial: Trial, key: str) -> int:
        return trial.suggest_int(key, self.low, self.high, step=self.step, log=self.log)

    def contains(self, value: Any) -> bool:
        return _is_number(value) and self.low <= value <= self.high and (value - self.low) % self.step == 0

    def _body(self) -> dict[str, Any]:
        return {self.kind: [self.low, self.high], "step": self.step, "log": self.log}


@dataclass(frozen=True)
class Choice(Domain):
    kind: ClassVar[str] = "choice"
    values: tuple[Any, ...]

    def suggest(self, trial: Trial, key: str) -> Any:
        return trial.suggest_categorical(key, self.values)

    def contains(self, value: Any) -> bool:
        return value in self.values

    def _body(self) -> dict[str, Any]:
        return {self.kind: list(self.values)}


@dataclass(frozen=True)
class Grid(Choice):
    """A choice of which every value is to be tried: the tuning code enqueues `study.grid_points`."""

    kind: ClassVar[str] = "grid"


@dataclass(frozen=True)
class Constant(Domain):
    """Not searched; useful with a `when`."""

    kind: ClassVar[str] = "constant"
    value: Any

    def suggest(self, trial: Trial, key: str) -> Any:
        return self.value

    def contains(self, value: Any) -> bool:
        return bool(value == self.value)

    def _body(self) -> dict[str, Any]:
        return {self.kind: self.value}


OPTIONS: Final[Mapping[str, tuple[str, ...]]] = {
    kind.kind: ("when", "step", "log") if kind is Integer else ("when",)
    for kind in (Uniform, LogUniform, Integer, Choice, Grid, Constant)
}
"""The kinds of domain and what may stand beside each."""


def read_domain(key: str, raw: Any, at: str) -> Domain:
    """A domain from its YAML; a plain value is a constant."""
    if isinstance(raw, Domain):
        return raw
    if isinstance(raw, list | tuple):
        fail(at, "a list needs a word. Write {choice: [...]}, or {grid: [...]} to try every value.", raw)
    if not isinstance(raw, Mapping):
        return Constant(clean(key, raw, at))
    kind = _kind_of(at, raw)
    when = _read_when(at, raw["when"]) if raw.get("when") is not None else {}
    match kind:
        case "uniform":
            return Uniform(*_read_range(key, raw[kind], at), when=when)
        case "loguniform":
            return LogUniform(*_read_range(key, raw[kind], at, log=True), when=when)
        case "int":
            return Integer(*_read_whole(key, raw, at), when=when)
        case "constant":
            return Constant(clean(key, raw[kind], at), when=when)
        case _:
            values = read_values(key, raw[kind], f"{at}.{kind}")
            return (Grid if kind == "grid" else Choice)(values, when=when)


def read_conditions(raw: Any) -> dict[str, tuple[Any, ...]]:
    return _each(raw, "conditions", read_values)


def read_search(raw: Any) -> dict[str, Domain]:
    return _each(raw, "search", read_domain)


def _each(raw: Any, at: str, read: Callable[[str, Any, str], Any]) -> dict[str, Any]:
    """`read` of every key that may vary; the problems of all of them together."""
    result, problems = {}, list[Problem]()
    for key, value in flatten(raw, at).items():
        try:
            check_key(key, f"{at}.{key}", value)
            result[key] = read(key, value, f"{at}.{key}")
        except Problems as found:
            problems += found.problems
    if problems:
        raise Problems(problems)
    return result


def read_first(raw: Any) -> tuple[dict[str, Any], ...]:
    if not isinstance(raw, list | tuple):
        fail("first", "must be a list of settings. Write - {kd.alpha: 0.9} for each.", raw)
    return tuple(_each(point, f"first[{number}]", clean) for number, point in enumerate(raw, 1))


def _kind_of(at: str, raw: Mapping[Any, Any]) -> str:
    kinds = [name for name in raw if name in OPTIONS]
    others = [str(name) for name in raw if name not in OPTIONS and name != "when"]
    if len(kinds) != 1:
        near = did_you_mean(others[0], OPTIONS) if others and not kinds else ""
        fail(at, f"needs exactly one of {', '.join(OPTIONS)}.{near} Write it like {{uniform: [low, high]}}.", raw)
    for name in others:
        if name not in OPTIONS[kinds[0]]:
            allowed = OPTIONS[kinds[0]]
            text = f"unknown.{did_you_mean(name, allowed)} Beside {kinds[0]} may stand only: {', '.join(allowed)}."
            fail(f"{at}.{name}", text, raw[name])
    return str(kinds[0])


def _read_range(key: str, raw: Any, at: str, log: bool = False) -> tuple[float, float]:
    low, high = _ends(raw, at)
    if log and low <= 0:
        fail(at, f"a loguniform range cannot start at {low:g}: it needs a lower end above 0.", raw)
    if float not in types_of(key):
        word = "int: [low, high]" if int in types_of(key) else "choice: [...]"
        fail(at, f"a range of fractions, but {key} allows only {allowed_for(key)}. Write {{{word}}}.", raw)
    _check_ends(key, (float(low), float(high)), raw, at)
    return float(low), float(high)


def _read_whole(key: str, raw: Mapping[str, Any], at: str) -> tuple[int, int, int, bool]:
    low, high = _ends(raw["int"], at)
    step, log = raw.get("step", 1), raw.get("log", False)
    if not (isinstance(low, int) and isinstance(high, int)):
        fail(at, "both ends of an int range must be whole numbers. For fractions write {uniform: [low, high]}.", raw)
    if isinstance(step, bool) or not isinstance(step, int) or not 1 <= step <= high - low:
        fail(f"{at}.step", f"not allowed. Allowed: a whole number from 1 to {high - low}.", step)
    if not isinstance(log, bool) or (log and (low < 1 or step != 1)):
        fail(f"{at}.log", "not allowed. Allowed: true or false; true needs a lower end above 0 and no step.", log)
    high = low + (high - low) // step * step
    _check_ends(key, (low, high), raw, at)
    return low, high, step, log


def _ends(raw: Any, at: str) -> tuple[Any, Any]:
    if not (isinstance(raw, list | tuple) and len(raw) == 2 and all(map(_is_number, raw))):
        fail(at, "a range is two numbers. Write [low, high].", raw)
    if not raw[0] < raw[1]:
        fail(at, "an impossible range: its low end must lie below its high end.", raw)
    return raw[0], raw[1]


def _check_ends(key: str, ends: tuple[float, float], raw: Any, at: str) -> None:
    for end in ends:
        try:
            clean(key, end, at)
        except Problems:
            fail(at, f"reaches {end:g}, but {key} allows only {allowed_for(key)}. Narrow the range.", raw)


def _read_when(at: str, raw: Any) -> When:
    when = flatten(raw, f"{at}.when")
    for key in when:
        check_key(key, f"{at}.when.{key}", when[key])
    return {
        key: read_values(key, values if isinstance(values, list | tuple) else [values], f"{at}.when.{key}")
        for key, values in when.items()
    }


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def parents(search: Mapping[str, Domain], key: str) -> tuple[str, ...]:
    """The keys that decide whether a key is searched: those of its `when`; for a mix's weight the mix itself, and for
    a method's own setting the method."""
    own = ("data.source",) if key == "data.weight" else ("kd.method",) if methods.owned(key) else ()
    return tuple(dict.fromkeys([*search[key].when, *own]))


def in_order(search: Mapping[str, Domain]) -> tuple[str, ...]:
    """The searched keys as written, save that parents come first."""
    done: dict[str, None] = {}

    def visit(key: str, path: tuple[str, ...]) -> None:
        if key in path:
            circle = " → ".join([*path[path.index(key) :], key])
            fail(f"search.{key}.when", f"goes in a circle: {circle}. Take one of these `when` out.")
        if key in search and key not in done:
            for parent in parents(search, key):
                visit(parent, (*path, key))
            done[key] = None

    for key in search:
        visit(key, ())
    return tuple(done)

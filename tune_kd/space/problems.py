"""What is wrong with a study, in words: the key, its value, what to do."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, NoReturn

from tune_kd.errors import InputError

MAX_LINES: Final = 10
MAX_SHOWN: Final = 80
NO_VALUE: Final = object()


@dataclass(frozen=True)
class Problem:
    """One thing to mend: the dotted key, what is wrong and what to do, and the value unless there is none."""

    key: str
    text: str
    value: object = NO_VALUE

    def __str__(self) -> str:
        given = "" if self.value is NO_VALUE else f" = {show(self.value)}"
        return f"{_cut(self.key)}{given}: {self.text}"


class Problems(ValueError):
    """Raised inside validators, so that pydantic collects ours together with its own."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(str(problem) for problem in self.problems))


def input_error(where: str, problems: Sequence[Problem]) -> InputError:
    """All problems as one error: a line each, the first ten."""
    if len(problems) == 1:
        return InputError(f"{where}: {problems[0]}")
    lines = [f"  {problem}" for problem in problems[:MAX_LINES]]
    if len(problems) > MAX_LINES:
        lines.append(f"  … and {len(problems) - MAX_LINES} more.")
    return InputError("\n".join([f"{where}: {len(problems)} problems.", *lines]))


def show(value: object) -> str:
    """A value as one would write it in YAML, cut where it is long."""
    return _cut(json.dumps(value, ensure_ascii=False, default=str))


def _cut(text: str) -> str:
    return text if len(text) <= MAX_SHOWN else text[: MAX_SHOWN - 1] + "…"


def fail(at: str, text: str, value: object = NO_VALUE) -> NoReturn:
    """One problem, raised."""
    raise Problems([Problem(at, text, value)])

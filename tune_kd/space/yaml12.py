"""YAML as 1.2 reads it, for every file of ours: plain values, lists and mappings with text keys, nothing else."""

import json
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, NoReturn

import yaml

from tune_kd.errors import InputError
from tune_kd.space.problems import show

MAX_DEPTH: Final = 12


def parse(text: str, where: str) -> Any:
    """The text's value; what is wrong with it, with its line, as an error for people."""
    try:
        value = yaml.load(text, Loader=_Loader)
        json.dumps(value, ensure_ascii=False).encode()
    except yaml.MarkedYAMLError as error:
        line = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
        what = ", ".join(filter(None, (error.context, error.problem)))
        advice = error.note or "Look at the indentation (spaces, no tabs), colons, brackets and quotes there."
        raise InputError(f"{where}{line}: cannot be read as YAML: {what}. {advice}") from None
    except (yaml.YAMLError, ValueError, OverflowError):
        # Characters that YAML does not allow; an escape such as "\UFFFFFFFF" gets past PyYAML as a ValueError.
        raise InputError(f"{where}: cannot be read as YAML: a character that it does not allow. Take it out.") from None
    return value


def write(value: Mapping[str, Any]) -> str:
    """The value as text that `parse` reads back as it was."""
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120, default_flow_style=None)


def _scalars(**patterns: tuple[Iterable[str], str]) -> dict[str, list[tuple[str, re.Pattern[str]]]]:
    """PyYAML's table of plain words with a meaning, by their first character."""
    table: dict[str, list[tuple[str, re.Pattern[str]]]] = {}
    for kind, (first, pattern) in patterns.items():
        for character in first:
            table.setdefault(character, []).append((f"tag:yaml.org,2002:{kind}", re.compile(rf"(?:{pattern})\Z")))
    return table


# YAML 1.2's plain words, since YAML 1.1 reads `1e-4` as text, `010` as 8 and `no` as false.
_WORDS: Final = _scalars(
    null=(("n", "N", "~", ""), r"~|null|Null|NULL|"),
    bool=("tTfF", r"true|True|TRUE|false|False|FALSE"),
    int=("+-0123456789", r"[-+]?[0-9]{1,18}"),
    float=("+-.0123456789", r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?"),
)


_VALUES: Final[Mapping[str, Callable[[str], Any]]] = {
    "null": lambda text: None,
    "bool": lambda text: text.lower() == "true",
    "int": int,
    "float": float,
    "str": str,
}


class _Loader(yaml.SafeLoader):
    """Plain values, lists and mappings with text keys: no tags, no aliases, no key twice, nothing deep."""

    yaml_implicit_resolvers = _WORDS
    depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        event = self.peek_event()  # type: ignore[no-untyped-call]
        if isinstance(event, yaml.AliasEvent) or getattr(event, "tag", None) is not None:
            _refuse("an alias (*name) or a tag (!name) has no place in a study", "Write the value out.", event)
        if self.depth == MAX_DEPTH:
            _refuse("too many levels inside each other", "A study needs five at most.", event)
        self.depth += 1
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def construct_document(self, node: Any) -> Any:
        if isinstance(node, yaml.ScalarNode):
            return _VALUES[node.tag.rpartition(":")[2]](node.value)
        if isinstance(node, yaml.SequenceNode):
            return tuple(map(self.construct_document, node.value))
        entries: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key = self.construct_document(key_node)
            if not isinstance(key, str):
                _refuse(
                    f"the key {show(key)} is not text", "Put it in quotes, or write the key that you mean.", key_node
                )
            if key in entries:
                _refuse(f"the key {show(key)} stands here twice", "Keep one.", key_node)
            entries[key] = self.construct_document(value_node)
        return entries


class _Dumper(yaml.SafeDumper):
    """Quotes exactly what `_Loader` would not read as text, and escapes what PyYAML would fold into a line break."""

    yaml_implicit_resolvers = _WORDS

    def represent_str(self, data: str) -> yaml.ScalarNode:
        return self.represent_scalar("tag:yaml.org,2002:str", data, style=None if data.isprintable() else '"')

    def ignore_aliases(self, data: Any) -> bool:
        return True


_Dumper.add_representer(str, _Dumper.represent_str)


def _refuse(what: str, advice: str, place: Any) -> NoReturn:
    raise yaml.MarkedYAMLError(problem=what, problem_mark=place.start_mark, note=advice)

"""The study file as a JSON Schema, for editors: `python -m tune_kd.space.editor` writes it beside the studies."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Final, cast
from urllib.parse import quote

from pydantic import TypeAdapter

from tune_kd.space.load import studies_folder
from tune_kd.space.reference import VARIED, Key, every_key, field_of
from tune_kd.space.schema import Published
from tune_kd.space.study import TEACHER_EPOCHS

FILE: Final = "study.schema.json"
LINE: Final = "# yaml-language-server: $schema="
"""What a study begins with, so that an editor finds the schema."""
FROM: Final = {
    "type": "object",
    "description": "the results folder of an earlier search",
    "additionalProperties": False,
    "required": ["from"],
    "properties": {"from": {"type": "string"}},
}
WHEN: Final = {"type": "object", "description": "searched only where these keys have these values"}


def schema() -> dict[str, Any]:
    """The whole schema: sections nested, and what may vary by dotted key or by section."""
    keys = list(every_key())
    whole = _section("A study: one question, one search.", required=["study"])
    for key in keys:
        if key.name not in VARIED:
            _put(whole, key.name.split("."), _leaf(key))
    vary = [key for key in keys if key.varies]
    told = {key.name: key.means for key in keys}
    values = {f"value {key.name}": _leaf(key)["anyOf"][0] for key in vary}
    domains = {f"domain {key.name}": _domain(_ref(f"value {key.name}")) for key in vary if key.name != TEACHER_EPOCHS}
    searched = [key for key in vary if key.name != TEACHER_EPOCHS]
    shapes = {
        "conditions": _varied(vary, lambda name: {"type": "array", "items": _ref(f"value {name}"), "minItems": 1}),
        "search": _varied(searched, lambda name: _ref(f"domain {name}")),
        "first": {"anyOf": [{"type": "array", "items": _varied(searched, lambda name: _ref(f"value {name}"))}, FROM]},
        "published": {"type": "array", "items": _published()},
        "teachers": {"type": "array", "items": {"$ref": "#/properties/teacher"}},
    }
    for name, shape in shapes.items():
        whole["properties"][name] = {"description": told[name], "anyOf": [shape, {"type": "null"}]}
    whole["properties"]["modes"] = {
        "description": "sets of other values, by name; --set mode=NAME chooses one",
        "type": "object",
        "additionalProperties": {"type": "object"},
    }
    head = {"$schema": "http://json-schema.org/draft-07/schema#", "title": "tune_kd study"}
    return {**head, **whole, "definitions": {**values, **domains, "when": WHEN}}


def text() -> str:
    return json.dumps(schema(), indent=1, ensure_ascii=False) + "\n"


def place() -> Path:
    """Where the schema lies: beside the studies that ship."""
    return studies_folder() / FILE


def _section(description: str, **more: Any) -> dict[str, Any]:
    return {"type": "object", "description": description, "additionalProperties": False, "properties": {}, **more}


def _put(here: dict[str, Any], parts: list[str], leaf: dict[str, Any]) -> None:
    for place, part in enumerate(parts[:-1], 1):
        here = here["properties"].setdefault(part, _section(f"keys of {'.'.join(parts[:place])}"))
    here["properties"][parts[-1]] = leaf


def _leaf(key: Key) -> dict[str, Any]:
    """One key. Nothing after a colon is as good as no key, so null is allowed everywhere."""
    field = field_of(key.name)
    kind = TypeAdapter(cast(Any, Annotated[field.annotation, field]))
    found = _whole(kind.json_schema())
    shape = {name: value for name, value in found.items() if name not in ("default", "description", "title")}
    told = f"{key.means}\n\ntakes: {key.allowed}" + (f"\npublished: {key.published}" if key.published else "")
    allowed = shape if key.required else {"anyOf": [shape, {"type": "null"}]}
    default = {} if key.required or key.default is None else {"default": _plain(key.default)}
    return {"description": told, **allowed, **default, "examples": [key.example]}


def _whole(shape: dict[str, Any]) -> dict[str, Any]:
    """Without references into itself, which would mean something else as a part of the whole schema."""
    parts = shape.pop("$defs", {})

    def filled(here: Any) -> Any:
        if isinstance(here, list):
            return [filled(each) for each in here]
        if not isinstance(here, dict):
            return here
        name = here.get("$ref", "").removeprefix("#/$defs/")
        return filled(parts[name]) if name else {key: filled(value) for key, value in here.items()}

    return dict(filled(shape))


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _ref(name: str) -> dict[str, Any]:
    return {"$ref": f"#/definitions/{quote(name)}"}


def _varied(keys: list[Key], shaped: Callable[[str], dict[str, Any]]) -> dict[str, Any]:
    """Keys that may vary, written `kd.alpha: …` or below their section."""
    whole = _section("keys that may vary")
    for key in keys:
        shape = {"description": key.means, "anyOf": [shaped(key.name), {"type": "null"}]}
        whole["properties"][key.name] = shape
        _put(whole, key.name.split("."), shape)
    return whole


def _domain(leaf: dict[str, Any]) -> dict[str, Any]:
    """The ways to say what is searched; a plain value is a constant."""
    pair = {"type": "array", "items": {"type": "number"}, "minItems": 2, "maxItems": 2}
    values = {"type": "array", "items": leaf, "minItems": 1}
    kinds: Mapping[str, dict[str, Any]] = {
        "uniform": {"uniform": pair},
        "loguniform": {"loguniform": pair},
        "int": {"int": pair, "step": {"type": "integer"}, "log": {"type": "boolean"}},
        "choice": {"choice": values},
        "grid": {"grid": values},
        "constant": {"constant": leaf},
    }
    domains = [
        {
            "type": "object",
            "additionalProperties": False,
            "required": [kind],
            "properties": {**shape, "when": _ref("when")},
        }
        for kind, shape in kinds.items()
    ]
    return {"anyOf": [*domains, leaf]}


def _published() -> dict[str, Any]:
    found = Published.model_json_schema()
    return {name: value for name, value in found.items() if name != "title"}


if __name__ == "__main__":
    place().write_text(text(), encoding="utf-8")
    print(place())

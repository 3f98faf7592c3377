"""From a path, a shipped name or YAML text, and `--set` overrides, to a Study; and back to YAML."""

import importlib.resources
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from tune_kd.errors import InputError, did_you_mean
from tune_kd.space import methods, warm
from tune_kd.space.allowed import FIELDS
from tune_kd.space.domains import OPTIONS
from tune_kd.space.modes import chosen, leaves
from tune_kd.space.problems import Problems, input_error, show
from tune_kd.space.study import Study, independent, methods_of
from tune_kd.space.values import flatten, problems_of
from tune_kd.space.yaml12 import parse, write

MAX_BYTES: Final = 100_000
PACKAGED: Final = "search_spaces"
VARIED: Final = ("conditions", "search")


def load(source: str | Path, overrides: Sequence[str] = ()) -> Study:
    """The study at a path or of a shipped name; a text with line breaks is read as YAML itself."""
    if isinstance(source, str) and "\n" in source:
        where, text = "The study", source
    else:
        path = _find(source)
        where, text = str(path), _read(path)
    raw = _mapping(text, where)
    if overrides:
        where = f"{where} with --set {' --set '.join(overrides)}"
    try:
        modes = chosen(raw, [_read_override(override) for override in overrides])
        _flatten(raw)
        for parts, value in leaves(modes, VARIED):
            _set(raw, parts, value)
        for override in overrides:
            _set(raw, *_read_override(override))
        return Study.model_validate(warm.filled(raw), strict=True)
    except Problems as found:
        raise input_error(where, found.problems) from None
    except ValidationError as error:
        raise input_error(where, problems_of(error, Study)) from None


def dump(study: Study) -> str:
    """The whole study as YAML, every default written out; loads to an equal study."""
    raw = study.model_dump(mode="json", exclude={"conditions", "search", "first"}) | {
        "conditions": {key: list(levels) for key, levels in study.conditions.items()},
        "search": {key: domain.spec() for key, domain in study.search.items()},
        "first": [dict(point) for point in study.first],
    }
    for key in methods.settings_of(methods_of(study)):
        raw["kd"].setdefault(key.removeprefix("kd."), methods.default(key))
    # Terms are weighed in one way or in the other; with both a study is refused.
    for name in ("alpha", "alpha_schedule", "alpha_end") if independent(study) else ("weight", "ce_weight"):
        del raw["kd"][name]
    ordered = {name: raw[name] for name in Study.model_fields}
    return write(ordered)


def shipped() -> list[tuple[str, str]]:
    """Name and question of each study that comes with the package."""
    return [(name, str(_mapping(_read(path), str(path)).get("question", ""))) for name, path in _shipped().items()]


def studies_folder() -> Path:
    """Beside the modules once installed, beside the package in a checkout."""
    package = Path(str(importlib.resources.files("tune_kd")))
    places = (package / PACKAGED, package.parent / PACKAGED)
    return next((each for each in places if each.is_dir()), places[0])


def _shipped() -> dict[str, Path]:
    return {path.stem: path for path in sorted(studies_folder().glob("*.yaml"))}


def _find(source: str | Path) -> Path:
    known = _shipped()
    if isinstance(source, str) and source in known:
        return known[source]
    path, ours = Path(source), ", ".join(known) or "none that ship"
    try:
        if path.is_dir():
            raise InputError(f"{source}: a folder, not a study. Give a YAML file, or one of: {ours}.")
        if path.is_file():
            return path
    except (OSError, ValueError):
        pass  # A name that no file can have.
    near = did_you_mean(path.stem, known)
    raise InputError(f"{show(str(source))}: no such study.{near} Give the path of a YAML file, or one of: {ours}.")


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}). Give a YAML file that you may read.") from None
    if len(content) > MAX_BYTES:
        raise InputError(f"{path}: larger than {MAX_BYTES:,} bytes, so hardly a study. Give a study's YAML file.")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise InputError(f"{path}: not a text file. Give a study's YAML file, in UTF-8.") from None


def _mapping(text: str, where: str) -> dict[str, Any]:
    """The text's keys and values. A key with nothing after it is as good as absent."""
    raw = parse(text, where)
    if raw is None:
        raise InputError(f"{where}: empty. A study needs a name at least: write `study: my_study`.")
    if not isinstance(raw, Mapping):
        raise InputError(f"{where}: {show(raw)} is not a study. Write keys and values, such as `study: my_study`.")
    return {key: value for key, value in raw.items() if value is not None or key not in Study.model_fields}


def _flatten(raw: dict[str, Any]) -> None:
    """Dotted keys wherever keys may vary, so that overrides find them; what is no list or mapping is reported later."""
    for place in VARIED:
        if place in raw:
            raw[place] = flatten(raw[place], place)
    if isinstance(raw.get("first"), list | tuple):
        raw["first"] = [flatten(point, "first") for point in raw["first"]]


def _read_override(override: str) -> tuple[list[str], Any]:
    """`a.b=c` as the parts of its key and its value."""
    key, equals, text = override.partition("=")
    parts = [part.strip() for part in key.split(".")]
    if not equals or not all(parts):
        raise InputError(f"--set {override}: not understood. Write KEY=VALUE, such as --set budget.trials=20.")
    return parts, parse(text, f"--set {override}")


def _set(raw: dict[str, Any], parts: Sequence[str], value: Any) -> None:
    """Puts a value under a key. Null takes a key out; a key that is given a place leaves the others it may stand in."""
    _change(raw, parts, value)
    _flatten(raw)


def _change(raw: dict[str, Any], parts: Sequence[str], value: Any) -> None:
    if parts[0] in VARIED and len(parts) > 1:
        _vary(raw, parts[0], parts[1:], value)
        return
    _put(raw, parts, value)
    inner = value if isinstance(value, Mapping) else {}
    for fixed in {".".join(parts), *(f"{parts[0]}.{name}" for name in inner)} & FIELDS.keys():
        if value is not None:
            _drop(raw, fixed, (*VARIED, "first"))


def _vary(raw: dict[str, Any], place: str, parts: Sequence[str], value: Any) -> None:
    """Sets a key of `conditions` or `search`, or a part of its domain."""
    key, entries = ".".join(parts[:2]), raw.setdefault(place, {})
    if parts[2:]:
        value = _amended(entries.get(key), parts[2:], value)
    stays = {place} if value is not None else set()
    if place == "search" and value is not None:
        stays.add("first")
    _drop(raw, key, {*VARIED, "first"} - stays)
    if value is not None:
        entries[key] = value


def _put(raw: dict[str, Any], parts: Sequence[str], value: Any) -> None:
    for part in parts[:-1]:
        inner = raw.get(part)
        raw[part] = dict(inner) if isinstance(inner, Mapping) else {}
        raw = raw[part]
    if value is None:
        raw.pop(parts[-1], None)
    else:
        raw[parts[-1]] = value


def _amended(domain: Any, parts: Sequence[str], value: Any) -> dict[str, Any]:
    """A domain with one part of it set; another kind of domain replaces the one before, its `when` stays."""
    old = dict(domain) if isinstance(domain, Mapping) else {}
    kept = {"when": old["when"]} if parts[0] in OPTIONS and "when" in old else {} if parts[0] in OPTIONS else old
    _put(kept, [parts[0], ".".join(parts[1:])] if parts[1:] else parts, value)
    return kept


def _drop(raw: dict[str, Any], key: str, places: Iterable[str]) -> None:
    """Takes a key, or all keys of a section, out of the places named."""
    for place in places:
        entries = raw.get(place, {})
        for entry in [entries] if isinstance(entries, dict) else entries if isinstance(entries, list) else []:
            for name in [name for name in entry if name == key or name.startswith(f"{key}.")]:
                del entry[name]
        if isinstance(entries, list):
            raw[place] = [entry for entry in entries if entry]

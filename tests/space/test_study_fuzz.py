"""Whatever the text, loading ends in a study or in one message for people; whatever the study, writing keeps it."""

import copy
from collections.abc import Sequence
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tune_kd.errors import InputError
from tune_kd.space.allowed import FIELDS
from tune_kd.space.load import dump, load
from tune_kd.space.study import Study, cells, grid_points, searched_keys

VALID: dict[str, Any] = {
    "study": "fuzzed",
    "question": "What if?",
    "data": {"dataset": "digits", "split": {"test": 0.25}, "size": "all"},
    "kd": {"method": "kd", "alpha": 0.5},
    "conditions": {"data.source": ["drawn", "drawn*0.7+scanned*0.3"], "data": {"size": [100, "all"]}},
    "search": {
        "kd.alpha": {"uniform": [0.1, 1.0]},
        "kd": {"temperature": {"loguniform": [1, 16]}},
        "kd.rest_weight": {"uniform": [0.5, 8], "when": {"kd.method": "dkd"}},
        "train.batch_size": {"choice": [32, 64, 128]},
        "train.warmup_epochs": {"int": [1, 5], "step": 2, "when": {"train.batch_size": [32, 64]}},
    },
    "first": [{"kd.alpha": 0.9, "kd.temperature": 4}],
    "published": [{"source": "a paper", "cell": {"data.size": 100}, "scratch": 0.5, "note": "one run"}],
    "modes": {"replicate": {"first": None, "search": {"kd.alpha": None, "kd": {"temperature": {"grid": [1, 2]}}}}},
    "budget": {"trials": 9, "epochs": 9, "early_stopping": "asha"},
}
WORDS = ["when", "uniform", "int", "choice", "grid", "search", "first", "dkd", "all", "", "a+b", *FIELDS]
keys = st.sampled_from(WORDS) | st.text(max_size=4)
scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(WORDS) | st.text(max_size=8)
trees = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3), max_leaves=8
)
marks = st.sampled_from([*"[]{}:-'\"#&*!|>%@`\t\n \x00,?~", "\\U99999999", "é"]) | st.text(max_size=3)
quick = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def study_or_message(text: str, overrides: Sequence[str] = ()) -> None:
    try:
        study = load(f"{text}\n", overrides)
    except InputError as error:
        str(error).encode()  # Can be printed.
    else:
        assert load(dump(study)) == study


def places(tree: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path of every node below the root."""
    inner = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    return [found for key, value in inner for found in [(*path, key), *places(value, (*path, key))]]


@st.composite
def mutated(draw: st.DrawFn) -> dict[str, Any]:
    """The valid study with a few nodes replaced, taken out, or joined by another."""
    tree = copy.deepcopy(VALID)
    for _ in range(draw(st.integers(1, 3))):
        *path, last = draw(st.sampled_from(places(tree)))
        holder: Any = tree
        for key in path:
            holder = holder[key]
        change = draw(st.sampled_from(["replace", "remove", "add"]))
        if change == "replace":
            holder[last] = draw(trees)
        elif change == "remove" and len(tree) > 1:
            del holder[last]
        elif isinstance(holder, dict):
            holder[draw(keys)] = draw(trees)
    return tree


@st.composite
def domains(draw: st.DrawFn, key: str) -> Any:
    """A domain that suits the key."""
    low, high = draw(st.tuples(st.integers(2, 50), st.integers(57, 90)))
    if key in ("kd.alpha", "train.momentum"):
        kind = draw(st.sampled_from(["uniform", "loguniform", "choice", "grid"]))
        return {kind: [low / 100, high / 100]}
    if key == "kd.method":
        return draw(st.sampled_from(["kd", {"choice": ["kd", "dkd"]}, {"grid": ["dist", "dkd"]}]))
    options: list[dict[str, Any]] = [{}, {"step": 1}, {"step": 7}, {"log": True}]
    step = draw(st.sampled_from(options))
    return draw(st.sampled_from([{"int": [low, high], **step}, {"choice": [low, high]}, low]))


@st.composite
def studies(draw: st.DrawFn) -> dict[str, Any]:
    order = draw(st.permutations(["kd.alpha", "kd.method", "data.size", "train.momentum", "train.batch_size"]))
    varied = draw(st.integers(0, len(order)))
    search = {key: draw(domains(key)) for key in order[:varied]}
    for key in search:
        if isinstance(search[key], dict) and draw(st.booleans()):
            search[key]["when"] = {"kd.standardize": draw(st.sampled_from([[True], [True, False]]))}
    levels = {"data.size": [10, "all"], "train.batch_size": [2, 3, 4], "kd.method": ["kd"], "kd.alpha": [0, 0.5, 1]}
    return {
        "study": draw(st.from_regex(r"\A[A-Za-z0-9_][A-Za-z0-9_-]{0,20}\Z")),
        "question": draw(st.text(st.characters(exclude_categories=["Cs"]), max_size=60)),
        "seed": draw(st.integers(0, 2**32 - 1)),
        "data": {"source": draw(st.sampled_from(["all", "true", "1e5", "null", "a b+c", "é: [", "x\x85", "a*.5+b*2"]))},
        "train": {"lr": draw(st.floats(1e-300, 1e300)), "weight_decay": draw(st.floats(0, 1))},
        "conditions": {key: levels[key] for key in order[varied:] if key in levels},
        "search": search,
        "budget": {"trials": draw(st.integers(8, 10**6)), "epochs": draw(st.integers(1, 10**9))},
    }


@quick
@given(studies())
def test_a_valid_study_survives_being_written(raw: dict[str, Any]) -> None:
    study = Study.model_validate(raw)
    again = load(dump(study))
    assert again == study
    assert [*again.conditions, *again.search] == [*study.conditions, *study.search]
    assert cells(again) == cells(study)
    for arm in ("distilled", "scratch"):
        assert set(searched_keys(study, arm)) <= set(study.search)
        assert len(grid_points(study, arm)) <= study.budget.trials


@quick
@given(trees)
def test_any_structure_ends_in_a_study_or_a_message(tree: Any) -> None:
    study_or_message(yaml.safe_dump(tree, allow_unicode=True))


@quick
@given(mutated())
def test_a_mutated_study_ends_in_a_study_or_a_message(tree: dict[str, Any]) -> None:
    study_or_message(yaml.safe_dump(tree, sort_keys=False))


@quick
@given(st.data())
def test_a_damaged_text_ends_in_a_study_or_a_message(data: st.DataObject) -> None:
    text = yaml.safe_dump(VALID, sort_keys=False)
    for _ in range(data.draw(st.integers(1, 3))):
        at, end = data.draw(st.tuples(st.integers(0, len(text)), st.integers(0, 5)))
        text = text[:at] + data.draw(marks) + text[at + end :]
    study_or_message(text)


@quick
@given(
    st.lists(
        st.tuples(
            st.lists(st.sampled_from([*VALID, "kd", "alpha", "size", "when", "uniform", *FIELDS, "x"]), max_size=4),
            trees,
        ),
        min_size=1,
        max_size=3,
    )
)
def test_any_override_ends_in_a_study_or_a_message(pairs: list[tuple[list[str], Any]]) -> None:
    overrides = [
        ".".join(parts) + "=" + yaml.safe_dump(value, default_flow_style=True, width=10**6).removesuffix("\n...\n")
        for parts, value in pairs
    ]
    study_or_message(yaml.safe_dump(VALID, sort_keys=False), overrides)


@pytest.mark.parametrize("text", ["study: x\nfirst: [[]]", "study: x\nsearch: {kd: {alpha: {kd: {alpha: {}}}}}"])
def test_odd_nests_end_in_a_message(text: str) -> None:
    with pytest.raises(InputError):
        load(f"{text}\n")

"""The study: one question, its conditions, what is searched, and what that makes of each trial."""

import math
from collections.abc import Iterator, Mapping
from itertools import islice, product
from typing import Annotated, Any, Final, Literal, Self

from pydantic import (
    BeforeValidator,
    Field,
    InstanceOf,
    SerializeAsAny,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    model_validator,
)

from tune_kd import names
from tune_kd.space import datasets, methods, schema
from tune_kd.space.domains import (
    Choice,
    Constant,
    Domain,
    Grid,
    Trial,
    Uniform,
    in_order,
    parents,
    read_conditions,
    read_first,
    read_search,
)
from tune_kd.space.messages import (
    COMMON,
    NO_VALUE,
    SECTIONS,
    Problem,
    Problems,
    check_key,
    clean,
    input_error,
    show,
    takes_weight,
)
from tune_kd.space.schema import Section, TrialConfig
from tune_kd.space.sections import read_data, read_methods, sound

MAX_CELLS: Final = 1000
MAX_GRID: Final = 10_000
RARE: Final = (
    "kd.alpha_schedule", "kd.alpha_end", "kd.weight", "kd.ce_weight", "kd.temperature_schedule", "kd.temperature_end",
    "kd.layers",
)  # fmt: skip
"""Keys that are no part of a trial's settings where the study has no use for them."""
SMOOTHING: Final = "train.label_smoothing"
NAME: Final = "a name in letters, digits, - and _, in quotes where it is all digits"


def _data(raw: Any) -> Any:
    return read_data(raw, Study)


def _kd(raw: Any, read: ValidatorFunctionWrapHandler) -> schema.Distillation:
    return read_methods(raw, read, Study)


class Study(Section):
    """The study file, checked as a whole, its mode applied. What may vary is kept with dotted keys."""

    study: Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_-]*$", max_length=80, description=NAME)]
    question: str = ""
    mode: str = schema.SEARCH_MODE
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    # Part of every training's recipe, so of the whole study: no resource of one trial, and nothing to search.
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    data: Annotated[SerializeAsAny[schema.Data], BeforeValidator(_data), sound("data")] = Field(
        default_factory=datasets.default
    )
    augment: Annotated[schema.Augment, sound("augment")] = schema.Augment()
    teacher: Annotated[schema.Teacher, sound("teacher")] = schema.Teacher()
    student: Annotated[schema.Student, sound("student")] = schema.Student()
    kd: Annotated[schema.Distillation, sound("kd"), WrapValidator(_kd)] = schema.Distillation()
    train: schema.Train = schema.Train()
    conditions: Annotated[Mapping[str, tuple[Any, ...]], BeforeValidator(read_conditions)] = Field(default_factory=dict)
    search: Annotated[Mapping[str, InstanceOf[Domain]], BeforeValidator(read_search)] = Field(default_factory=dict)
    first: Annotated[tuple[Mapping[str, Any], ...], BeforeValidator(read_first)] = ()
    control: bool = True
    controls: tuple[Literal["scratch", "smoothed"], ...] = (names.SCRATCH,)
    objectives: Annotated[tuple[schema.Objective, ...], Field(description=schema.ALLOWED_OBJECTIVES)] = (
        schema.ACCURACY,
    )
    budget: schema.Budget = schema.Budget()
    resources: schema.Resources = schema.Resources()
    published: tuple[schema.Published, ...] = ()

    @model_validator(mode="after")
    def _hangs_together(self) -> Self:
        in_order(self.search)
        if problems := [problem for check in _CHECKS for problem in check(self)]:
            raise Problems(problems)
        return self


def _check_budget(study: Study) -> Iterator[Problem]:
    budget = study.budget
    for key, value, limit in (("first_rung", budget.first_rung, "epochs"), ("complete", budget.complete, "trials")):
        most = getattr(budget, limit)
        if value is not None and value > most:
            text = f"more than budget.{limit}, {most}. Lower it, raise budget.{limit}, or leave it out."
            yield Problem(f"budget.{key}", text, value)


def _check_validation(study: Study) -> Iterator[Problem]:
    if study.data.split.validation:
        return
    if any(searched_keys(study, arm) for arm in (names.SCRATCH, names.DISTILLED)):
        text = "trials are compared on validation images. Set some aside, or search nothing."
        yield Problem("data.split.validation", text, study.data.split.validation)
    trained = {"train": study.train} | ({} if study.teacher.checkpoint else {"teacher.train": study.teacher.train})
    for at, train in trained.items():
        for key, value in (("keep", "best"), ("schedule", "plateau")):
            if getattr(train, key) == value:
                yield Problem(f"{at}.{key}", "looks at validation images, and data.split.validation is 0.", value)


def _check_places(study: Study) -> Iterator[Problem]:
    for key in study.conditions:
        if key in study.search:
            text = "stands under conditions and under search. It is either answered separately or searched: keep one."
            yield Problem(key, text)


def _check_first(study: Study) -> Iterator[Problem]:
    searched = searched_keys(study, names.DISTILLED)
    for number, point in enumerate(study.first, 1):
        for key, value in point.items():
            if key not in searched:
                text = f"not searched, so it cannot be tried first. Searched: {', '.join(searched) or 'nothing'}."
                yield Problem(f"first[{number}].{key}", text, value)
            elif not study.search[key].contains(value):
                text = f"outside search.{key}: {show(study.search[key].spec())}. Widen that, or take this out of first."
                yield Problem(f"first[{number}].{key}", text, value)


def _check_when(study: Study) -> Iterator[Problem]:
    for key, domain in study.search.items():
        for parent, values in domain.when.items():
            levels, searched = study.conditions.get(parent), study.search.get(parent)
            if levels is not None and not set(levels) & set(values):
                here = f"conditions.{parent} is {show(levels)}"
            elif searched is not None and not any(map(searched.contains, values)):
                here = f"search.{parent} is {show(searched.spec())}"
            else:
                continue
            text = f"can never be: {here}. Name a value from there, or take {key} out of search."
            yield Problem(f"search.{key}.when.{parent}", text, values)


def _check_weight(study: Study) -> Iterator[Problem]:
    varied = "data.weight" in study.conditions or "data.weight" in study.search
    if not varied and study.data.weight is None:
        return
    sources = study.conditions.get("data.source") or getattr(study.search.get("data.source"), "values", None)
    sources = sources or (constants(study)["data.source"],)
    if not any(map(takes_weight, sources)):
        text = f"no data.source is a mix of two without weights: {show(sources)}. Add one like a+b, or leave this out."
        yield Problem("data.weight", text, NO_VALUE if varied else study.data.weight)


def _check_weights(study: Study) -> Iterator[Problem]:
    """Alpha, or a weight for each term: who sets both means one of them."""
    if not independent(study):
        return
    alpha = study.kd.alpha
    schedule = study.kd.alpha_schedule != "constant" or _varies(study, "kd.alpha_schedule")
    if _varies(study, "kd.alpha") or schedule or "alpha" in study.kd.model_fields_set:
        text = (
            "stands beside kd.alpha, which weighs both terms: (1 - alpha) * cross-entropy + alpha * teacher's term. "
            f"Keep one way: kd.alpha {alpha:g} is kd.ce_weight {1 - alpha:g} with kd.weight {alpha:g}."
        )
        yield Problem("kd.weight", text, NO_VALUE if study.kd.weight is None else study.kd.weight)


def _check_controls(study: Study) -> Iterator[Problem]:
    named = study.controls
    if names.SCRATCH not in named or len(set(named)) != len(named):
        text = "not allowed. Allowed: [scratch] or [scratch, smoothed]; for no control at all write `control: false`."
        yield Problem("controls", text, named)
    elif names.SMOOTHED in named and _varies(study, SMOOTHING):
        text = f"{SMOOTHING} varies already, in every arm. Take it out there, or take smoothed out of controls."
        yield Problem("controls", text, named)


def _check_published(study: Study) -> Iterator[Problem]:
    for number, row in enumerate(study.published, 1):
        for key, value in row.cell.items():
            try:
                check_key(key, f"published[{number}].cell.{key}", value)
            except Problems as found:
                yield from found.problems


def _check_objectives(study: Study) -> Iterator[Problem]:
    named = study.objectives
    if len(set(named)) != len(named) or named[:1] != (schema.ACCURACY,) or len(named) > 2:
        yield Problem("objectives", f"not allowed. Allowed: {schema.ALLOWED_OBJECTIVES}.", named)
    elif len(named) == 2:
        models, cost = front_models(study), named[1]
        if len(models) < 2:
            advice = (
                f"{cost} is a fact of the student's model, so at least two models must be searched. Write "
                f"`student.model: {{choice: [a, b]}}` under search (not under conditions), or leave {cost} out."
            )
            yield Problem("objectives", advice, named)
        elif len(models) > study.budget.trials:
            text = f"fewer than the {len(models)} models of search.student.model. Each needs a trial: raise it."
            yield Problem("budget.trials", text, study.budget.trials)


def _check_counts(study: Study) -> Iterator[Problem]:
    count = math.prod(map(len, study.conditions.values()))
    if count > MAX_CELLS:
        text = f"{count} cells, more than {MAX_CELLS}. Take levels out, or search some of these keys."
        yield Problem("conditions", text)
        return
    grids = [domain.values for domain in study.search.values() if isinstance(domain, Grid)]
    most = min(study.budget.trials, MAX_GRID)
    if math.prod(map(len, grids)) <= most:
        return
    for cell in cells(study):
        points = sum(1 for _ in islice(_grid(study, names.DISTILLED, cell), MAX_GRID + 1))
        if points > most:
            more = f"at least {points}" if points <= MAX_GRID else f"more, and the grid to at most {MAX_GRID} points"
            text = f"fewer than the grid's {points} points. Set it to {more}, or take values out of the grid."
            yield Problem("budget.trials", text, study.budget.trials)
            return


_CHECKS: Final = (
    _check_budget, _check_places, _check_first, _check_when, _check_weight, _check_counts, _check_published,
    _check_objectives, _check_validation, _check_weights, _check_controls,
)  # fmt: skip


def methods_of(study: Study) -> tuple[str, ...]:
    """Every method that a trial of the study may use."""
    searched = study.search.get("kd.method")
    values = getattr(searched, "values", None) or ((searched.value,) if isinstance(searched, Constant) else ())
    return (study.kd.method, *study.conditions.get("kd.method", ()), *values)


def varying(study: Study) -> tuple[str, ...]:
    """The keys of a trial's settings: the common ones, those of the methods used, and whatever else the study sets."""
    given = [f"kd.{name}" for name in study.kd.__pydantic_extra__ or {}]
    common = [key for key in COMMON if key not in RARE or _varies(study, key) or _set(study, key)]
    if independent(study):
        common.remove("kd.alpha")
    return tuple(dict.fromkeys([*common, *methods.settings_of(methods_of(study)), *given]))


def independent(study: Study) -> bool:
    """Whether both terms of the loss have weights of their own, in place of alpha."""
    return study.kd.independent or any(_varies(study, key) for key in ("kd.weight", "kd.ce_weight"))


def _varies(study: Study, key: str) -> bool:
    return key in study.search or key in study.conditions


def _set(study: Study, key: str) -> bool:
    return bool(getattr(study.kd, key.removeprefix("kd.")) != COMMON[key].default)


def constants(study: Study) -> TrialConfig:
    """Every searchable key as the sections set it, or as `search` fixes it."""
    sections = {key: getattr(getattr(study, key.partition(".")[0]), key.partition(".")[2]) for key in varying(study)}
    fixed = {k: d.value for k, d in study.search.items() if isinstance(d, Constant) and not d.when}
    return sections | fixed


def cells(study: Study) -> tuple[dict[str, Any], ...]:
    """Every combination of the conditions' levels, in the order of the file; one empty cell where there are none."""
    return tuple(dict(zip(study.conditions, levels, strict=True)) for levels in product(*study.conditions.values()))


def front_models(study: Study) -> tuple[str, ...]:
    """The student models of which a search with two objectives makes a front; none where it has one objective."""
    domain = study.search.get(names.STUDENT_MODEL)
    if len(study.objectives) < 2 or not isinstance(domain, Choice):
        return ()
    # Where its `when` does not hold, the model is the one of its section.
    return tuple(dict.fromkeys([*domain.values, *([study.student.model] if domain.when else [])]))


def of_arm(study: Study, arm: str) -> Study:
    """The study as an arm knows it: the smoothed one searches how much labels are smoothed, the published .1 first."""
    if arm != names.SMOOTHED or SMOOTHING in study.search:
        return study
    first = tuple(dict(point) | {SMOOTHING: 0.1} for point in study.first or ({},))
    return study.model_copy(update={"search": {**study.search, SMOOTHING: Uniform(0.02, 0.3)}, "first": first})


def searched_keys(study: Study, arm: str) -> tuple[str, ...]:
    """What Optuna chooses in an arm, parents first."""
    study = of_arm(study, arm)
    return tuple(key for key in _kept(study, arm) if not isinstance(study.search[key], Constant))


def suggest(study: Study, arm: str, cell: Mapping[str, Any], trial: Trial) -> TrialConfig:
    """A whole trial: constants, the cell's levels, and what the trial suggests for the keys that count under those."""
    study = of_arm(study, arm)
    config = constants(study) | dict(cell)
    for key in _kept(study, arm):
        if _active(study, arm, key, config):
            config[key] = study.search[key].suggest(trial, key)
    if not takes_weight(config["data.source"]):
        config["data.weight"] = None
    return config


def grid_points(study: Study, arm: str, cell: Mapping[str, Any] | None = None) -> tuple[dict[str, Any], ...]:
    """Every combination of the grids' values; those that do not count in the cell, where one is given, left out."""
    return tuple(point for point in _grid(study, arm, cell) if point)


def resolve(study: Study, config: TrialConfig) -> Study:
    """The study of one trial: its settings stand in the sections, and nothing is left to vary."""
    changes: dict[str, dict[str, Any]] = {section: {} for section in SECTIONS}
    try:
        for key, value in config.items():
            check_key(key, key, value)
            changes[key.partition(".")[0]][key.partition(".")[2]] = clean(key, value, key)
    except Problems as found:
        raise input_error("A trial's settings", found.problems) from None
    sections = {name: getattr(study, name).model_copy(update=changes[name]) for name in SECTIONS}
    return study.model_copy(update={**sections, "conditions": {}, "search": {}, "first": ()})


def _kept(study: Study, arm: str) -> tuple[str, ...]:
    """The keys of `search` that an arm has: a student without a teacher has no distillation to set."""
    return tuple(key for key in in_order(study.search) if arm == names.DISTILLED or not key.startswith("kd."))


def _active(study: Study, arm: str, key: str, config: TrialConfig) -> bool:
    """Whether a key counts under the settings chosen so far."""

    def moot(parent: str) -> bool:
        # The control searches the same dimensions: what hangs on a distillation key that varies is always free in it.
        varies = parent in study.search or parent in study.conditions
        return arm != names.DISTILLED and parent.startswith("kd.") and varies

    fits = all(moot(parent) or config[parent] in values for parent, values in study.search[key].when.items())
    fits = fits and methods.counts(key, config["kd.method"])
    return fits and (key != "data.weight" or takes_weight(config["data.source"]))


def _grid(study: Study, arm: str, cell: Mapping[str, Any] | None) -> Iterator[dict[str, Any]]:
    """Points one by one, since a grid may have far more than anybody could try."""

    def points(keys: tuple[str, ...], config: TrialConfig, open_: frozenset[str]) -> Iterator[dict[str, Any]]:
        if not keys:
            yield {}
            return
        (key, *others), domain = keys, study.search[keys[0]]
        rest = tuple(others)
        sure = not open_.intersection(parents(study.search, key))
        if sure and not _active(study, arm, key, config):
            yield from points(rest, config, open_)
        elif isinstance(domain, Grid):
            for value in domain.values:
                for point in points(rest, config | {key: value}, open_):
                    yield {key: value} | point
        elif isinstance(domain, Constant) and sure:
            yield from points(rest, config | {key: domain.value}, open_)
        else:
            # Not known before the trial: what hangs on it is taken as counting.
            yield from points(rest, config, open_ | {key})

    unknown = frozenset(study.conditions if cell is None else ())
    yield from points(_kept(study, arm), constants(study) | dict(cell or {}), unknown)

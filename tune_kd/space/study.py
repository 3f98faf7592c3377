"""The study: one question, its conditions, what is searched, and what that makes of each trial."""

from collections.abc import Iterator, Mapping
from itertools import product
from typing import Annotated, Any, Final, Literal, Self

from pydantic import (
    AfterValidator,
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
from tune_kd.space.allowed import COMMON, SECTIONS, takes_weight
from tune_kd.space.domains import (
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
from tune_kd.space.problems import Problems, input_error
from tune_kd.space.schema import Section, TrialConfig
from tune_kd.space.sections import read_data, read_methods, sound, sound_each
from tune_kd.space.values import check_key, clean

MAX_CELLS: Final = 1000
MAX_GRID: Final = 10_000
RARE: Final = (
    "kd.alpha_schedule", "kd.alpha_end", "kd.weight", "kd.ce_weight", "kd.temperature_schedule", "kd.temperature_end",
    "kd.layers", "kd.momentum_gap", "kd.teachers", "kd.teachers_mean", "kd.teachers_weight", names.STUDENT_SIDE,
    "teacher.epochs",
)  # fmt: skip
"""Keys that are no part of a trial's settings where the study has no use for them."""
SMOOTHING: Final = "train.label_smoothing"
TEACHER_EPOCHS: Final = "teacher.epochs"
AUGMENTATION: Final = "augment.kind"
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
    teachers: Annotated[tuple[schema.Teacher, ...], AfterValidator(sound_each("teachers"))] = ()
    student: Annotated[schema.Student, sound("student")] = schema.Student()
    kd: Annotated[schema.Distillation, sound("kd"), WrapValidator(_kd)] = schema.Distillation()
    train: schema.Train = schema.Train()
    conditions: Annotated[Mapping[str, tuple[Any, ...]], BeforeValidator(read_conditions)] = Field(default_factory=dict)
    search: Annotated[Mapping[str, InstanceOf[Domain]], BeforeValidator(read_search)] = Field(default_factory=dict)
    first: Annotated[tuple[Mapping[str, Any], ...], BeforeValidator(read_first)] = ()
    control: bool = True
    controls: tuple[Literal["scratch", "smoothed", "random_teacher"], ...] = (names.SCRATCH,)
    objectives: Annotated[tuple[schema.Objective, ...], Field(description=schema.ALLOWED_OBJECTIVES)] = (
        schema.ACCURACY,
    )
    objective: schema.Aim = schema.Aim()
    budget: schema.Budget = schema.Budget()
    resources: schema.Resources = schema.Resources()
    published: tuple[schema.Published, ...] = ()

    @model_validator(mode="after")
    def _hangs_together(self) -> Self:
        from tune_kd.space.checks import CHECKS  # they ask what trials the study makes

        in_order(self.search)
        if problems := [problem for check in CHECKS for problem in check(self)]:
            raise Problems(problems)
        return self


def methods_of(study: Study) -> tuple[str, ...]:
    """Every method that a trial of the study may use."""
    return _named(study, "kd.method", study.kd.method)


def kinds_of(study: Study) -> tuple[str, ...]:
    """Every augmentation that a trial of the study may use."""
    return _named(study, AUGMENTATION, study.augment.kind)


def _named(study: Study, key: str, own: str) -> tuple[str, ...]:
    searched = study.search.get(key)
    values = getattr(searched, "values", None) or ((searched.value,) if isinstance(searched, Constant) else ())
    return (own, *study.conditions.get(key, ()), *values)


def by_teacher(study: Study) -> tuple[Study, ...]:
    """A study for each of the teachers, in which there is no other. Where its epochs are a condition there is one for
    each level, as it would be trained if it were the only one: its schedule ends with its own last epoch."""
    levels = study.conditions.get(TEACHER_EPOCHS, ())
    every = [study.teacher.model_copy(update={"epochs": level}) for level in levels] or [study.teacher, *study.teachers]
    return tuple(study.model_copy(update={"teacher": each, "teachers": ()}) for each in every)


def taught_by(study: Study, own: Study, arm: str) -> tuple[int, ...]:
    """Which teachers a trial asks, by number; a student without one is compared with the one trained longest."""
    if levels := study.conditions.get(TEACHER_EPOCHS):
        return (levels.index(own.teacher.epochs if arm in names.TAUGHT else max(levels)),)
    return tuple(range(1 + len(study.teachers) if own.kd.teachers == "all" else own.kd.teachers))


def lessons(study: Study) -> tuple[Study, ...]:
    """Whatever has to be made of the first teacher before students are taught: itself, then each assistant, of which
    nothing exists yet."""
    fresh = {"checkpoint": None, "pretrained": False, "tune": "all", "head_lr": None, "classes": (), "through": ()}
    chain = [study.teacher.model_copy(update={**fresh, "model": name}) for name in study.teacher.through]
    return tuple(study.model_copy(update={"teacher": each, "teachers": ()}) for each in (study.teacher, *chain))


def varying(study: Study) -> tuple[str, ...]:
    """The keys of a trial's settings: the common ones, those of the methods used, and whatever else the study sets."""
    given = [f"kd.{name}" for name in study.kd.__pydantic_extra__ or {}]
    common = [key for key in COMMON if key not in RARE or varies(study, key) or _set(study, key)]
    if independent(study):
        common.remove("kd.alpha")
    return tuple(dict.fromkeys([*common, *methods.settings_of(methods_of(study)), *given]))


def independent(study: Study) -> bool:
    """Whether both terms of the loss have weights of their own, in place of alpha."""
    return study.kd.independent or any(varies(study, key) for key in ("kd.weight", "kd.ce_weight"))


def varies(study: Study, key: str) -> bool:
    return key in study.search or key in study.conditions


def _set(study: Study, key: str) -> bool:
    section, _, leaf = key.partition(".")
    return section == "kd" and bool(getattr(study.kd, leaf) != COMMON[key].default)


def constants(study: Study) -> TrialConfig:
    """Every searchable key as the sections set it, or as `search` fixes it."""
    sections = {key: getattr(getattr(study, key.partition(".")[0]), key.partition(".")[2]) for key in varying(study)}
    fixed = {k: d.value for k, d in study.search.items() if isinstance(d, Constant) and not d.when}
    return sections | fixed


def cells(study: Study) -> tuple[dict[str, Any], ...]:
    """Every combination of the conditions' levels, in the order of the file; one empty cell where there are none."""
    return tuple(dict(zip(study.conditions, levels, strict=True)) for levels in product(*study.conditions.values()))


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
    return tuple(point for point in grid(study, arm, cell) if point)


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
    """The keys of `search` that an arm has: a student without a teacher has no distillation to set, and where methods
    were taken out of the study what only those know is not searched."""
    if arm not in names.TAUGHT:
        return tuple(key for key in in_order(study.search) if not key.startswith(names.TAUGHT_KEYS))
    used = methods_of(study)
    return tuple(key for key in in_order(study.search) if any(methods.counts(key, method) for method in used))


def _active(study: Study, arm: str, key: str, config: TrialConfig) -> bool:
    """Whether a key counts under the settings chosen so far."""

    def moot(parent: str) -> bool:
        # The control searches the same dimensions: what hangs on a distillation key that varies is always free in it.
        varies = parent in study.search or parent in study.conditions
        return arm not in names.TAUGHT and parent.startswith(names.TAUGHT_KEYS) and varies

    fits = all(moot(parent) or config[parent] in values for parent, values in study.search[key].when.items())
    fits = fits and methods.counts(key, config["kd.method"])
    return fits and (key != "data.weight" or takes_weight(config["data.source"]))


def grid(study: Study, arm: str, cell: Mapping[str, Any] | None) -> Iterator[dict[str, Any]]:
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

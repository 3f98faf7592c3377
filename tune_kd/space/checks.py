"""What has to hang together in a study, each check by itself; a study is refused with the problems of all of them."""

import math
from collections.abc import Iterator
from itertools import islice
from typing import Final

from tune_kd import names
from tune_kd.space import augmentations, methods, schema, teacher_checks
from tune_kd.space.allowed import takes_weight
from tune_kd.space.designs import front_models
from tune_kd.space.domains import Choice, Constant, Grid
from tune_kd.space.methods import METHODS, parts
from tune_kd.space.problems import NO_VALUE, Problem, Problems, show
from tune_kd.space.study import (
    AUGMENTATION,
    MAX_CELLS,
    MAX_GRID,
    SMOOTHING,
    Study,
    cells,
    constants,
    grid,
    independent,
    kinds_of,
    methods_of,
    searched_keys,
    varies,
)
from tune_kd.space.values import check_key


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
    taught = [(at, each) for at, each in teacher_checks.named(study) if not each.checkpoint or each.through]
    trained = {"train": study.train} | {f"{at}.train": each.train for at, each in taught}
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
    # What only methods that were taken out of the study know is left out of its points by itself.
    searched = [key for key, domain in study.search.items() if not isinstance(domain, Constant)]
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
    schedule = study.kd.alpha_schedule != "constant" or varies(study, "kd.alpha_schedule")
    if varies(study, "kd.alpha") or schedule or "alpha" in study.kd.model_fields_set:
        text = (
            "stands beside kd.alpha, which weighs both terms: (1 - alpha) * cross-entropy + alpha * teacher's term. "
            f"Keep one way: kd.alpha {alpha:g} is kd.ce_weight {1 - alpha:g} with kd.weight {alpha:g}."
        )
        yield Problem("kd.weight", text, NO_VALUE if study.kd.weight is None else study.kd.weight)


def _check_mixing(study: Study) -> Iterator[Problem]:
    mixed = [kind for kind in kinds_of(study) if augmentations.mixes(kind)]
    named = [part for method in methods_of(study) for part in methods.parts(method)]
    asking = sorted({name for name in named if methods.METHODS[name].one_label})
    if mixed and asking:
        able = ", ".join(name for name, known in methods.METHODS.items() if not known.one_label)
        text = (
            f"makes one image of two, with two labels, and kd.method {' and '.join(asking)} asks for the one label of "
            f"an image. Leave {' and '.join(augmentations.MIXED)} out, or choose from {able}."
        )
        yield Problem(AUGMENTATION, text, mixed[0])


def _check_strong(study: Study) -> Iterator[Problem]:
    """A second view has a number as the first one has; what is mixed has none."""
    varied = [("augment", study.augment.strong, kinds_of(study))]
    varied += [(f"{at}.augment", own.augment.strong, (own.augment.kind,)) for at, own in teacher_checks.named(study)]
    for at, strong, kinds in varied:
        mixed = [kind for kind in (strong or "", *kinds) if augmentations.mixes(kind)]
        if strong is not None and mixed:
            text = f"shows each image twice, and {mixed[0]} mixes two images. Leave one of them out."
            yield Problem(f"{at}.strong", text, strong)


def _check_controls(study: Study) -> Iterator[Problem]:
    named = study.controls
    if names.SCRATCH not in named or len(set(named)) != len(named):
        text = (
            "not allowed. Allowed: scratch, and beside it smoothed and random_teacher; for no control at all write "
            "`control: false`."
        )
        yield Problem("controls", text, named)
    elif names.SMOOTHED in named and varies(study, SMOOTHING):
        text = f"{SMOOTHING} varies already, in every arm. Take it out there, or take smoothed out of controls."
        yield Problem("controls", text, named)
    elif names.RANDOM_TEACHER in named and (method := _on_features(study)):
        text = (
            f"random_teacher has a teacher's logits of another image, and kd.method {method} compares feature maps of "
            "the same one. Take random_teacher out, or choose a method on logits."
        )
        yield Problem("controls", text, named)
    elif names.RANDOM_TEACHER in named and (alone := [each for each in methods_of(study) if not methods.asks(each)]):
        text = f"random_teacher has a teacher, and kd.method {alone[0]} asks none. Take random_teacher or it out."
        yield Problem("controls", text, named)


def _on_features(study: Study) -> str:
    """A method on feature maps that some trial may use; empty where there is none."""
    found = [m for m in methods_of(study) if any(METHODS[part].features for part in parts(str(m)))]
    return str(found[0]) if found else ""


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
        for name in dict.fromkeys(part for method in methods_of(study) for part in methods.parts(method)):
            if methods.METHODS[name].rebuilds:
                text = (
                    "puts a projector and the teacher's classifier into the student, whose size hangs on the settings "
                    f"of each trial, and a front has one {cost} for each model. Take it out, or {cost} of objectives."
                )
                yield Problem("kd.method", text, name)
        if len(models) < 2:
            advice = (
                f"{cost} is a fact of the student's model, so at least two models must be searched. Write "
                f"`student.model: {{choice: [a, b]}}` under search (not under conditions), or leave {cost} out."
            )
            yield Problem("objectives", advice, named)
        elif len(models) > study.budget.trials:
            text = f"fewer than the {len(models)} students that a front may have. Each needs a trial: raise it."
            yield Problem("budget.trials", text, study.budget.trials)


def _check_sides(study: Study) -> Iterator[Problem]:
    domain = study.search.get(names.STUDENT_SIDE)
    if domain is not None and not isinstance(domain, Choice | Constant):
        text = "sizes are chosen from a list, as each is tried before anything is trained. Write {choice: [96, 128]}."
        yield Problem(f"search.{names.STUDENT_SIDE}", text, domain.spec())
    listed = {
        "conditions": study.conditions.get(names.STUDENT_SIDE, ()),
        "search": _searched(study, names.STUDENT_SIDE),
    }
    for where, sides in listed.items():
        if None in sides:
            text = "sizes must be told apart. In place of null write the size at which images are kept."
            yield Problem(f"{where}.{names.STUDENT_SIDE}", text, None)


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
        points = sum(1 for _ in islice(grid(study, names.DISTILLED, cell), MAX_GRID + 1))
        if points > most:
            more = f"at least {points}" if points <= MAX_GRID else f"more, and the grid to at most {MAX_GRID} points"
            text = f"fewer than the grid's {points} points. Set it to {more}, or take values out of the grid."
            yield Problem("budget.trials", text, study.budget.trials)
            return


def _check_momenta(study: Study) -> Iterator[Problem]:
    gap = study.kd.momentum_gap
    if not gap and not varies(study, "kd.momentum_gap"):
        return
    optimizers = [*study.conditions.get("train.optimizer", ()), *_searched(study, "train.optimizer")]
    if {*(optimizers or [study.train.optimizer])} != {"sgd"} or study.train.nesterov or varies(study, "train.nesterov"):
        text = "is for train.optimizer sgd without train.nesterov. Set those, or leave it out."
        yield Problem("kd.momentum_gap", text, gap)
    elif study.train.momentum + gap >= 1 and not varies(study, "train.momentum"):
        text = f"makes a momentum of {study.train.momentum + gap:g} with train.momentum: 1 and more remembers for ever."
        yield Problem("kd.momentum_gap", text, gap)


def _searched(study: Study, key: str) -> tuple[object, ...]:
    domain = study.search.get(key)
    return (domain.value,) if isinstance(domain, Constant) else tuple(getattr(domain, "values", ()))


CHECKS: Final = (
    _check_budget, _check_places, _check_first, _check_when, _check_weight, _check_counts, _check_published,
    _check_objectives, _check_validation, _check_weights, _check_controls, _check_mixing,
    _check_strong, _check_momenta, _check_sides, *teacher_checks.CHECKS,
)  # fmt: skip

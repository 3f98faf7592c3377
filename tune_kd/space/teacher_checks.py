"""What has to hang together of a study's teachers, each check by itself."""

from collections.abc import Iterator
from typing import Final

from tune_kd.space import schema
from tune_kd.space.problems import Problem
from tune_kd.space.study import TEACHER_EPOCHS, Study, varies

TRAINED: Final = (
    f"conditions.{TEACHER_EPOCHS}: a teacher that is given with its weights is used as it is, so there is nothing to "
    "train for so many epochs. Take one of both out."
)


def named(study: Study) -> tuple[tuple[str, schema.Teacher], ...]:
    """Where each of them stands, and the teacher."""
    return ("teacher", study.teacher), *((f"teachers[{k}]", each) for k, each in enumerate(study.teachers, 1))


def _check_teacher(study: Study) -> Iterator[Problem]:
    for at, teacher in named(study):
        yield from _of_teacher(at, teacher)
        if teacher.through and study.data.split.teacher == 0:
            text = "assistants are trained on the teacher's images, and data.split.teacher is 0. Set some aside."
            yield Problem(f"{at}.through", text, teacher.through)


def _check_teachers(study: Study) -> Iterator[Problem]:
    """How several are taken together; with one there is nothing to set."""
    count = len(named(study))
    for name in ("teachers", "teachers_mean", "teachers_weight"):
        key, own = f"kd.{name}", getattr(study.kd, name)
        used = [*study.conditions.get(key, ()), *getattr(study.search.get(key), "values", ())] or [own]
        if count == 1 and (varies(study, key) or own != schema.Distillation.model_fields[name].default):
            yield Problem(key, "is for several teachers. Add others under `teachers`, or leave it out.", used)
        elif name == "teachers" and any(isinstance(each, int) and each > count for each in used):
            yield Problem(key, f"more than there are: {count}, with the first one. Lower it, or add teachers.", used)
        elif "validation" in used and not study.data.split.validation:
            yield Problem(key, "looks at validation images, and data.split.validation is 0.", used)


def _check_teacher_epochs(study: Study) -> Iterator[Problem]:
    """A teacher is trained for each value."""
    if TEACHER_EPOCHS in study.search:
        text = "takes a training of a teacher for each value, so it cannot be searched. Put a few under conditions."
        yield Problem(f"search.{TEACHER_EPOCHS}", text)
    elif TEACHER_EPOCHS in study.conditions:
        key, levels = f"conditions.{TEACHER_EPOCHS}", study.conditions[TEACHER_EPOCHS]
        if study.teacher.checkpoint is not None:
            yield Problem(key, TRAINED.partition(": ")[2], levels)
        if study.teachers:
            yield Problem(
                key, "makes a teacher for each value, so there can be no others. Leave `teachers` out.", levels
            )


def _of_teacher(at: str, teacher: schema.Teacher) -> Iterator[Problem]:
    if teacher.checkpoint is not None and teacher.pretrained is not False:
        text = f"stands beside {at}.checkpoint. That is used as it is, pretrained weights are trained on: keep one."
        yield Problem(f"{at}.pretrained", text, teacher.pretrained)
    for key in ("tune", "head_lr"):
        value = getattr(teacher, key)
        if teacher.pretrained is False and value != type(teacher).model_fields[key].default:
            yield Problem(f"{at}.{key}", f"is for pretrained weights. Set {at}.pretrained, or leave it out.", value)
    if teacher.ema and teacher.checkpoint is None and not schema.names_a_file(teacher.pretrained):
        text = f"is for a file of weights: {at}.checkpoint, or {at}.pretrained with a file's name. Leave it out."
        yield Problem(f"{at}.ema", text, teacher.ema)
    if teacher.classes and teacher.checkpoint is None:
        yield Problem(f"{at}.classes", f"is for a {at}.checkpoint. Name one, or leave it out.", teacher.classes)


CHECKS: Final = (_check_teacher, _check_teachers, _check_teacher_epochs)

"""What a plan knows of the teacher's logits: how often the teacher runs for them, and what room their cache takes."""

import shutil
from itertools import product
from typing import Any

from tune_kd import names, plan
from tune_kd.data.picture_cache import in_words
from tune_kd.data.sources import user_cache
from tune_kd.data.splits import student_indices
from tune_kd.data.views import Views
from tune_kd.plan import Arm, Plan
from tune_kd.preparation import IMAGE_KEYS, Prepared
from tune_kd.space import augmentations
from tune_kd.space.allowed import takes_weight
from tune_kd.space.designs import levels
from tune_kd.space.methods import METHODS, asks, parts
from tune_kd.space.study import AUGMENTATION, TEACHER_EPOCHS, Study, by_teacher
from tune_kd.teacher import logits


def student_images(study: Study, cell: plan.Cell, prepared: Prepared) -> list[int]:
    """How many images students of the cell may see; several where sources or sizes are searched."""
    return [
        len(student_indices(prepared.splits, source, size, weight if takes_weight(source) else None))
        for source, size, weight in product(*(_choices(study, cell, key) for key in IMAGE_KEYS))
    ]


def _choices(study: Study, cell: plan.Cell, key: str) -> tuple[Any, ...]:
    return (cell[key],) if key in cell else levels(study, key)


def runs_beside(study: Study, arm: Arm) -> float:
    """How often the teacher runs for each image that a distilled arm trains on, whatever is cached: for the maps that a
    method compares (at each look), and for pictures that are mixed of two."""
    methods = _choices(study, arm.cell, "kd.method")
    maps = sum(any(METHODS[name].features for name in parts(str(method))) for method in methods)
    kinds = _choices(study, arm.cell, AUGMENTATION)
    return maps / len(methods) * _looks(study) + sum(map(augmentations.mixes, kinds)) / len(kinds)


def _looks(study: Study) -> int:
    """How often each image is shown in a step."""
    return 1 if study.augment.strong is None else 2


def asks_teacher(study: Study, arm: Arm) -> bool:
    """Whether some method of an arm has a use for the teacher's logits."""
    return arm.name in names.TAUGHT and any(asks(str(each)) for each in _choices(study, arm.cell, "kd.method"))


def cached_seconds(todo: Plan, prepared: Prepared, rate: float) -> float:
    """What filling the cache costs each epoch of an arm that asks the teacher: all are shown the same views of an
    image."""
    study, kinds = todo.study, _kinds(todo)
    per_arm = plan.expected_epochs(study) + study.budget.repeats * study.budget.epochs
    arms = [arm for arm in todo.arms if asks_teacher(study, arm)]
    cached = [views for views in kinds if not views.mixing]
    looked_up = _looks(study) * sum(per_arm * max(student_images(study, arm.cell, prepared)) for arm in arms)
    counts = [look.first for views in cached for look in (views, views.strong) if look is not None]
    shown = sum(count * (1 - (1 - 1 / count) ** study.budget.epochs) for count in counts)
    # Where a teacher's epochs are a condition, each arm asks one of the teachers, else all.
    own = 1 / len(by_teacher(study)) if TEACHER_EPOCHS in study.conditions else 1.0
    pictures = sum(map(len, prepared.splits.student.values())) * shown
    return min(pictures, own * looked_up * len(cached) / len(kinds)) / rate / max(1, per_arm * len(arms))


def cache_words(todo: Plan, prepared: Prepared) -> list[str]:
    """What of the teacher's logits is kept, and what that takes of the disk."""
    if not any(asks_teacher(todo.study, arm) for arm in todo.arms):
        return []
    images, classes = len(prepared.splits.labels), len(prepared.splits.classes)
    cached = {views.key: views for views in _kinds(todo) if not views.mixing}.values()
    lines = []
    if cached:
        teachers = len(by_teacher(todo.study))
        needed = teachers * sum(sum(logits.sizes((images, views.count, classes))) for views in cached)
        whose = f"{teachers} teachers'" if teachers > 1 else "the teacher's"
        counts = " and ".join(f"{views.count:,}" for views in cached)
        each = f"{counts} view{'s' * (counts != '1')} of each of {images:,} images"
        lines.append(f"Cache: {whose} logits for {each} take {in_words(needed)}{_room(needed)}.")
    if any(views.mixing for views in _kinds(todo)):
        what = " and ".join(augmentations.MIXED)
        lines.append(f"Nothing of {what} is cached: the teacher runs for every picture of every epoch.")
    return lines


def _kinds(todo: Plan) -> list[Views]:
    study = todo.study
    kinds = dict.fromkeys(kind for cell in todo.cells for kind in _choices(study, cell, AUGMENTATION))
    return [Views.of(study.augment.model_copy(update={"kind": kind}), study.seed) for kind in kinds]


def _room(needed: int) -> str:
    """Whether they have it; a folder that is not there yet will be made on the disk of the one above it."""
    folder = user_cache()
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    if needed <= logits.LARGEST_SHARE_OF_DISK * free:
        return f" in {user_cache()}"
    return f", too much for a disk with {in_words(free)} free, so the teacher runs instead: lower augment.bank"

"""What a plan knows of the networks that students are trained with: layers that are compared, second networks, and what
a method makes of the student."""

from collections.abc import Iterator

from tune_kd import names
from tune_kd.models import build
from tune_kd.plan import Arm, Plan
from tune_kd.preparation import Prepared, begins, peers
from tune_kd.space.designs import levels
from tune_kd.space.methods import METHODS, parts
from tune_kd.space.study import Study, methods_of
from tune_kd.training import measures
from tune_kd.training.method import layers, remade


def network_words(todo: Plan, prepared: Prepared) -> list[str]:
    """Of the student of the study's section."""
    study, shapes = todo.study, (prepared.shape, prepared.teacher_shape)
    found = [f"The {name} begins with {weights}." for name, weights in begins(study, prepared).items()]
    found += layers(study, study.student.model, study.kd.layers, shapes, len(prepared.splits.classes))
    for method in dict.fromkeys(name for each in methods_of(study) for name in parts(each) if METHODS[name].peer):
        beside = " or ".join(peers(study))
        found.append(f"{method} trains {beside} beside each student, and asks nothing of the teacher.")
    for method in _rebuilding(study):
        own, made = (_size(study, study.student.model, each, prepared) for each in ("", method))
        found.append(
            f"{method} makes of {study.student.model} ({own[0]:,} weights, {own[1]:,} multiplications) a network of "
            f"{made[0]:,} and {made[1]:,}: that is trained, exported, counted and timed."
        )
    return found


def peers_beside(study: Study, arm: Arm) -> float:
    """How many other networks learn beside each student of an arm, in the mean of its methods."""
    methods = _methods(study, arm)
    return sum(METHODS[name].peer for method in methods for name in parts(method)) / max(1, len(methods))


def times_the_work(study: Study, arm: Arm, student: str, prepared: Prepared) -> float:
    """How many times the student's multiplications the network has that an arm trains, in the mean of its methods."""
    methods = _methods(study, arm)
    alone = _size(study, student, "", prepared)[1]
    works = [_size(study, student, method, prepared)[1] / max(1, alone) for method in methods]
    return sum(works) / len(works) if works else 1.0


def _methods(study: Study, arm: Arm) -> tuple[str, ...]:
    if arm.name not in names.TAUGHT:
        return ()
    return (str(arm.cell["kd.method"]),) if "kd.method" in arm.cell else tuple(map(str, levels(study, "kd.method")))


def _rebuilding(study: Study) -> Iterator[str]:
    yield from dict.fromkeys(m for m in methods_of(study) if any(METHODS[name].rebuilds for name in parts(m)))


def _size(study: Study, student: str, method: str, prepared: Prepared) -> tuple[int, int]:
    """Weights and multiplications of what a method makes of a student; of the student alone where it makes nothing."""
    classes, shapes = len(prepared.splits.classes), (prepared.shape, prepared.teacher_shape)
    network = build(student, classes=classes, in_shape=prepared.shape)
    if method:
        kd = study.kd.model_copy(update={"method": method})
        network = remade(kd, network, study, shapes, classes)
    return measures.parameter_count(network), measures.macs(network, prepared.shape)

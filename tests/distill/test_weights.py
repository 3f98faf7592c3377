"""How the terms of the loss are weighed, by alpha or each on its own, and what changes from epoch to epoch."""

import pytest

from tune_kd import names, plan
from tune_kd.distill.distiller import NEVER, loss_weights, settled, temperature
from tune_kd.distill.schedules import Schedule
from tune_kd.errors import InputError
from tune_kd.space.load import dump, load
from tune_kd.space.study import cells, constants, resolve, searched_keys, suggest


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        ("constant", [0.9, 0.9, 0.9, 0.9, 0.9]),
        ("linear", [0.9, 0.7, 0.5, 0.3, 0.1]),
        ("cosine", [0.9, 0.1 + 0.4 * (1 + 0.5**0.5), 0.5, 0.1 + 0.4 * (1 - 0.5**0.5), 0.1]),
        ("step", [0.9, 0.9, 0.1, 0.1, 0.1]),
    ],
)
def test_schedules_begin_and_end_where_they_say(kind: str, values: list[float]) -> None:
    schedule = Schedule(0.9, 0.1, kind, 5)
    assert [schedule(epoch) for epoch in range(1, 6)] == pytest.approx(values)
    assert Schedule(0.9, 0.1, kind, 1)(1) == pytest.approx(0.9)  # one epoch is its first
    alpha = load("study: s\n", [f"kd.alpha_schedule={kind}", "kd.alpha=0.9", "kd.alpha_end=0.1"]).kd
    weights = [loss_weights(alpha, epoch, taught=True, epochs=5) for epoch in range(1, 6)]
    assert weights == [(pytest.approx(1 - value), pytest.approx(value)) for value in values]
    # A step of the training is recorded only where its numbers stay.
    assert settled(alpha) == (0 if kind == "constant" else NEVER)


def test_the_temperature_has_a_schedule_as_well() -> None:
    kd = load("study: s\n", ["kd.temperature_schedule=linear", "kd.temperature=8", "kd.temperature_end=2"]).kd
    assert [temperature(kd, 4)(epoch) for epoch in range(1, 5)] == [8, 6, 4, 2]


def test_a_teacher_that_comes_later_teaches() -> None:
    assert load("study: s\n", ["kd.alpha=0", "kd.alpha_schedule=step", "kd.alpha_end=0.5"]).kd.teaches
    assert not load("study: s\n", ["kd.alpha=0"]).kd.teaches
    assert not load("study: s\n", ["kd.weight=0"]).kd.teaches


def test_each_term_has_a_weight_of_its_own() -> None:
    study = load("study: s\nkd: {weight: 9, ce_weight: 0.1, warmup_epochs: 2}\n")
    assert [loss_weights(study.kd, epoch, taught=True) for epoch in (1, 2, 3)] == [(0.1, 4.5), (0.1, 9.0), (0.1, 9.0)]
    assert loss_weights(load("study: s\nkd: {weight: 9}\n").kd, 1, taught=True) == (1.0, 9.0)
    assert loss_weights(study.kd, 1, taught=False) == (1.0, 0.0)
    assert load(dump(study)) == study
    assert "kd.alpha" not in constants(study)
    assert "kd.weight" not in constants(load("study: s\n"))
    searched = load("study: s\nsearch: {kd.weight: {loguniform: [1, 16]}}\n")
    assert load(dump(searched)) == searched
    assert resolve(searched, constants(searched) | {"kd.weight": 4.0}).kd.weight == 4.0


@pytest.mark.parametrize(
    "text",
    [
        "kd: {alpha: 0.9, weight: 9}",
        "kd: {weight: 9}\nsearch: {kd.alpha: {uniform: [0, 1]}}",
        "kd: {alpha: 0.9}\nsearch: {kd.weight: {uniform: [0, 1]}}",
        "kd: {ce_weight: 0.1}\nconditions: {kd.alpha: [0.1, 0.9]}",
        "kd: {weight: 2, alpha_schedule: linear}",
    ],
)
def test_both_ways_at_once_are_refused_with_the_translation(text: str) -> None:
    with pytest.raises(InputError, match=r"kd\.weight.*stands beside kd\.alpha.*is kd\.ce_weight .* with kd\.weight"):
        load(f"study: s\n{text}\n")


def test_smoothed_labels_are_an_arm_without_a_teacher() -> None:
    study = load(
        "study: s\ncontrols: [scratch, smoothed]\nconditions: {kd.method: [kd, dkd]}\n"
        "search: {kd.alpha: {uniform: [0, 1]}, train.lr: {loguniform: [0.001, 0.1]}}\nfirst: [{train.lr: 0.01}]\n"
    )
    todo = plan.make(study)
    assert [arm.name for arm in todo.arms] == [names.DISTILLED, names.SCRATCH, names.SMOOTHED, names.DISTILLED]
    assert [todo.arm(cell, names.SMOOTHED) for cell in cells(study)] == [todo.arms[2]] * 2
    assert todo.rivals(todo.arms[0]) == todo.arms[1:3]
    assert todo.rivals(todo.arms[2]) == (todo.arms[0], todo.arms[3])
    assert searched_keys(study, names.SMOOTHED) == ("train.lr", "train.label_smoothing")
    assert searched_keys(study, names.SCRATCH) == ("train.lr",)

    class Low:
        def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float:
            return low

    config = suggest(study, names.SMOOTHED, {}, Low())  # type: ignore[arg-type]
    assert config["train.label_smoothing"] == 0.02
    assert resolve(study, config).train.label_smoothing == 0.02
    assert suggest(study, names.SCRATCH, {}, Low())["train.label_smoothing"] == 0.0  # type: ignore[arg-type]
    assert [arm.name for arm in plan.make(load("study: s\n", ["control=false"])).arms] == [names.DISTILLED]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("controls: [smoothed]", "Allowed: scratch, and beside it smoothed and random_teacher"),
        ("controls: [scratch, random_teacher]\nkd: {method: kd+at}", "compares feature maps"),
        ("controls: [scratch, scratch]", "Allowed"),
        ("controls: [scratch, smoothed]\nsearch: {train.label_smoothing: {uniform: [0, 0.2]}}", "varies already"),
    ],
)
def test_controls_that_say_nothing_are_refused(text: str, said: str) -> None:
    with pytest.raises(InputError, match=f"controls = .*{said}"):
        load(f"study: s\n{text}\n")

"""A study expanded into cells and arms."""

from tune_kd import names, plan
from tune_kd.space.load import load

STUDY = """
study: planned
question: How many?
conditions: {data.source: [drawn, scanned], data.size: [50, 100]}
search: {kd.alpha: {uniform: [0.1, 1.0]}}
budget: {trials: 18, epochs: 27, repeats: 5}
"""


def made(*settings: str) -> plan.Plan:
    return plan.make(load(STUDY, settings))


def test_every_cell_has_two_arms() -> None:
    todo = made()
    assert len(todo.cells) == 4
    assert [arm.name for arm in todo.arms] == [names.DISTILLED, names.SCRATCH] * 4
    # Nothing is searched in the scratch arms: their one configuration goes to the finals at once.
    assert (todo.trials, todo.finals) == (72, 40)
    assert {arm.name: todo.trials_of(arm) for arm in todo.arms} == {names.DISTILLED: 18, names.SCRATCH: 0}
    assert made("search={train.lr: {loguniform: [0.001, 0.1]}}").trials == 144
    assert todo.arms[0].key == "source=drawn, size=50 · distilled"


def test_a_study_without_control_has_one() -> None:
    assert {arm.name for arm in made("control=false").arms} == {names.DISTILLED}


def test_cells_that_differ_only_in_how_they_distil_share_their_control() -> None:
    todo = made("conditions={data.size: [50, 100], kd.method: [kd, dkd, dist]}")
    assert len(todo.cells) == 6
    assert [arm.name for arm in todo.arms].count(names.SCRATCH) == 2
    controls = [todo.arm(cell, names.SCRATCH) for cell in todo.cells if cell["data.size"] == 50]
    assert controls[0] is not None
    assert controls == [controls[0]] * 3
    assert all(todo.arm(cell, names.DISTILLED).cell == cell for cell in todo.cells)  # type: ignore[union-attr]


def test_epochs_to_expect() -> None:
    study = load(STUDY, ["budget.early_stopping=asha"])
    # 18 trials to epoch 3, 6 of them to 9, 3 of those to the end.
    assert plan.expected_epochs(study) == 18 * 3 + 6 * 6 + 3 * 18
    assert plan.expected_epochs(load(STUDY, ["budget.early_stopping=none"])) == 18 * 27


def test_what_every_trial_has_in_common() -> None:
    common = plan.constants_of(load(STUDY))
    assert "kd.alpha" not in common
    assert "data.source" not in common
    assert common["kd.temperature"] == 4.0

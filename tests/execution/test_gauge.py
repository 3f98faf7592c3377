"""`gpu: auto` where it can be run: real processes that train beside each other, here on the processor.

No GPU is here, so what a card would say of itself is made up; everything else is what runs on one.
"""

from pathlib import Path

import pytest

from tune_kd import plan
from tune_kd.execution import gauge
from tune_kd.execution.resources import Node
from tune_kd.preparation import Prepared, prepare
from tune_kd.space.load import load

STUDY = """
study: gauged
question: How many?
data: {dataset: digits, drawn: 100, evaluate_on: [scanned], teacher_on: [scanned]}
teacher: {model: digits_student}
student: {model: digits_student_tiny}
search:
  train.lr: {loguniform: [0.001, 0.1]}
  train.batch_size: {choice: [8, 16]}
"""
CARD = {"gpu": "Pretended 1", "driver": "1", "torch": "1"}
NODE = Node("n", 2, 1)


@pytest.fixture(scope="module")
def prepared() -> Prepared:
    return prepare(plan.make(load(STUDY)), lambda text: None)


def test_it_is_measured_once_and_kept(prepared: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUNE_KD_CACHE", str(tmp_path))
    monkeypatch.setattr(gauge, "facts", lambda node: CARD)
    rounds: list[list[int]] = []

    def here(asked, node, counts, seconds):
        rounds.append(list(counts))
        return gauge._measure(asked, counts, 0.3)

    monkeypatch.setattr(gauge, "measure", here)
    said: list[str] = []
    shares = [gauge.shares(load(STUDY), prepared, ["digits_student_tiny"], [NODE], said.append) for _ in range(2)]
    assert shares[0] == shares[1]
    assert rounds == [[1, 2]]  # no more than there are processors for
    (kept,) = (tmp_path / "shares").glob("*.json")
    known = gauge._read(kept)
    assert known is not None
    assert [each.at_once for each in known] == [1, 2]
    for each in known:
        assert not each.failed
        assert each.rate > 0
        assert 50e6 < each.own < each.taken < each.total
    assert f"{gauge.choose(known)} at once" in said[-1]
    kept.write_text("{")
    gauge.shares(load(STUDY), prepared, ["digits_student_tiny"], [NODE], said.append)
    assert len(rounds) == 2


def test_a_student_that_cannot_be_trained_is_a_failed_measurement(prepared: Prepared) -> None:
    asked = gauge.question(load(STUDY), prepared, "digits_student_tiny")
    broken = type(asked)(**vars(asked) | {"student": "nowhere:model"})
    (found,) = gauge._measure(broken, [1, 2], 0.1)
    assert "nowhere" in found.failed
    assert not found.fits


def test_what_changes_the_figures_is_measured_anew(prepared: Prepared) -> None:
    def key(*settings: str, student: str = "digits_student_tiny", card: dict[str, str] = CARD, most: int = 4) -> str:
        return gauge.key(gauge.question(load(STUDY, settings), prepared, student), card, most)

    assert key() == key("seed=3", "train.lr=0.1", "budget.trials=99", "question=Why?")
    others = [
        key("search.train.batch_size={choice: [8, 32]}"),
        key("augment.kind=flip"),
        key("train.optimizer=sgd"),
        key("teacher.model=digits_teacher"),
        key("kd.method=fitnet"),
        key("kd.method=simkd", "kd.alpha=1.0"),
        key("conditions.kd.method=[kd, simkd]", "kd.simkd_factor=4"),
        key(student="digits_student"),
        key(card={**CARD, "gpu": "Pretended 2"}),
        key(card={**CARD, "driver": "2"}),
        key(most=8),
    ]
    assert len({key(), *others}) == len(others) + 1


def test_of_several_methods_the_one_that_takes_most_is_measured(prepared: Prepared) -> None:
    for named, wanted in (
        ("kd, dist", "kd"),
        ("kd, at, dist", "at"),
        ("kd, at, simkd", "simkd"),
        ("kd, mutual", "mutual"),
    ):
        study = load(STUDY, [f"conditions.kd.method=[{named}]"])
        assert gauge.question(study, prepared, "digits_student_tiny").method == wanted
    (found,) = gauge._measure(gauge.question(study, prepared, "digits_student_tiny"), [1], 0.1)
    assert found.rate > 0, found.failed


def test_the_largest_batch_that_is_searched_is_measured(prepared: Prepared) -> None:
    assert gauge.question(load(STUDY), prepared, "digits_student_tiny").batch_size == 16

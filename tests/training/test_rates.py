"""How fast a model trains here: measured once, remembered, and reckoned where nobody has measured."""

import os
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tune_kd import names
from tune_kd.space.load import load
from tune_kd.space.study import Study
from tune_kd.training import rates
from tune_kd.training.rates import Asked, Rate

STUDY = """
study: timed
data: {dataset: digits}
student: {model: digits_student_tiny}
augment: {kind: crop_flip}
train: {batch_size: 16}
"""
CPU = torch.device("cpu")
MEASURED = Rate(1000.0, 3000.0, 0.02, 0.001, 50_000, "measured now")


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUNE_KD_CACHE", str(tmp_path))
    rates._NOTED.clear()


def asked(*settings: str, threads: int = 1) -> Asked:
    return Asked.of(study(*settings), (1, 8, 8), 10, CPU, threads)


def study(*settings: str) -> Study:
    return load(STUDY, settings)


def test_what_is_measured_is_remembered_and_a_broken_file_is_as_none() -> None:
    assert rates.known(asked()) is None
    rates.keep(asked(), MEASURED)
    assert rates.known(asked()) == MEASURED
    assert rates.known(asked("train.lr=0.5", "budget.trials=90", "seed=3")) == MEASURED
    for other in (["train.batch_size=32"], ["augment.kind=none"], ["student.model=digits_student"], ["precision=fp32"]):
        assert rates.known(asked(*other)) is None
    assert rates.known(asked(threads=2)) is None
    asked().file.write_text('{"rate": {')
    assert rates.known(asked()) is None
    assert rates.reckon(asked()).how == rates.RECKONED


def test_a_cache_that_cannot_be_written_keeps_nothing_and_hurts_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("TUNE_KD_CACHE", str(tmp_path / "file"))
    rates.keep(asked(), MEASURED)
    assert rates.known(asked()) is None
    assert rates.reckon(asked()).training > 0


def test_what_nobody_measured_is_reckoned_from_the_most_similar_model_by_its_macs() -> None:
    macs = rates._macs(asked())
    alone = rates.reckon(asked())
    assert alone.macs == macs
    assert rates.reckon(asked("student.model=digits_teacher")).training < alone.training
    near, far = replace(MEASURED, macs=2 * macs), replace(MEASURED, macs=100 * macs, training=7.0)
    rates.keep(asked("student.model=digits_student"), near)
    rates.keep(asked("student.model=digits_teacher"), far)
    rates.keep(asked(threads=2), replace(MEASURED, macs=macs, training=9999.0))
    found = rates.reckon(asked())
    assert found.training == pytest.approx(2 * near.training)
    assert found.evaluating == pytest.approx(2 * near.evaluating)
    assert found.single == pytest.approx(near.single / 2)
    assert found.how == rates.RECKONED


def test_a_measurement_is_of_a_real_training(monkeypatch: pytest.MonkeyPatch) -> None:
    before = torch.get_num_threads()
    found = rates.measure(study(), asked(), 0.1)
    assert found.how == "measured now"
    assert min(found.training, found.evaluating, found.single) > 0
    assert found.epoch >= 0
    assert torch.get_num_threads() == before
    assert not os.listdir(os.environ["TUNE_KD_CACHE"])  # keeping it is the plan's decision


@pytest.mark.parametrize(("expected", "batch"), [(1e6, 16), (800.0, 8), (1.0, 2)])
def test_a_large_model_is_measured_in_batches_for_which_there_is_time(
    expected: float, batch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs: list[rates.Job] = []

    def train(job: rates.Job, images: object, teacher: None, report: object, saved: Path) -> None:
        jobs.append(job)
        report({names.IMAGES_PER_SECOND: 10.0, names.SECONDS: 10.0})  # type: ignore[operator]

    monkeypatch.setattr(rates, "train", train)
    monkeypatch.setattr(rates, "reckon", lambda asked: replace(MEASURED, training=expected))
    rates.measure(study("precision=fp32"), asked(), 0.1)
    assert [job.settings.train.batch_size for job in jobs] == [batch]


def test_a_process_that_waits_has_not_worked() -> None:
    clock, idle = rates.Clock(CPU), rates.Clock(torch.device("cuda"))
    time.sleep(0.3)
    busy, seconds = clock.lap()
    assert seconds >= 0.3
    assert busy < 0.5
    assert idle.lap()[0] == 1.0  # of a GPU nobody knows


def test_a_search_notes_its_speed_once_in_a_process() -> None:
    epoch = {names.IMAGES_PER_SECOND: 500.0, names.SECONDS: 3.0}
    rates.note(asked(), epoch, 0.5, images=1000, validation=200)
    found = rates.known(asked())
    assert found is not None
    assert (found.training, found.evaluating, found.how) == (1000.0, 400.0, "measured in a search")
    rates.note(asked(), epoch | {names.IMAGES_PER_SECOND: 900.0}, 0.5, images=1000, validation=200)
    assert rates.known(asked()) == found


def test_a_training_that_validated_nothing_says_nothing_of_how_fast_a_model_runs() -> None:
    rates.keep(asked(), replace(MEASURED, evaluating=0.0))  # as earlier versions left it
    assert rates.known(asked()) is None
    assert rates.reckon(asked()).evaluating > 0
    rates.note(asked(), {names.IMAGES_PER_SECOND: 1000.0, names.SECONDS: 1.2}, 1.0, images=1000, validation=0)
    assert rates.known(asked()) is None

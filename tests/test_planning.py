"""What `--plan` expects, beside what happens: on one and on two machines."""

import json
import re
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from rich.console import Console

from tests.patience import PATIENCE
from tune_kd import names, plan, planning
from tune_kd.errors import InputError
from tune_kd.models import build
from tune_kd.planned_networks import network_words
from tune_kd.planning import Machines
from tune_kd.preparation import prepare
from tune_kd.results import run_facts
from tune_kd.space.load import load
from tune_kd.space.schema import Resources
from tune_kd.teacher import making
from tune_kd.training import rates
from tune_kd.tuning.simulation import Costs, play

STUDY = """
study: planned
data: {dataset: digits, drawn: 200, evaluate_on: [scanned], teacher_on: [scanned]}
teacher: {model: digits_student, epochs: 3, train: {lr: 0.01, batch_size: 64}}
train: {batch_size: 64, epoch_images: 1000}
search: {kd.alpha: {uniform: [0.1, 1.0]}, train.lr: {loguniform: [0.001, 0.05]}}
budget: {trials: 9, epochs: 9, repeats: 2}
"""

FREE = Costs(epoch=lambda arm: 1.0, final=0.0, process=0.0, leg=0.0, report=0.0)
"""An epoch takes a second, and nothing else takes any time."""


def todo(*settings: str) -> plan.Plan:
    return plan.make(load(STUDY, settings))


def test_on_one_slot_every_epoch_is_done_after_the_other() -> None:
    played = play(todo(), 1, FREE)
    assert played.seconds == played.busy == played.epochs
    # An arm: 9 trials to epoch 1, one of those or a few more to 9, and two finals.
    assert 2 * (9 + 8 + 18) <= played.epochs <= 2 * (9 + 3 * 8 + 18)


def test_more_slots_are_quicker_until_there_is_nothing_more_to_share_out() -> None:
    seconds = [play(todo(), slots, FREE).seconds for slots in (1, 2, 4, 18, 1000)]
    assert seconds == sorted(seconds, reverse=True)
    assert seconds[1] < 0.6 * seconds[0]
    # Somebody has to train to the end, and a final after that.
    assert seconds[-1] >= 18


def test_what_is_done_one_after_the_other_limits_many_slots() -> None:
    played = play(todo("budget.trials=90"), 1000, replace(FREE, leg=1.0))
    assert played.seconds > 2 * (90 + 18 + 2)


def test_one_is_not_several(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TUNE_KD_CACHE", str(tmp_path))
    monkeypatch.setattr(planning, "MEASURING_SECONDS", 0.0)
    few = ["budget.trials=1", "budget.epochs=2", "budget.repeats=1"]
    planning.show(load(STUDY, few), Machines(1, 1, 0), Console(width=200))
    said = capsys.readouterr().out
    for word in (
        "1 cell, 2 arms, 1 trial each: 2 trials, and 2 finals (1 seed an arm)",
        "compared at epoch 1, at least 1 to the end",
    ):
        assert word in said
    assert "a machine of 1 CPU;" in said
    assert not re.search(r"\b1 (cells|arms|trials|finals|seeds|epochs|CPUs)\b", said)


@pytest.mark.parametrize(("rule", "least"), [("auto", 1), ("asha", 3), ("stop", 1), ("median", 2), ("none", 9)])
def test_a_plan_promises_as_many_to_the_end_as_the_rule(
    rule: str, least: int, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TUNE_KD_CACHE", str(tmp_path))
    monkeypatch.setattr(planning, "MEASURING_SECONDS", 0.0)
    planning.show(load(STUDY, [f"budget.early_stopping={rule}"]), Machines(1, 2, 0), Console(width=200))
    assert f", at least {least} to the end." in capsys.readouterr().out


@pytest.mark.parametrize(
    ("machines", "wanted", "slots"),
    [
        (Machines(1, 2, 0), Resources(), (2, 0.0)),
        (Machines(50, 64, 8), Resources(), (1600, 0.25)),
        (Machines(50, 16, 8), Resources(), (800, 0.25)),  # too few processors
        (Machines(2, 8, 2), Resources(gpu=0.3), (12, 0.3)),
        (Machines(2, 8, 3), Resources(gpu=2.0), (2, 2.0)),
        (Machines(3, 4, 2), Resources(gpu=0.0, cpu=2.0), (6, 0.0)),
        (Machines(3, 1, 0), Resources(cpu=2.0), (0, 0.0)),
    ],
)
def test_slots(machines: Machines, wanted: Resources, slots: tuple[int, float]) -> None:
    assert machines.slots(wanted) == slots


def test_a_plan_for_many_machines_says_what_it_costs_and_what_it_assumes(capsys: pytest.CaptureFixture[str]) -> None:
    planning.show(load(STUDY), Machines(50, 64, 8), Console(width=200), price=2.5)
    said = capsys.readouterr().out
    for word in ("1,600 at once on 50 machines of 64 CPUs and 8 GPUs", "assumes", "% of the time", "of processors, an"):
        assert word in said
    told = re.search(r"([\d.,]+) GPU-hours \(([\d.,]+) at 2.5 an hour of a GPU\)", said)
    assert told
    hours, price = (float(figure.replace(",", "")) for figure in told.groups())
    assert price == pytest.approx(2.5 * hours, rel=0.06)


def test_a_plan_measures_once_says_which_figures_are_measured_and_then_answers_from_memory(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TUNE_KD_CACHE", str(tmp_path))
    monkeypatch.setattr(planning, "MEASURING_SECONDS", 0.2)

    def said() -> str:
        planning.show(load(STUDY), Machines(1, 2, 0), Console(width=400))
        return capsys.readouterr().out

    first = said()
    assert "First answer: about" in first
    assert "reckoned from multiplications. Measuring digits_student, which takes up to" in first
    assert "measured now: digits_student" in first.splitlines()[-1]

    def never(*asked: object) -> None:
        raise AssertionError("it is known")

    monkeypatch.setattr(planning.rates, "measure", never)
    again = said()
    assert "First answer" not in again
    assert "measured by an earlier plan: digits_student" in again.splitlines()[-1]
    assert [line for line in first.splitlines() if line.startswith("Time")] == [
        line for line in again.splitlines() if line.startswith("Time")
    ]


def test_what_there_is_no_time_to_measure_is_said_to_be_reckoned(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TUNE_KD_CACHE", str(tmp_path))
    monkeypatch.setattr(planning, "MEASURING_SECONDS", 0.0)
    planning.show(load(STUDY), Machines(1, 2, 0), Console(width=400))
    assert f"{rates.RECKONED}: digits_student" in capsys.readouterr().out.splitlines()[-1]


@pytest.mark.parametrize(("classes", "new"), [(10, ""), (7, ", with a new head for 10 classes")])
def test_plan_terminal_and_facts_say_which_weights_a_network_begins_with(
    classes: int, new: str, tmp_path: Path
) -> None:
    own = build("digits_student", classes=classes, in_shape=(1, 8, 8))
    torch.save(own.state_dict(), tmp_path / "mine.pt")
    file = f"pretrained={tmp_path / 'mine.pt'}"
    student = ("student.model=digits_student", f"student.{file}")
    planned = todo(f"teacher.{file}", "teacher.through=[tiny_teacher]", *student)
    prepared = prepare(planned, lambda text: None)
    said = making.told(planned.study, prepared.teachers[0])
    assert said == f"fine-tuning digits_student from mine.pt{new} → tiny_teacher"
    assert network_words(planned, prepared)[:2] == [
        f"The {who} digits_student begins with mine.pt{new}." for who in ("teacher", "student")
    ]
    facts = run_facts(planned, prepared, {}, 0.0, {}, "")
    assert facts["begins_with"].startswith(f"teacher digits_student: mine.pt{new}; student")
    scratch = prepare(todo(), lambda text: None)
    assert making.told(todo().study, scratch.teachers[0]) == "training digits_student"
    assert not run_facts(todo(), scratch, {}, 0.0, {}, "")["begins_with"]


def test_a_plan_for_machines_that_are_too_small_is_refused() -> None:
    with pytest.raises(InputError, match="does not fit on"):
        planning.show(load(STUDY, ["resources.cpu=8"]), Machines(2, 4, 0), Console())


FACTOR = 2.5
"""Between what is expected and what happens, either way. On a machine that does nothing else it is below 1.5."""


@pytest.mark.slow
@pytest.mark.parametrize("nodes", [1, 2])
def test_the_estimate_is_what_a_search_takes(nodes: int, tmp_path: Path) -> None:
    from ray.cluster_utils import Cluster

    planned = plan.make(load(STUDY))
    prepared = prepare(planned, lambda text: None)
    speeds = planning.Speeds(planned, prepared)
    speeds.measure(planning.MEASURING_SECONDS)
    expected = planning.estimate(planned, prepared, Machines(nodes, 1, 0), speeds)
    (tmp_path / "planned.yaml").write_text(STUDY)
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    try:
        for _ in range(nodes - 1):
            cluster.add_node(num_cpus=1)
        started = time.monotonic()
        done = subprocess.run(
            [sys.executable, "-m", "tune_kd.search", "planned.yaml", "--name", "real", "--address", cluster.address],
            cwd=tmp_path, capture_output=True, text=True, timeout=PATIENCE,
        )  # fmt: skip
        took = time.monotonic() - started
    finally:
        cluster.shutdown()
    assert done.returncode == 0, done.stdout + done.stderr
    phases = json.loads((tmp_path / "runs" / "real" / names.VERDICT_FILE).read_text())["facts"]["phases"]
    print(f"{nodes} nodes: expected {expected}, took {took:.1f} s, {phases}")
    assert expected.seconds / FACTOR < took < expected.seconds * FACTOR, f"{expected} {took} {phases}"


def test_a_front_is_played_with_all_the_finals_that_are_announced() -> None:
    choice = "search.student.model={choice: [digits_student, digits_student_tiny, digits_teacher]}"
    front = todo("objectives=[accuracy,size]", choice, "budget.trials=18")
    assert play(front, 3, FREE).finals == front.finals == 12


def test_a_search_with_a_limit_of_time_is_played_until_then() -> None:
    limited, free = (play(todo("budget.trials=90", *more), 2, FREE) for more in (["budget.seconds=30"], []))
    assert limited.seconds < 30 + 9 + 2 * 18 < free.seconds

"""The bench of early-stopping rules: what it says of recorded curves, on curves of which the answer is known."""

import json
import random
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks import record, replay
from benchmarks.peer_rules import known, rule_by_name
from benchmarks.recorded import Table, read
from benchmarks.recorded import replay as replayed
from tune_kd.space.load import load
from tune_kd.space.study import searched_keys

CURVES = Path(__file__).parents[1] / "benchmarks" / "curves"

ROW = {
    "table", "arm", "rule", "sampler", "workers", "trainings", "siblings", "regret", "without_stopping", "ratio",
    "best_begun", "top_stopped", "epochs",
}  # fmt: skip


def table(path: Path, crossing: bool) -> Path:
    """Forty curves of nine epochs. Steady ones keep their order from the first epoch on; crossing ones turn it over."""
    luck = random.Random(1)
    lines = []
    for number in range(40):
        rate = 10 ** luck.uniform(-4, -1)
        end = (number + 1) / 41
        early = 1 - end if crossing else end
        curve = [round(early + (end - early) * (epoch / 9) ** 4, 4) for epoch in range(1, 10)]
        config = {
            "train.lr": rate,
            "student.dropout": luck.random(),
            "augment.kind": luck.choice(["none", "crop_flip"]),
        }
        lines.append(
            json.dumps({"table": "made", "arm": "distilled", "facts": {}, "config": config, "accuracy": curve})
        )
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture
def steady(tmp_path: Path) -> Table:
    return read([table(tmp_path / "steady.jsonl", crossing=False)])[0]


@pytest.mark.parametrize("kind", ["random", "tpe"])
@pytest.mark.parametrize("rule", known())
def test_every_rule_plays_to_its_end(steady: Table, rule: str, kind: str) -> None:
    for workers, trials in ((1, 5), (8, 12)):
        found = replayed(steady, rule_by_name(rule), kind, workers, trials, seed=0)
        assert len(found.begun) == len(set(found.begun)) == trials
        assert found.chosen in found.ended
        assert trials < found.epochs <= trials * 9
        # The curves never cross, so the best of those begun is found wherever something is compared at all.
        assert rule == "none" or max(found.begun, key=lambda row: steady.rows[row].end) == found.chosen or "ray" in rule


@pytest.mark.parametrize("rule", ["auto", "asha", "none"])
def test_when_the_time_is_up_the_best_so_far_is_chosen(steady: Table, rule: str) -> None:
    plain = replayed(steady, rule_by_name(rule), "random", 2, 12, 0)
    assert replayed(steady, rule_by_name(rule), "random", 2, 12, 0, within=1000) == plain
    found = replayed(steady, rule_by_name(rule), "random", 2, 12, 0, within=10)
    assert 18 <= found.epochs <= 22  # two workers, ten epochs each, of which some take a tenth longer than others
    assert found.chosen in found.begun


@pytest.mark.parametrize("study", sorted(CURVES.glob("*.yaml")), ids=lambda path: path.stem)
def test_what_was_recorded_can_be_recorded_again(study: Path) -> None:
    asked = load(str(study))
    tables = read([CURVES / f"{study.stem}.jsonl.gz"])
    assert {table.arm for table in tables} == {"distilled", "scratch"}
    for one in tables:
        assert one.epochs == asked.budget.epochs
        assert set(one.rows[0].config) == set(searched_keys(asked, one.arm))
        assert one.facts["student.model"] == asked.student.model


def test_siblings_are_asked_and_strangers_are_not(steady: Table) -> None:
    """Of a sibling with the same curves the best setting is tried first; nobody is a sibling of itself."""
    sibling, stranger = replace(steady, name="other"), replace(steady, name="other", facts={"student.model": "x"})
    best = max(range(40), key=lambda row: steady.rows[row].end)
    for siblings, asked in (((sibling,), True), ((steady, stranger), False)):
        found = replayed(steady, rule_by_name("auto"), "random", 1, 5, 0, siblings)
        plain = replayed(steady, rule_by_name("auto"), "random", 1, 5, 0)
        assert (found.begun[0] == best) == asked
        assert (found == plain) == (not asked)


def test_what_it_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    curves = table(tmp_path / "curves.jsonl", crossing=True)
    arguments = ["--workers", "1", "8", "--trainings", "6", "16", "--repeats", "6", "--rules", "none", "epochs-1"]
    monkeypatch.setattr(sys, "argv", ["replay", str(curves), *arguments, "--out", str(tmp_path / "out")])
    assert replay.main() == 0
    told: dict[str, Any] = json.loads((tmp_path / "out" / "replay.json").read_text())
    assert len(told["rows"]) == 2 * 2 * 2 * 2
    assert all(row.keys() >= ROW for row in told["rows"])
    assert {row["ratio"] for row in told["rows"] if row["rule"] == "none"} == {1.0}
    # Where all curves cross, who finishes the best of the first epoch loses to who stops nothing, and it shows.
    assert told["worst"]["epochs-1"] > told["geometric_mean"]["epochs-1"] > 1.5
    assert told["lost"]["epochs-1"] > 0 == told["lost"]["none"]
    for name in ("replay.md", "replay.svg"):
        assert (tmp_path / "out" / name).stat().st_size > 100


def test_recording_goes_on_where_it_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = tmp_path / "tiny.yaml"
    study.write_text(
        "study: tiny\ndata: {dataset: digits, drawn: 200, size: 50, evaluate_on: [scanned], teacher_on: [scanned]}\n"
        "teacher: {model: digits_student_tiny, epochs: 1}\nstudent: {model: digits_student_tiny}\n"
        "train: {batch_size: 32}\nsearch: {kd.alpha: {uniform: [0.1, 1.0]}, train.lr: {loguniform: [0.001, 0.1]}}\n"
        "budget: {epochs: 2}\n"
    )
    out = tmp_path / "tiny.jsonl"
    command = ["record", str(study), "--trials", "3", "--best", "1", "--seeds", "2", "--out", str(out)]
    monkeypatch.setattr(sys, "argv", [*command, "--most", "3"])
    record.main()
    before = out.read_text()
    assert len(before.splitlines()) == 3
    monkeypatch.setattr(sys, "argv", command)
    record.main()
    record.main()
    assert out.read_text().startswith(before)
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert len(rows) == 6 + 4
    assert len({row["of"] for row in rows[6:]}) == 2
    assert {row["arm"]: set(row["config"]) for row in rows} == {
        "distilled": {"kd.alpha", "train.lr"},
        "scratch": {"train.lr"},
    }
    assert all(len(row["accuracy"]) == 2 for row in rows)
    assert [len(one.rows) for one in read([out])] == [3, 3]

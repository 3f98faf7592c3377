"""The page of published figures beside ours, made from results folders."""

import json
import shlex
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from benchmarks import studies
from tune_kd import names, plan
from tune_kd.names import DISTILLED, SCRATCH
from tune_kd.space.load import dump, load
from tune_kd.space.study import Study
from tune_kd.tuning.callbacks import Everyone
from tune_kd.tuning.conductor import OK, OUTCOME, Conductor
from tune_kd.tuning.entry import RESULT
from tune_kd.tuning.ledger import Ledger

REPLICATE = ["mode=replicate", "data.root=/somewhere"]
SCORES = {SCRATCH: [0.72, 0.73, 0.725], DISTILLED: [0.70, 0.712, 0.705]}
PAGE = f"# Ours\n\nBefore.\n{studies.BEGIN}\nwhat was there\n{studies.END}\nAfter.\n"


def asked(*settings: str) -> Study:
    return load("cifar10_tiny_cnn", [*REPLICATE, *settings])


def ended(folder: Path, study: Study) -> Path:
    """What a search leaves behind that has its finals."""
    folder.mkdir()
    (folder / names.STUDY_FILE).write_text(dump(study))
    pd.DataFrame(columns=["number", "arm", "state", "value"]).to_parquet(folder / names.TRIALS_FILE)
    rows = [
        {"arm": arm, "seed": seed, "state": names.COMPLETE, names.TEST_ACCURACY: score}
        for arm, scores in SCORES.items()
        for seed, score in enumerate(scores)
    ]
    pd.DataFrame(rows).to_parquet(folder / names.FINALS_FILE)
    (folder / names.VERDICT_FILE).write_text(json.dumps({"teacher": {names.TEST_ACCURACY: 0.84}}))
    return folder


def under_way(folder: Path, study: Study, finals: int) -> Path:
    """A search of which so many finals are in the ledger, and no table yet."""
    folder.mkdir()
    (folder / names.STUDY_FILE).write_text(dump(study))
    todo = plan.make(study)
    conductor = Conductor(todo, Ledger(folder / names.LEDGER_FILE, todo), Everyone([]))
    for _ in range(finals):
        leg = conductor.next()
        assert not isinstance(leg, str)
        for epoch in range(1, leg.until + 1):
            conductor.reported(leg, {names.EPOCH: epoch, names.VAL_ACCURACY: 0.7, names.SECONDS: 1.0})
        conductor.ended(leg, {OUTCOME: OK, RESULT: json.dumps({names.TEST_ACCURACY: 0.7})})
    return folder


def made(page: Path, *folders: Path) -> str:
    page.write_text(PAGE)
    assert studies.main([*map(str, folders), "--page", str(page)]) == 0
    return page.read_text()


def test_published_stands_beside_ours(tmp_path: Path) -> None:
    text = made(tmp_path / "page.md", ended(tmp_path / "runs", asked()))
    assert text.startswith("# Ours\n\nBefore.\n")
    assert text.endswith("\nAfter.\n")
    assert "what was there" not in text
    assert "### cifar10_tiny_cnn\n" in text
    assert "`python -m tune_kd.search cifar10_tiny_cnn --set mode=replicate --set data.root=DIR`: 3 distilled" in text
    assert "| 1 | the whole study | scratch | 72.70 | 72.50 ± 0.50 | −0.20 |" in text
    assert "| 1 | the whole study | distilled | 70.86 | 70.57 ± 0.60 | −0.29 |" in text
    assert "| 1 | teacher | teacher | 83.13 | 84.00 | +0.87 |" in text
    assert "| hurts |" in text
    assert "not ended" not in text


def test_a_smaller_run_is_called_so_and_its_command_repeats_it(tmp_path: Path) -> None:
    text = made(tmp_path / "page.md", ended(tmp_path / "runs", asked("budget.epochs=2", "data.size=500")))
    assert "### cifar10_tiny_cnn (reduced: it shows that the study runs, not what it finds)" in text
    assert "--set data.root=DIR --set budget.epochs=2 --set data.size=500`" in text
    assert "72.70" not in text  # a run of minutes is not set beside what was published
    few = asked("conditions.student.model=[tiny_student]", "budget.epochs=2").model_dump(mode="json")
    repeated = load("cifar10_tiny_cnn", _sets(studies.command(few)))
    assert repeated.model_dump(mode="json") | {"data": few["data"]} == few


def _sets(command: str) -> list[str]:
    words = shlex.split(command)
    return [words[at + 1] for at, word in enumerate(words) if word == "--set"]


def test_a_search_under_way_has_the_finals_that_there_are(tmp_path: Path) -> None:
    study = asked("budget.epochs=1")
    text = made(tmp_path / "page.md", under_way(tmp_path / "half", study, 3), ended(tmp_path / "runs", asked()))
    assert "**The search has not ended: these are the finals so far.**" in text
    assert text.count("### cifar10_tiny_cnn") == 2


def test_without_a_page_it_is_printed(tmp_path: Path, capsys: Any) -> None:
    studies.main([str(ended(tmp_path / "runs", asked()))])
    printed = capsys.readouterr().out
    assert printed.startswith(studies.BEGIN)
    assert "no difference shown" not in printed


@pytest.mark.parametrize("source", ["words1", "words1+words2"])
def test_a_study_on_its_stand_in_says_which_data_it_had(source: str) -> None:
    stored = load("multi_source", ["data.dataset=cifar10", "data.root=/x", f"conditions.data.source=[{source}]"])
    command = studies.command(stored.model_dump(mode="json"))
    assert command.startswith("python -m tune_kd.search multi_source --set mode=search --set data.root=DIR")
    assert "--set data.dataset=cifar10" in command

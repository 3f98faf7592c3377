"""With which study a search may go on. Whole resumed searches are in test_search.py."""

from pathlib import Path

import pytest

from tune_kd import names
from tune_kd.search import main
from tune_kd.space.load import dump, load

STUDY = """
study: resumed
question: Still the same?
search: {kd.alpha: {uniform: [0.1, 1.0]}, train.batch_size: {choice: [32, 64]}}
budget: {trials: 9}
"""


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("train.lr=0.5", ["train.lr: 0.001 → 0.5"]),
        ("search.kd.alpha={loguniform: [0.1, 1.0]}", ["search.kd.alpha.loguniform"]),
        ("search.train.batch_size={grid: [32, 64]}", ["search.train.batch_size.grid"]),
        ("budget.trials=8", ["budget.trials: 9 → 8"]),
        ("seed=1", ["seed: 0 → 1"]),
    ],
)
def test_another_study_is_refused_with_the_difference(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], setting: str, words: list[str]
) -> None:
    (tmp_path / names.STUDY_FILE).write_text(dump(load(STUDY)))
    (tmp_path / names.LEDGER_FILE).touch()
    assert main(["--out", str(tmp_path), "--resume", "--set", setting]) == 2
    said = capsys.readouterr().err
    for word in [*words, "budget.trials", "another --name"]:
        assert word in said


@pytest.mark.parametrize(
    ("arguments", "word"),
    [(["--resume"], "--name or --out"), (["--resume", "--name", "never-begun"], "runs/never-begun. Leave")],
)
def test_resume_says_what_it_needs(arguments: list[str], word: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    assert word in capsys.readouterr().err

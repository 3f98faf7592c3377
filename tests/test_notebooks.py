"""The example notebooks run from top to bottom, without Jupyter: their cells are executed one after the other."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.summary import synthetic
from tune_kd.summary import write

EXAMPLES = Path(__file__).parents[1] / "examples"


def run(notebook: Path) -> dict[str, Any]:
    """What a notebook's names stand for once all cells have run."""
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    names: dict[str, Any] = {}
    for number, cell in enumerate(each for each in cells if each["cell_type"] == "code"):
        assert cell["outputs"] == [], "kept without outputs"
        exec(compile("".join(cell["source"]), f"{notebook.name}, cell {number}", "exec"), names)
    return names


def test_reading_results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MPLBACKEND", "agg")
    monkeypatch.setenv("RESULTS", str(synthetic.write_folder(tmp_path)))
    verdict = write(tmp_path)
    found = run(EXAMPLES / "reading_results.ipynb")
    by_hand = sorted(found["gains"]["mean"])
    assert by_hand == pytest.approx(sorted(cell["gain"]["mean"] for cell in verdict["cells"]))
    assert list(found["answer"]["word"]) == [cell["word"] for cell in verdict["cells"]]
    assert len(found["best"]) == 8

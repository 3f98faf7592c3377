"""The notebook does what it shows: its cells are run one after the other, as a notebook runs them."""

import ast
import json
from pathlib import Path
from typing import Any

import pytest

import tune_kd

NOTEBOOK = Path(__file__).parents[1] / "examples" / "first_search.ipynb"


def run_cell(source: str, names: dict[str, Any]) -> Any:
    """Runs a cell; what its last line is, where that is an expression, a notebook would show."""
    body = ast.parse(source).body
    last = body.pop() if isinstance(body[-1], ast.Expr) else None
    exec(compile(ast.Module(body, []), str(NOTEBOOK), "exec"), names)
    return (
        eval(compile(ast.Expression(last.value), str(NOTEBOOK), "eval"), names) if isinstance(last, ast.Expr) else None
    )


def test_the_notebook_runs_from_top_to_bottom(
    ray_address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    names: dict[str, Any] = {}
    cells = [cell for cell in json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"] if cell["cell_type"] == "code"]
    assert all(not cell["outputs"] for cell in cells)
    shown = [run_cell("".join(cell["source"]), names) for cell in cells]
    assert isinstance(names["result"], tune_kd.Result)
    assert names["result"].verdict.cells[0].word in capsys.readouterr().out
    assert shown[-2] == 8
    assert shown[-1]._repr_html_().startswith("<iframe")
    assert (tmp_path / "mlflow.db").exists()

"""The example notebooks, each in a Jupyter kernel of its own, as a person runs them."""

from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

import tune_kd
from tests.patience import PATIENCE
from tests.summary import synthetic
from tune_kd.summary import write

EXAMPLES = Path(__file__).parents[1] / "examples"
PAGE, PLAIN = "text/html", "text/plain"


def run(name: str, folder: Path) -> list[list[dict[str, Any]]]:
    """What stands below each of its cells of code."""
    notebook = nbformat.read(EXAMPLES / name, as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert all(cell.outputs == [] for cell in code), "kept without outputs"
    NotebookClient(notebook, timeout=PATIENCE, resources={"metadata": {"path": str(folder)}}).execute()
    return [cell.outputs for cell in code]


def said(outputs: list[dict[str, Any]]) -> str:
    return "".join(output.get("text", "") for output in outputs)


def pages(outputs: list[dict[str, Any]]) -> list[str]:
    return [output["data"][PAGE] for output in outputs if PAGE in output.get("data", {})]


def live_view(outputs: list[dict[str, Any]]) -> str:
    """As it was drawn last; there is one, drawn anew in its place."""
    (drawn,) = [page for page in pages(outputs) if "best validation" in page]
    return drawn


@pytest.fixture
def joined(ray_address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kernels join the tests' Ray."""
    monkeypatch.setenv("RAY_ADDRESS", ray_address)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


def test_a_first_search(joined: None, tmp_path: Path) -> None:
    _, searched, verdict, trials, finals, model, extended, report = run("first_search.ipynb", tmp_path)
    assert "6 of 6 trials begun" in live_view(searched)
    assert tune_kd.load(tmp_path / "runs" / "first").verdict.cells[0].word in said(verdict)
    assert all("<table" in pages(tables)[0] for tables in (trials, finals))
    assert "tensor([" in model[0]["data"][PLAIN]
    assert extended[-1]["data"][PLAIN] == "8"
    assert pages(report)[0].startswith("<iframe")
    assert (tmp_path / "mlflow.db").exists()


def test_own_parts(joined: None, tmp_path: Path) -> None:
    _, teacher, _, searched, verdict, best, refused, report = run("own_parts.ipynb", tmp_path)
    assert float(teacher[-1]["data"][PLAIN]) > 0.8
    assert "16 of 16 trials begun" in live_view(searched)
    assert [line.split("}")[0] for line in said(verdict).splitlines()] == [
        "{'data.source': 'clean'",
        "{'data.source': 'noisy'",
    ]
    assert "'train.lr'" in best[0]["data"][PLAIN]
    assert "teacher" in said(refused)
    assert pages(report)[0].startswith("<iframe")


def test_reading_results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    results = synthetic.write_folder(tmp_path)
    monkeypatch.setenv("RESULTS", str(results))
    cells = write(tmp_path)["cells"]
    first, answer, gains, *_, curves, _ = run("reading_results.ipynb", tmp_path)
    assert len(pages(gains)) == len(pages(answer)) == 1
    assert sum(pages(answer)[0].count(f"<td>{word}</td>") for word in {cell["word"] for cell in cells}) == len(cells)
    for cell in cells:
        assert f"<td>{cell['gain']['mean']:.3f}</td>" in pages(gains)[0]
    assert "image/png" in curves[-1]["data"]
    assert first

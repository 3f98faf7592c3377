"""A result folder in, verdict.json and report.html out."""

import json
from pathlib import Path
from typing import Any

from tune_kd.names import REPORT_FILE, VERDICT_FILE
from tune_kd.storage.files import replace
from tune_kd.summary.importances import importances
from tune_kd.summary.page import pngs
from tune_kd.summary.page.report import report
from tune_kd.summary.results import Results, read
from tune_kd.summary.verdict import judge


def write(folder: Path) -> dict[str, Any]:
    """Judge a folder's results anew, write verdict and report into it, return the verdict."""
    results = read(folder)
    verdict = _judged(results)
    verdict["importances"] = importances(results.study, results.trials)
    text = json.dumps(verdict, indent=2, allow_nan=False, ensure_ascii=False) + "\n"
    replace(folder / VERDICT_FILE, text.encode())
    replace(folder / REPORT_FILE, report(results, verdict).encode())
    return verdict


def figures(folder: Path) -> dict[str, bytes]:
    """The main figures of a folder's results as PNG, by file name."""
    results = read(folder)
    return pngs.figures(_judged(results), results.trials)


def judged(folder: Path) -> dict[str, Any]:
    """The verdict on a folder's results; nothing is written."""
    return _judged(read(folder))


def _judged(results: Results) -> dict[str, Any]:
    return judge(results.study, results.trials, results.finals, results.teacher, results.facts)

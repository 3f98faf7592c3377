"""A result folder in, verdict.json and report.html out."""

import json
import os
from pathlib import Path
from typing import Any

from tune_kd.names import REPORT_FILE, VERDICT_FILE
from tune_kd.summary import pngs
from tune_kd.summary.importances import importances
from tune_kd.summary.report import report
from tune_kd.summary.results import Results, read
from tune_kd.summary.verdict import judge


def write(folder: Path) -> dict[str, Any]:
    """Judge a folder's results anew, write verdict and report into it, return the verdict."""
    results = read(folder)
    verdict = _judged(results)
    verdict["importances"] = importances(results.study, results.trials)
    replace(folder / VERDICT_FILE, json.dumps(verdict, indent=2, allow_nan=False, ensure_ascii=False) + "\n")
    replace(folder / REPORT_FILE, report(results, verdict))
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


def replace(path: Path, text: str) -> None:
    """Write a file so that a reader, or a crash, finds the old text or the new one, never half of it."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with temporary.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)

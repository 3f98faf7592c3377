"""A search in a page of Markdown: MLflow shows it beside the run."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from tune_kd.names import REPORT_FILE
from tune_kd.summary import words

MOST_CELLS: Final = 20
"""MLflow keeps 5,000 signs of a description."""


def description(question: str, study: str, verdict: Mapping[str, Any] | None = None) -> str:
    """The question, the answer where there is one, where to look, and the study as YAML."""
    parts = [f"**{question}**" if question else ""]
    if verdict:
        columns, rows = words.terminal_table(verdict)
        parts += [words.headline(verdict), _table(columns, rows[:MOST_CELLS])]
        parts.append(f"All figures: `{REPORT_FILE}` under *Artifacts*.")
    else:
        parts.append("The search is under way, or was stopped: no verdict yet.")
    parts.append("Trials and finals are this run's children. *Model training* → *Runs* → *Views* has a table of them.")
    parts.append(f"```yaml\n{study}```")
    return "\n\n".join(filter(None, parts))


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)

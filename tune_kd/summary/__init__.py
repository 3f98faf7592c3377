"""Stored results in, answers out: needs neither Ray, MLflow, torch nor the images."""

from tune_kd.summary.description import description
from tune_kd.summary.front import by_point
from tune_kd.summary.published import published_notes, published_table
from tune_kd.summary.verdict import judge
from tune_kd.summary.words import headline, outdone, sentences, terminal_table
from tune_kd.summary.writing import figures, write

__all__ = [
    "by_point",
    "description",
    "figures",
    "headline",
    "judge",
    "outdone",
    "published_notes",
    "published_table",
    "sentences",
    "terminal_table",
    "write",
]

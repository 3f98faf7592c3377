"""Stored results in, answers out: needs neither Ray, MLflow, torch nor the images."""

from tune_kd.summary.description import description
from tune_kd.summary.front import by_point
from tune_kd.summary.published import published_notes, published_table
from tune_kd.summary.verdict import judge
from tune_kd.summary.words import caution, headline, sentences, terminal_table
from tune_kd.summary.writing import figures, write

__all__ = [
    "by_point",
    "caution",
    "description",
    "figures",
    "headline",
    "judge",
    "published_notes",
    "published_table",
    "sentences",
    "terminal_table",
    "write",
]

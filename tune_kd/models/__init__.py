"""Teachers and students, by name."""

from tune_kd.models.registry import build, check, give, names

__all__ = ["build", "check", "give", "names"]

"""Teachers and students, by name."""

from tune_kd.models.registry import build, check, names

__all__ = ["build", "check", "names"]

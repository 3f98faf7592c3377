"""tune_kd: does distillation help here, with which settings, and how sure are you?

import tune_kd
result = tune_kd.search("quickstart", settings={"budget.trials": 6}, out="runs/first")
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tune_kd.api import load as load
    from tune_kd.api import search as search
    from tune_kd.errors import InputError as InputError
    from tune_kd.errors import TuneKDError as TuneKDError
    from tune_kd.result import Result as Result
    from tune_kd.space.study import Study as Study

__version__ = "0.1.0"

_PLACES = {
    "search": "tune_kd.api",
    "load": "tune_kd.api",
    "Result": "tune_kd.result",
    "Study": "tune_kd.space.study",
    "InputError": "tune_kd.errors",
    "TuneKDError": "tune_kd.errors",
}
__all__ = ["InputError", "Result", "Study", "TuneKDError", "load", "search"]


def __getattr__(name: str) -> Any:
    """Imported when it is first asked for: a worker, or `--help`, waits for none of it."""
    if name not in _PLACES:
        raise AttributeError(f"module 'tune_kd' has no attribute {name!r}")
    return getattr(import_module(_PLACES[name]), name)

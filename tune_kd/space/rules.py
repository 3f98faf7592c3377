"""The early-stopping rules by name: a line each. Read before any of them is loaded, since a study names one."""

from collections.abc import Mapping
from typing import Final

RULES: Final[Mapping[str, str]] = {
    "auto": "tune_kd.tuning.rules.auto:Auto",
    "asha": "tune_kd.tuning.rules.halving:Asha",
    "stop": "tune_kd.tuning.rules.halving:Stop",
    "median": "tune_kd.tuning.rules.median:Median",
    "none": "tune_kd.tuning.rules.none:NoStopping",
}

"""What can be asked of the students, by name: a line each. The first is always accuracy; a second one is its cost."""

from collections.abc import Mapping
from typing import Final

OBJECTIVES: Final[Mapping[str, str]] = {
    "accuracy": "tune_kd.tuning.objectives:Accuracy",
    "size": "tune_kd.tuning.objectives:Front",
    "latency": "tune_kd.tuning.objectives:Front",
    "macs": "tune_kd.tuning.objectives:Front",
}

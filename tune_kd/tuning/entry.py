"""One training as the ledger has it: what it is, where it is kept, and what its record says of it."""

import hashlib
import json
from dataclasses import dataclass

from optuna.trial import FrozenTrial

from tune_kd import names
from tune_kd.plan import Arm
from tune_kd.space.schema import TrialConfig
from tune_kd.space.study import Study
from tune_kd.tuning.ranking import kept

NUMBER, SEED, CONFIG, SECONDS, RESULT, ATTEMPTS = "number", "seed", "config", "seconds", "result", "attempts"
REASON, FACTOR = names.STOP_REASON, "share_factor"
ARM, REPEAT, EPOCHS, ROLE = "arm", "repeat", "epochs", "role"
"""What a trial's record in Optuna's storage has beside its reports."""


@dataclass(frozen=True)
class Entry:
    """One training: a trial of an arm, or of a setting of its once more. `id` is Optuna's, unique in the ledger."""

    id: int
    arm: Arm
    number: int
    """Its number in its own Optuna study, which is what the rule counts by."""
    serial: int
    """Its number in the whole search, which is what people see."""
    config: TrialConfig
    seed: int
    role: names.Role

    @property
    def final(self) -> bool:
        return self.role == names.FINAL

    @property
    def key(self) -> str:
        return f"{self.role}-{self.serial}"

    @property
    def saved(self) -> str:
        """Its checkpoint in the storage.

        What is trained is part of the name. A search that goes on elsewhere begins with a copy of its ledger that is
        some seconds old, but with all checkpoints: it may give a number out again, with another configuration, which
        must not go on from those weights.
        """
        trained = json.dumps([self.arm.key, self.config, self.seed], sort_keys=True)
        return f"{names.CHECKPOINT_DIR}/{self.key}-{hashlib.sha256(trained.encode()).hexdigest()[:8]}.pt"


def best_weights(saved: str) -> str:
    """Where a final leaves the weights that were tested, beside its checkpoint."""
    return saved.removesuffix(".pt") + ".best"


def best_value(trial: FrozenTrial) -> float:
    return max(trial.intermediate_values.values())


def kept_value(study: Study, trial: FrozenTrial) -> float:
    """The validation accuracy of the weights that a training keeps: what a trial is worth, and a final tested with."""
    return kept(trial, study.train.keep)

"""Which of an arm's settings is the best, on validation images only: by its trial, and by what confirms it.

One seed chooses badly: the best of many trials is also the luckiest. So the few best can be trained again on other
seeds (`budget.confirm`), and the mean decides; a training that fails has reached nothing.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING

from optuna.trial import FrozenTrial, TrialState

from tune_kd import names
from tune_kd.plan import Arm, Plan
from tune_kd.space.designs import called
from tune_kd.space.schema import TrialConfig

if TYPE_CHECKING:
    from tune_kd.tuning.entry import Entry
    from tune_kd.tuning.ledger import Ledger


@dataclass(frozen=True)
class Tried:
    """A setting that was tried, and what it reached: first in its trial, then on the seeds that confirm it."""

    entry: "Entry"
    trial: FrozenTrial
    shown: float
    confirmed: Sequence[float]

    @property
    def value(self) -> float:
        return fmean([self.shown, *self.confirmed])

    @property
    def trained(self) -> int:
        return max(self.trial.intermediate_values)


def kept(trial: FrozenTrial, keep: str) -> float:
    """Chosen by what will be tested: the weights of the best epoch, or of the last one."""
    values = trial.intermediate_values
    return values[max(values)] if keep == "last" else max(values.values())


def ranked(ledger: "Ledger", arm: Arm, model: str | None = None) -> list[Tried]:
    """The best first: those that trained furthest, of those the ones that were confirmed, and of those by value."""
    confirmed = _confirmed(ledger, arm)
    found = [
        Tried(entry, trial, kept(trial, ledger.keep), confirmed[str(entry.config)])
        for entry, trial in ledger.entries(arm)
        if trial.intermediate_values and trial.state != TrialState.FAIL and model in (None, called(entry.config))
    ]
    return sorted(found, key=lambda one: (-one.trained, not one.confirmed, -one.value, one.entry.number))


def to_confirm(ledger: "Ledger", plan: Plan, arm: Arm) -> list[TrialConfig]:
    """The settings that are trained again: the few best that have trained to the end; of each model, for a front."""
    budget = plan.study.budget
    configs: list[TrialConfig] = []
    for model in ledger.objective.models or (None,):
        whole = [one for one in ranked(ledger, arm, model) if one.trained == budget.epochs]
        best = sorted(whole, key=lambda one: (-one.shown, one.entry.number))[: budget.confirm]
        # Of one alone there is nothing to choose.
        configs += [one.entry.config for one in best] if len(best) > 1 else []
    return configs


def changes(ledger: "Ledger", plan: Plan) -> list[str]:
    """Where confirming has chosen another setting, in words."""
    told = []
    for arm in plan.arms:
        for model in ledger.objective.models or (None,):
            found = ranked(ledger, arm, model)
            if not found or not found[0].confirmed:
                continue
            first = max(found, key=lambda one: (one.trained, one.shown, -one.entry.number))
            if first != found[0]:
                told.append(
                    f"{arm.key}: trial {first.entry.serial} reached {first.shown:.1%} on its first seed but "
                    f"{first.value:.1%} over {1 + len(first.confirmed)}; trial {found[0].entry.serial} with "
                    f"{found[0].value:.1%} goes to the finals"
                )
    return told


def _confirmed(ledger: "Ledger", arm: Arm) -> defaultdict[str, list[float]]:
    """What settings reached on other seeds; one that time cut short says nothing."""
    found: defaultdict[str, list[float]] = defaultdict(list)
    for entry, trial in ledger.again(names.CONFIRMATION, arm):
        if trial.state == TrialState.FAIL:
            found[str(entry.config)].append(0.0)
        elif trial.state == TrialState.COMPLETE:
            found[str(entry.config)].append(kept(trial, ledger.keep))
    return found

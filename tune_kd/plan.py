"""A study expanded: which cells and arms, how many trials and epochs; what `--plan` prints and tuning follows."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tune_kd import names
from tune_kd.space.designs import front_models
from tune_kd.space.study import Study, cells, constants, searched_keys
from tune_kd.tuning.objectives import objective_of
from tune_kd.tuning.rules import rule_named


def counted(count: int, what: str) -> str:
    return f"{count:,} {what}{'s' * (count != 1)}"


Cell = Mapping[str, Any]


@dataclass(frozen=True)
class Arm:
    """One side of a comparison: all trials that are compared with each other."""

    number: int
    name: str
    cell: Cell

    @property
    def key(self) -> str:
        return f"{label(self.cell)} · {self.name}" if self.cell else self.name


@dataclass(frozen=True)
class Plan:
    study: Study
    cells: tuple[Cell, ...]
    arms: tuple[Arm, ...]

    def arm(self, cell: Cell, name: str) -> Arm | None:
        """The arm that answers for a cell; cells that differ only in how they distil share one scratch arm."""
        wanted = own_cell(cell, name)
        return next((arm for arm in self.arms if arm.name == name and arm.cell == wanted), None)

    def rivals(self, arm: Arm) -> tuple[Arm, ...]:
        """The arms that it is compared with in some cell."""
        others = names.CONTROLS if arm.name == names.DISTILLED else (names.DISTILLED,)
        shared = [self.arm(cell, name) for cell in self.cells if self.arm(cell, arm.name) == arm for name in others]
        return tuple({rival.number: rival for rival in shared if rival}.values())

    @property
    def trials(self) -> int:
        return sum(self.trials_of(arm) for arm in self.arms)

    def trials_of(self, arm: Arm) -> int:
        """An arm in which nothing is searched has one configuration, and its finals say all there is to say of it."""
        return self.study.budget.trials if searched_keys(self.study, arm.name) else 0

    @property
    def finals(self) -> int:
        """With two objectives, how many there are at most: the front is not known before the search."""
        return len(self.arms) * self.finals_of_arm

    @property
    def finals_of_arm(self) -> int:
        return self.study.budget.repeats * max(1, len(front_models(self.study)))

    @property
    def confirmations_of_arm(self) -> int:
        """At most: fewer trials than are to be confirmed may have trained to the end."""
        return self.study.budget.confirmations * max(1, len(front_models(self.study)))

    @property
    def epochs(self) -> int:
        """Epochs of training to expect, finals included."""
        searching = sum(map(bool, map(self.trials_of, self.arms)))
        again = self.finals + searching * self.confirmations_of_arm
        return searching * expected_epochs(self.study) + again * self.study.budget.epochs


def make(study: Study) -> Plan:
    every = cells(study)
    arms: list[Arm] = []
    for cell in every:
        controls = study.controls if study.control else ()
        for name, own in [(names.DISTILLED, cell), *((name, own_cell(cell, name)) for name in controls)]:
            if not any(arm.name == name and arm.cell == own for arm in arms):
                arms.append(Arm(len(arms), name, own))
    return Plan(study, every, tuple(arms))


def own_cell(cell: Cell, name: str) -> Cell:
    """The arm's: one without a teacher serves cells that differ only in how they distil."""
    return cell if name in names.TAUGHT else control_cell(cell)


def control_cell(cell: Cell) -> Cell:
    """What of a cell matters to a student without a teacher."""
    return {key: level for key, level in cell.items() if not key.startswith(names.TAUGHT_KEYS)}


def constants_of(study: Study) -> dict[str, Any]:
    """What every trial has in common."""
    varied = {*study.conditions, *study.search}
    return {key: value for key, value in constants(study).items() if key not in varied}


def label(cell: Cell) -> str:
    """A cell in words, without the sections that only the YAML needs: 'source=drawn, size=100'."""
    # A teacher's epochs are not to be taken for the students'.
    short = {key: key if key.startswith("teacher.") else key.partition(".")[2] or key for key in cell}
    return ", ".join(f"{short[key]}={level}" for key, level in cell.items())


def expected_epochs(study: Study) -> int:
    """Epochs an arm's trials train, as the study's rule for early stopping goes."""
    return rule_named(study.budget.early_stopping).expected_epochs(study.budget, objective_of(study))

"""What a search knows of earlier ones: looked up once, before it begins, and kept with it for when it goes on."""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tune_kd import names
from tune_kd.plan import Plan
from tune_kd.space.domains import Grid
from tune_kd.space.study import Study
from tune_kd.storage.files import replace
from tune_kd.tuning import experience
from tune_kd.tuning.forecast import Forecast, Past
from tune_kd.tuning.ledger import Ledger
from tune_kd.tuning.rules import rule_named


@dataclass(frozen=True)
class Remembered:
    searches: int = 0
    first: tuple[Mapping[str, Any], ...] = ()
    """Settings to try first."""
    arms: tuple[Past, ...] = ()

    @classmethod
    def of(
        cls, study: Study, folder: Path, resume: bool, noted: Callable[[str], None] = lambda text: None
    ) -> "Remembered":
        """One that goes on knows what it knew, also where others have ended since."""
        kept = folder / names.EXPERIENCE_FILE
        if resume and kept.exists():
            told = json.loads(kept.read_text(encoding="utf-8"))
            return cls(told["searches"], tuple(told["first"]), tuple(map(experience.as_past, told["arms"])))
        place = experience.place(study.budget.experience)
        if place is None or resume:
            return cls()
        found = experience.relatives(place, experience.likeness(study), noted)
        arms = [arm for search in found for arm in search.arms]
        # A grid is tried whole, and nothing else.
        whole = any(isinstance(domain, Grid) for domain in study.search.values())
        return cls(len(found), () if whole else tuple(experience.best_settings(arms, study)), tuple(arms))

    def write(self, folder: Path) -> None:
        if self.searches:
            replace(folder / names.EXPERIENCE_FILE, json.dumps(asdict(self)).encode())

    def warmed(self, study: Study) -> Study:
        """What the study itself wants tried first comes before."""
        return study.model_copy(update={"first": (*study.first, *self.first)})

    def forecast(self, study: Study) -> Forecast | None:
        marks = rule_named(study.budget.early_stopping).marks(study.budget)
        taught = any(arm.ran_through for arm in self.arms) and study.budget.early_stopping == "auto"
        return Forecast(self.arms, [mark / study.budget.epochs for mark in marks]) if taught and marks else None

    def changed(self, plan: Plan, stopped: int) -> Sequence[str]:
        """What it did in this search, in words."""
        if not self.searches:
            return []
        earlier = "1 earlier search" if self.searches == 1 else f"{self.searches} earlier searches"
        first = "1 setting of {} was" if len(self.first) == 1 else f"{len(self.first)} settings of {{}} were"
        told = [f"{first.format(earlier)} tried first in each arm"] if self.first else []
        if stopped:
            were = "was" if stopped == 1 else "were"
            told.append(f"{stopped} of {plan.trials} trainings {were} stopped by a forecast learned from {earlier}")
        return told or [f"{earlier} of the same student on the same images had nothing to say"]


def leave(plan: Plan, ledger: Ledger) -> str:
    """What the search was, for later ones; why not, where that cannot be written."""
    study = plan.study
    place = experience.place(study.budget.experience)
    if place is None:
        return ""
    try:
        ended = time.strftime("%Y-%m-%d %H:%M:%S")
        experience.keep(place, experience.likeness(study), ledger.search_id, ended, experience.left_by(plan, ledger))
    except OSError as error:
        return f"what this search found could not be kept in {place} ({error.strerror}); see budget.experience."
    return ""

"""What a search wants of its students, as one object: what is best, what goes to the finals, what the sampler sees.

With a second objective the cost is a fact of the student's model alone. So a front is a choice among a few models, each
at its best settings, and nothing that is searched beside the model can move a trial along the cost.
"""

import importlib
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from tune_kd.space.designs import front_models
from tune_kd.space.objectives import OBJECTIVES
from tune_kd.space.schema import Budget
from tune_kd.space.study import Study
from tune_kd.tuning.fronts import Point, front, ranks
from tune_kd.tuning.standing import FrontStanding, Standing

One = TypeVar("One")
Best = Callable[[str | None], tuple[One, float] | None]
"""An arm's best trial and its accuracy: of all, or of those of one model; none where there is none."""


class Objective(ABC):
    values: Callable[[Mapping[int, Point]], Mapping[int, float]] | None = None
    """What the sampler is told of trials with these costs and accuracies, where not simply their accuracies."""

    def __init__(self, study: Study) -> None:
        self.models = front_models(study)
        """Each must be tried, and what it costs be known."""
        self.keep = study.train.keep
        """Which epoch a training is worth: its best, or its last."""

    def complete(self, budget: Budget) -> int:
        """Trials that train to the end at least: a ninth, no fewer than 3, and one for each model of a front."""
        least = max(3, math.ceil(budget.trials / 9), len(self.models), budget.confirm)
        return budget.complete or min(budget.trials, least)

    def good(self, count: int) -> int:
        """How many of so many trials TPE takes for good ones: its usual tenth, no fewer than a whole front can have."""
        return max(min(math.ceil(0.1 * count), 25), min(len(self.models), count // 2))

    def rivals_first(self) -> bool:
        """Whether an arm's finals depend on what the arms found that it is compared with."""
        return False

    @abstractmethod
    def standing(self, costs: Mapping[int, float]) -> Standing:
        """Compares trials that have come to the same epoch; `costs` by the trials' numbers."""

    @abstractmethod
    def finalists(self, own: Best[One], rivals: Sequence[Best[One]], costs: Mapping[str, float]) -> list[One]:
        """The trials of an arm whose settings are retrained on new seeds and tested."""


class Accuracy(Objective):
    """One objective: the most accurate is the best, and goes to the finals."""

    def standing(self, costs: Mapping[int, float]) -> Standing:
        return Standing()

    def finalists(self, own: Best[One], rivals: Sequence[Best[One]], costs: Mapping[str, float]) -> list[One]:
        best = own(None)
        return [best[0]] if best else []


class Front(Objective):
    """Accuracy against a cost: which models no other beats in both, each at its best settings."""

    def __init__(self, study: Study) -> None:
        super().__init__(study)
        self.values = by_rank

    def standing(self, costs: Mapping[int, float]) -> Standing:
        return FrontStanding(costs)

    def rivals_first(self) -> bool:
        """A gain needs both arms at the same model: what is on either front is retrained in both."""
        return True

    def finalists(self, own: Best[One], rivals: Sequence[Best[One]], costs: Mapping[str, float]) -> list[One]:
        wanted = dict.fromkeys(model for best in (own, *rivals) for model in self._front(best, costs))
        return [best[0] for model in wanted if (best := own(model))]

    def _front(self, best: Best[One], costs: Mapping[str, float]) -> list[str]:
        """The models of one arm, cheapest first."""
        points = {
            place: (costs.get(model, 0.0), found[1])
            for place, model in enumerate(self.models)
            if (found := best(model))
        }
        return [self.models[place] for place in front(points)]


def by_rank(points: Mapping[int, Point]) -> Mapping[int, float]:
    """Accuracy less the rank of its front.

    TPE needs no more of a value than which trials are the good ones. Ordered like this they are those of the first
    front, then of the second, and so on, which is how multi-objective TPE divides them (Ozaki et al., 2020); within a
    front the more accurate comes first.
    """
    return {number: points[number][1] - rank for number, rank in ranks(points).items()}


def objective_of(study: Study) -> Objective:
    module, _, member = OBJECTIVES[study.objectives[-1]].partition(":")
    found: type[Objective] = getattr(importlib.import_module(module), member)
    return found(study)

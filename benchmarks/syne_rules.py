"""Syne Tune's schedulers, for `benchmarks.replay`, where it is installed: `pip install syne-tune==0.16.0`."""

from abc import abstractmethod
from collections.abc import Mapping
from datetime import datetime
from importlib.util import find_spec
from typing import Any

from tune_kd.space.schema import Budget
from tune_kd.tuning.objectives import Objective
from tune_kd.tuning.rules import Rule
from tune_kd.tuning.rules.rule import NOTHING, Stepwise

VALUE, EPOCH = "accuracy", "epoch"


class SyneTune(Stepwise):
    """One of them, told of every epoch as by its own backend: a trial goes on at once or ends for good.

    What is tried next is the bench's sampler's choice, so the settings that it sees are none.
    """

    def __init__(self, budget: Budget, objective: Objective, costs: Mapping[int, float] = NOTHING) -> None:
        from syne_tune.config_space import uniform

        super().__init__(budget, objective, costs)
        self._scheduler = self.scheduler({"none": uniform(0, 1)})
        self._known: dict[int, Any] = {}
        self._stopped: set[int] = set()

    @abstractmethod
    def scheduler(self, space: Mapping[str, Any]) -> Any:
        """With the settings that its own documentation begins with."""

    @classmethod
    def marks(cls, budget: Budget) -> tuple[int, ...]:
        return tuple(range(1, budget.epochs))

    def reported(self, number: int, epoch: int, value: float) -> None:
        from syne_tune.backend.trial_status import Trial

        super().reported(number, epoch, value)
        if number not in self._known:
            self._known[number] = Trial(number, {"none": 0.5}, datetime.now())
            self._scheduler.on_trial_add(self._known[number])
        if epoch < self.last:
            answer = self._scheduler.on_trial_result(self._known[number], {VALUE: value, EPOCH: epoch})
            self._stopped |= {number} if answer == "STOP" else set()

    def stops(self, number: int) -> bool:
        return number in self._stopped


class Asha(SyneTune):
    def scheduler(self, space: Mapping[str, Any]) -> Any:
        from syne_tune.optimizer.schedulers.asha import AsynchronousSuccessiveHalving

        return AsynchronousSuccessiveHalving(
            dict(space), VALUE, do_minimize=False, time_attr=EPOCH, max_t=self.last, random_seed=0
        )


class Median(SyneTune):
    def scheduler(self, space: Mapping[str, Any]) -> Any:
        from syne_tune.optimizer.schedulers.median_stopping_rule import MedianStoppingRule
        from syne_tune.optimizer.schedulers.single_objective_scheduler import SingleObjectiveScheduler

        asking = SingleObjectiveScheduler(
            dict(space), VALUE, do_minimize=False, searcher="random_search", random_seed=0
        )
        return MedianStoppingRule(asking, EPOCH, metric=VALUE, do_minimize=False)


SYNE: Mapping[str, type[Rule]] = {"syne-asha": Asha, "syne-median": Median} if find_spec("syne_tune") else {}

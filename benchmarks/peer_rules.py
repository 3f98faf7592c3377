"""Other early-stopping rules, for `benchmarks.replay`: what ours is judged against. None of them ships."""

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

from benchmarks.syne_rules import SYNE
from tune_kd.space.rules import RULES
from tune_kd.space.schema import Budget
from tune_kd.tuning.objectives import Objective
from tune_kd.tuning.rules import GoOn, Rule, rule_named
from tune_kd.tuning.rules.rule import NOTHING

FINISHED = 3
"""How many of the best are finished after everybody has had a few epochs (arXiv 2404.04111)."""

REDUCTION = 3


class Epochs(Rule):
    """Train all for a few epochs, then finish the best."""

    first = 1

    @property
    def begin(self) -> int:
        return min(self.first, self.last)

    def onward(self) -> GoOn | None:
        return None

    def leftover(self) -> GoOn | None:
        if any(self.epochs[number] < self.begin for number in self.live):
            return None  # all are compared with all
        waiting = sorted(self.waiting, key=lambda number: (-self.best[number], number))
        begun = sum(epoch > self.begin or number in self.live for number, epoch in self.epochs.items())
        if not waiting or begun >= min(FINISHED, self.trials):
            return None
        return GoOn(waiting[0], self.last, 1)


class RayAsha(Rule):
    """Ray's own bracket, asked at each of its milestones: a trial goes on at once or ends for good."""

    first = 1

    def __init__(self, budget: Budget, objective: Objective, costs: Mapping[int, float] = NOTHING) -> None:
        from ray.tune.schedulers.async_hyperband import _Bracket

        super().__init__(budget, objective, costs)
        grace = min(self.first, self.last)
        self._bracket = _Bracket(min_t=grace, max_t=self.last, reduction_factor=4, s=0)
        self._milestones = sorted(int(rung[0]) for rung in self._bracket._rungs if rung[0] < self.last)
        self._stopped: set[int] = set()

    @property
    def begin(self) -> int:
        return self._milestones[0] if self._milestones else self.last

    def reported(self, number: int, epoch: int, value: float) -> None:
        super().reported(number, epoch, value)
        if epoch in self._milestones:
            answer = self._bracket.on_result(SimpleNamespace(trial_id=str(number)), epoch, value)
            if answer == "STOP":
                self._stopped.add(number)

    def stops(self, number: int) -> bool:
        return number in self._stopped

    def onward(self) -> GoOn | None:
        number = max(self.waiting, key=lambda number: (self.epochs[number], -number), default=None)
        if number is None:
            return None
        until = next((m for m in self._milestones if m > self.epochs[number]), self.last)
        return GoOn(number, until, until)


class Hyperband(Rule):
    """As published: brackets of successive halving, from many short trainings to few whole ones, each synchronous."""

    def __init__(self, budget: Budget, objective: Objective, costs: Mapping[int, float] = NOTHING) -> None:
        super().__init__(budget, objective, costs)
        most = 0
        while REDUCTION ** (most + 1) <= self.last:
            most += 1
        sizes = {s: -(-(most + 1) * REDUCTION**s // (s + 1)) for s in range(most, -1, -1)}
        self._brackets = [s for s, size in sizes.items() for _ in range(size)]
        self._order: dict[int, int] = {}
        """By the trial's number: the how-manieth it is."""
        self._shown: dict[tuple[int, int], float] = {}

    def reported(self, number: int, epoch: int, value: float) -> None:
        super().reported(number, epoch, value)
        self._shown[number, epoch] = self.best[number]

    def asked(self, number: int, config: Mapping[str, Any] = NOTHING) -> None:
        super().asked(number, config)
        self._order.setdefault(number, len(self._order))

    def _rungs(self, number: int) -> list[int]:
        s = self._bracket(number)[1]
        return [max(1, self.last // REDUCTION**k) for k in range(s, -1, -1)]

    def _bracket(self, number: int) -> tuple[int, int]:
        turn, place = divmod(self._order[number], len(self._brackets))
        return turn, self._brackets[place]

    def _mates(self, number: int) -> list[int]:
        return [mate for mate in self.epochs if self._bracket(mate) == self._bracket(number)]

    @property
    def begin(self) -> int:
        return self._rungs(next(reversed(self.epochs)))[0]

    def onward(self) -> GoOn | None:
        return None

    def leftover(self) -> GoOn | None:
        for number in sorted(self.waiting):
            rungs = self._rungs(number)
            at = rungs.index(self.epochs[number])
            coming = self._let_through(self._mates(number), rungs, at)
            if all((mate, rungs[at]) in self._shown for mate in coming) and number in self._best(coming, rungs[at]):
                return GoOn(number, rungs[at + 1], at + 1)
        return None

    def _let_through(self, mates: list[int], rungs: list[int], at: int) -> list[int]:
        """Those of a bracket that come to a rung."""
        for rung in rungs[:at]:
            mates = self._best(mates, rung)
        return mates

    def _best(self, mates: list[int], rung: int) -> list[int]:
        ranked = sorted(mates, key=lambda mate: (-self._shown.get((mate, rung), 0.0), mate))
        return ranked[: max(1, len(mates) // REDUCTION)]


def _with_first(kind: type[Rule], first: int) -> type[Rule]:
    return type(f"{kind.__name__}{first}", (kind,), {"first": first})


PEERS: Mapping[str, type[Rule]] = {
    **{f"epochs-{first}": _with_first(Epochs, first) for first in (1, 3, 9)},
    **{f"ray-asha-{first}": _with_first(RayAsha, first) for first in (1, 3)},
    "hyperband": Hyperband,
    **SYNE,
}


def rule_by_name(name: str) -> type[Rule]:
    return PEERS[name] if name in PEERS else rule_named(name)


def known() -> tuple[str, ...]:
    return (*RULES, *PEERS)

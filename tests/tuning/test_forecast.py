"""What earlier searches teach: it ranks where it has shown that it can, and nowhere else."""

import math
import random
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from tests.tuning.test_auto import made
from tune_kd.tuning.forecast import Forecast, Past, rank_skill, share_of
from tune_kd.tuning.rules.auto import Auto

RUNGS = [mark / 27 for mark in (1, 2, 4, 8, 16)]


def curve(rate: float, noise: float) -> tuple[float, ...]:
    """Small rates win in the end; what is ahead at first is chance."""
    end = 0.5 - 0.1 * math.log10(rate)
    early = 0.1 + noise
    return tuple(early + (end - early) * (epoch / 27) for epoch in range(1, 28))


def past(seed: int, trials: int = 30, whole: bool = True, settings: bool = True) -> Past:
    luck = random.Random(seed)
    rates = [10 ** luck.uniform(-4, -1) for _ in range(trials)]
    curves = [curve(rate, 0.3 * luck.random()) for rate in rates]
    cut = curves if whole else [each[: luck.choice([1, 2, 27, 27])] for each in curves]
    configs = tuple({"train.lr": rate, "augment.kind": "none"} if settings else {} for rate in rates)
    return Past(f"cell {seed}", "scratch", 27, configs, tuple(cut))


@pytest.mark.parametrize("pasts", [1, 4])
def test_settings_that_win_late_are_known_from_relatives(pasts: int) -> None:
    forecast = Forecast([past(seed, 60) for seed in range(pasts)], RUNGS)
    seen = past(99).seen(RUNGS[0])
    skill = rank_skill(forecast.scores("scratch", 0, seen.configs, seen.bests), seen.ends)
    assert skill > rank_skill(seen.bests[:, 1], seen.ends) + 0.1
    assert forecast.worth(0) is not None


def test_an_arm_whose_trainings_were_stopped_teaches_nothing() -> None:
    stopped = [past(seed, 60, whole=False) for seed in range(4)]
    assert Forecast(stopped, RUNGS).worth(0) is None
    few = past(1)
    nearly = replace(few, curves=(few.curves[0][:9], *few.curves[1:]))
    assert nearly.ran_through is not None
    assert len(nearly.ran_through.configs) == len(few.configs) - 1


def test_a_forecast_counts_as_much_as_the_later_rung_that_it_is_as_good_as() -> None:
    worth = Forecast([past(seed) for seed in range(4)], RUNGS).worth(0)
    assert worth is not None
    assert worth >= 2


def test_what_knows_no_more_than_the_curves_has_no_vote() -> None:
    forecast = Forecast([past(seed, settings=False) for seed in range(4)], RUNGS)
    assert forecast.worth(4) is None


def test_it_loses_its_vote_where_the_arm_shows_otherwise() -> None:
    forecast = Forecast([past(seed) for seed in range(2)], RUNGS)
    assert forecast.worth(1) is not None
    assert forecast.worth(1, own=-1.5) is None


def test_few_trainings_teach_nothing_and_break_nothing() -> None:
    for pasts in ([past(0, trials=3)], [past(0, trials=1), past(1, trials=2)]):
        assert Forecast(pasts, RUNGS).worth(0) is None


def test_the_same_experience_says_the_same() -> None:
    new = past(99)
    seen = new.seen(RUNGS[0])
    once, again = (
        Forecast([past(seed) for seed in range(3)], RUNGS).scores("scratch", 0, new.configs, seen.bests)
        for _ in range(2)
    )
    assert np.array_equal(once, again)


def test_equal_values_share_their_place() -> None:
    assert share_of(np.array([3.0, 1.0, 3.0, 7.0])).tolist() == [0.5, 0.125, 0.5, 0.875]


def test_a_rule_follows_a_forecast_that_has_its_vote_and_narrows_faster() -> None:
    new = past(99, trials=18)
    plain, taught = narrowed(new, []), narrowed(new, [past(seed) for seed in range(4)])
    assert sum(taught.epochs.values()) < sum(plain.epochs.values())
    assert 0 == plain.forecast_stopped < taught.forecast_stopped <= 17
    assert max(new.curves[n][-1] for n in whole(taught)) >= max(new.curves[n][-1] for n in whole(plain))
    assert narrowed(new, [past(seed) for seed in range(4)]).epochs == taught.epochs
    assert narrowed(new, [past(seed, settings=False) for seed in range(4)]).epochs.keys() == plain.epochs.keys()


def test_the_sampler_hears_of_a_forecast_that_has_its_vote() -> None:
    new, pasts = past(99, trials=18), [past(seed) for seed in range(4)]

    def begun(rule: Auto, pasts: Sequence[Past], trials: int = 18) -> Auto:
        rule.arm, rule.forecast = new.arm, Forecast(pasts, RUNGS) if pasts else None
        for number in range(trials):
            rule.asked(number, new.configs[number])
            rule.reported(number, 1, new.curves[number][0])
        return rule

    foreseen = begun(made(18), pasts).foreseen()
    assert foreseen.keys() == set(range(18))
    ends = np.array([curve[-1] for curve in new.curves])
    told = np.array([foreseen[number] for number in range(18)])
    assert rank_skill(told, ends) > rank_skill(np.array([curve[0] for curve in new.curves]), ends) + 0.1
    deaf = [past(seed, whole=False) for seed in range(4)]
    assert not begun(made(18), []).foreseen()
    assert not begun(made(18), deaf).foreseen()
    assert not begun(made(18), pasts, trials=3).foreseen()


def narrowed(told: Past, pasts: Sequence[Past]) -> Auto:
    rule = made(len(told.curves))
    rule.arm, rule.forecast = told.arm, Forecast(pasts, RUNGS) if pasts else None
    while (step := rule.next()) not in ("wait", "done"):
        number, until = (len(rule.epochs), rule.begin) if isinstance(step, str) else (step.number, step.until)
        rule.asked(number, told.configs[number])
        for epoch in range(rule.epochs[number] + 1, until + 1):
            rule.reported(number, epoch, told.curves[number][epoch - 1])
        if until == rule.last:
            rule.finished(number)
    return rule


def whole(rule: Auto) -> set[int]:
    return {number for number, epochs in rule.epochs.items() if epochs == rule.last}

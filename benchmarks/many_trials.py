"""A search of many trials that train nothing: how long, whether it slows down, and what its driver's memory does.

python -m benchmarks.many_trials --trials 10000 --reports 10
"""

import argparse
import sys
from itertools import pairwise
from typing import Any

from benchmarks.driven import Clock, Idle, Search, connected, idle_study, scratch
from benchmarks.measuring import Figure, Result, median, own_mb, parser, report, require_equal

BLOCKS = 10
ALLOWED_MINUTES = 10.0
SLOWDOWN = 1.2
KB_PER_TRIAL = 10.0


def main() -> int:
    flags = parser(__doc__, rounds=1)
    flags.add_argument("--trials", type=int, default=10_000)
    flags.add_argument("--reports", type=int, default=10, help="epochs that each trial reports")
    flags.add_argument("--sampler", choices=("tpe", "random"), default="tpe")
    flags.add_argument("--address", help="a Ray that runs already, with two processors")
    given = flags.parse_args()
    return report("many_trials", given, lambda: measure(given))


def measure(given: argparse.Namespace) -> Result:
    runs = []
    for _ in range(given.rounds):
        with connected(given.address) as cpu:
            runs.append(once(given, cpu))
    full = given.trials >= 10_000
    figures = {
        "minutes": Figure(median([run["seconds"] for run in runs]) / 60, "min", at_most=ALLOWED_MINUTES),
        "ms a trial": Figure(median([run["seconds"] for run in runs]) * 1000 / given.trials, "ms"),
        "last ÷ first tenth of the trials": Figure(median([run["slowdown"] for run in runs]), at_most=SLOWDOWN),
        "driver's memory a trial": Figure(median([run["kb_per_trial"] for run in runs]), "KB", at_most=KB_PER_TRIAL),
    }
    if not full:
        figures["minutes"] = Figure(figures["minutes"].value, "min", note=f"{given.trials} trials only")
    settings = {key: getattr(given, key) for key in ("trials", "reports", "sampler")}
    return Result(settings, figures, {"ours": runs}, {"reports": given.trials * given.reports})


def once(given: argparse.Namespace, cpu: float) -> dict[str, Any]:
    """One search; memory is read after each tenth of its trials, the first tenth being the start."""
    memory: list[float] = []
    size = max(1, given.trials // BLOCKS)

    def at_end(done: int) -> None:
        if done % size == 0 and done <= given.trials:
            memory.append(own_mb())

    clock = Clock(at_end=at_end)
    study = idle_study(given.trials, given.reports, cpu, given.sampler)
    with scratch() as folder:
        search = Search.of(study, folder)
        seconds = search.conduct(None, Idle(0.0), clock, teacher=None)
        finals = sum(1 for _ in search.ledger.all_finals())
    require_equal("reports", wanted=(given.trials + finals) * given.reports, heard=clock.reports)
    ends = sorted(at for key, at in clock.done.items() if key.startswith("trial"))
    marks = [min(clock.began.values()), *ends[size - 1 :: size]]
    blocks = [after - before for before, after in pairwise(marks)]
    # The first block has the start of the processes in it, which is no slowness of the search.
    blocks[0] = (ends[size - 1] - ends[0]) * size / max(1, size - 1)
    return {
        "seconds": seconds,
        "seconds_per_tenth": blocks,
        "slowdown": blocks[-1] / blocks[0],
        "driver_own_mb": memory,
        "kb_per_trial": (memory[-1] - memory[0]) * 1024 / (given.trials - size),
    }


if __name__ == "__main__":
    sys.exit(main())

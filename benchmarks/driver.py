"""What the search's own decisions cost: conductor, ledger and sampler, without Ray and without training.

    python -m benchmarks.driver --trials 10000

CPU-seconds, so that a busy machine says the same. What Ray Tune takes beside that is in `many_trials`.
"""

import argparse
import sys
import time
from itertools import pairwise
from typing import Any

from benchmarks.driven import Clock, idle_study, scratch
from benchmarks.measuring import Figure, Result, median, own_mb, parser, report, require_equal
from tune_kd import names, plan
from tune_kd.tuning.conductor import OK, OUTCOME, Conductor
from tune_kd.tuning.ledger import Ledger

SLOWDOWN, MILLISECONDS, KB_PER_TRIAL = 1.2, 10.0, 10.0
TENTHS = 10


def main() -> int:
    flags = parser(__doc__, rounds=1)
    flags.add_argument("--trials", type=int, default=10_000)
    flags.add_argument("--reports", type=int, default=10, help="epochs that each trial reports")
    given = flags.parse_args()
    return report("driver", given, lambda: measure(given))


def measure(given: argparse.Namespace) -> Result:
    runs = [once(given.trials, given.reports) for _ in range(given.rounds)]
    figures = {
        "CPU ms a trial": Figure(median([run["ms"] for run in runs]), "ms", at_most=MILLISECONDS),
        "last ÷ first tenth of the trials": Figure(median([run["slowdown"] for run in runs]), at_most=SLOWDOWN),
        "last ÷ second tenth": Figure(median([run["later"] for run in runs])),
        "driver's memory a trial": Figure(median([run["kb"] for run in runs]), "KB", at_most=KB_PER_TRIAL),
    }
    settings = {"trials": given.trials, "reports": given.reports, "sampler": "tpe"}
    return Result(settings, figures, {"ours": runs}, {"reports": given.trials * given.reports})


def once(trials: int, reports: int) -> dict[str, Any]:
    """The trials of one search, one after the other; the first tenth of them is the start, for the memory."""
    todo = plan.make(idle_study(trials, reports, 1, "tpe"))
    clock, marks, memory = Clock(), [time.process_time()], []
    with scratch() as folder:
        conductor = Conductor(todo, Ledger(folder / names.LEDGER_FILE, todo), clock)
        for number in range(1, trials + 1):
            leg = conductor.next()
            assert not isinstance(leg, str)
            for epoch in range(1, leg.until + 1):
                accuracy = leg.entry.config["kd.alpha"] * (1 - 0.5**epoch)
                found = {names.EPOCH: epoch, names.VAL_ACCURACY: accuracy, names.SECONDS: 1.0}
                conductor.reported(leg, found)
            conductor.ended(leg, {OUTCOME: OK})
            if number % (trials // TENTHS) == 0:
                marks.append(time.process_time())
                memory.append(own_mb())
    require_equal("reports", wanted=trials * reports, heard=clock.reports)
    tenths = [after - before for before, after in pairwise(marks)]
    return {
        "ms": 1000 * (marks[-1] - marks[0]) / trials,
        "seconds_per_tenth": tenths,
        "slowdown": tenths[-1] / tenths[0],
        "later": tenths[-1] / tenths[1],
        "kb": (memory[-1] - memory[0]) * 1024 / (trials * (TENTHS - 1) // TENTHS),
    }


if __name__ == "__main__":
    sys.exit(main())

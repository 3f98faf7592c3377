"""How long from the command to the first epoch of a trial, in the study that runs by default.

    python -m benchmarks.first_report

An empty cache, no Ray, a new store; the environment's own files are in memory but in a first round. The command is
stopped as soon as its ledger has a first value. CPU-seconds, which a busy machine changes less, are those of all its
processes.
"""

import argparse
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.driven import scratch
from benchmarks.measuring import ROOT, Figure, Result, median, parser, progress, report, spent
from tune_kd import names

GOAL = 8.0
LIMIT = 300.0
VALUE = b'"intermediate_value"'


def main() -> int:
    flags = parser(__doc__)
    flags.add_argument("--study", default="quickstart")
    given = flags.parse_args()
    return report("first_report", given, lambda: measure(given))


def measure(given: argparse.Namespace) -> Result:
    rounds = []
    for number in range(given.rounds):
        progress(f"round {number + 1} of {given.rounds}")
        rounds.append(once(given.study))
    passed, processors = zip(*rounds, strict=True)
    figures = {
        "from the command to the first report": Figure(median(passed), "s", at_most=GOAL),
        "CPU-seconds until then": Figure(median(processors), "s"),
    }
    return Result({"study": given.study}, figures, {"ours": rounds})


def once(study: str) -> tuple[float, float]:
    with scratch() as folder:
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "TUNE_KD_CACHE": str(folder / "cache")}
        command = [sys.executable, "-m", "tune_kd.search", study, "--out", str(folder / "run")]
        ledger = folder / "run" / names.LEDGER_FILE
        started = time.perf_counter()
        with (folder / "said.txt").open("w+") as said:
            process = subprocess.Popen(
                command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=said, stderr=subprocess.STDOUT
            )
            try:
                while not _has_value(ledger):
                    if process.poll() is not None or time.perf_counter() - started > LIMIT:
                        said.seek(0)
                        raise RuntimeError(f"the search has not reported:\n{said.read()[-2000:]}")
                    time.sleep(0.02)
                return time.perf_counter() - started, spent(process.pid)
            finally:
                process.send_signal(signal.SIGINT)
                process.wait(timeout=120)


def _has_value(ledger: Path) -> bool:
    return ledger.exists() and VALUE in ledger.read_bytes()


if __name__ == "__main__":
    sys.exit(main())

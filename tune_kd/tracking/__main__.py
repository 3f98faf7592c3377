"""`python -m tune_kd.tracking DIR`: deliver to MLflow what a search could not, because the store did not answer."""

import argparse
import sys
from pathlib import Path

from tune_kd.errors import InputError, TuneKDError
from tune_kd.tracking.address import resolve
from tune_kd.tracking.runs import Runs
from tune_kd.tracking.spool import FOLDER, Spool, load
from tune_kd.tracking.writer import Delivery, Writer


def deliver(folder: Path, uri: str | None, seconds: float) -> Delivery:
    """Tell the store all that it has not been told yet. Without `uri`, the store that the search was told to use."""
    folder = folder.absolute()
    folder = folder / FOLDER if (folder / FOLDER).is_dir() else folder
    state = load(folder)
    if state is None:
        raise InputError(f"{folder} holds nothing for MLflow. Give the result folder of a search.")
    runs = Runs(resolve(uri or state.address), state.experiment, state.search, folder)
    spool = Spool(folder)
    writer = Writer(spool, runs, state)
    writer.start()
    outcome = writer.close(seconds)
    spool.close()
    return outcome


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tune_kd.tracking", description=__doc__)
    parser.add_argument("folder", type=Path, metavar="DIR", help="the result folder of a search")
    parser.add_argument("--tracking-uri", metavar="URI", help="default: the address that the search used")
    parser.add_argument("--seconds", type=float, default=600, help="how long to try (default: %(default)s)")
    arguments = parser.parse_args()
    try:
        outcome = deliver(arguments.folder, arguments.tracking_uri, arguments.seconds)
    except TuneKDError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    if outcome.waiting:
        print(f"{outcome.waiting} records still wait: {outcome.reason}", file=sys.stderr)
    if outcome.refused:
        print(f"{outcome.refused} items were refused by MLflow: {outcome.reason}", file=sys.stderr)
    if not outcome.waiting:
        print("Everything is delivered.")
    return 1 if outcome.waiting or outcome.refused else 0


if __name__ == "__main__":
    sys.exit(main())

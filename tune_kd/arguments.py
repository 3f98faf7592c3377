"""The command line of `python -m tune_kd.search`."""

import argparse
from collections.abc import Sequence
from pathlib import Path

DESCRIPTION = "Finds out whether knowledge distillation helps, with which settings, and how sure that is."
EPILOG = """examples:
  python -m tune_kd.search                                   the quickstart: handwritten digits, a few minutes
  python -m tune_kd.search cifar10_tutorial --plan           what a study would do, without doing it
  python -m tune_kd.search my.yaml --set budget.trials=50    another value for any key of the study
  python -m tune_kd.search --name first --resume             go on with the search in runs/first
"""


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tune_kd.search",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("study", nargs="?", metavar="STUDY",
                        help="a study file, or the name of one that ships (default: quickstart)")  # fmt: skip
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="settings",
                        help="another value for a key of the study, e.g. budget.trials=50; repeatable")  # fmt: skip
    parser.add_argument("--name", help="the search's name (default: the study's name and the time)")
    parser.add_argument("--out", type=Path, metavar="DIR", help="folder for the results (default: runs/NAME)")
    parser.add_argument("--storage", metavar="URI",
                        help="where checkpoints and a copy of the results are kept, when several machines work: a "
                        "shared folder, s3://BUCKET/PREFIX or gs://… (default: the results folder)")  # fmt: skip
    parser.add_argument("--tracking-uri", metavar="URI", help="MLflow's address (default: mlflow.db in this folder)")
    parser.add_argument("--experiment", default="tune_kd", help="MLflow's experiment (default: tune_kd)")
    parser.add_argument("--address", metavar="ADDR", help="a Ray cluster's address (default: Ray on this machine)")
    parser.add_argument("--seed", type=int, metavar="N", help="another seed than the study's")
    parser.add_argument("--plan", action="store_true", help="print what would be run and how long; run nothing")
    parser.add_argument("--resume", action="store_true", help="go on with the search in --out or runs/NAME")
    parser.add_argument("--quiet", action="store_true", help="print the verdict only")
    parser.add_argument("--list", action="store_true", help="print the studies that ship")
    return parser.parse_args(arguments)

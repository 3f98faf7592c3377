"""The command line of `python -m tune_kd.search`, read once. Imports nothing heavy: `--help` answers at once."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tune_kd.errors import InputError

EXPERIMENT = "tune_kd"
DESCRIPTION = "Finds out whether knowledge distillation helps, with which settings, and how sure that is."
EPILOG = """examples:
  python -m tune_kd.search                                   the quickstart: handwritten digits, a few minutes
  python -m tune_kd.search cifar10_tutorial --plan           what a study would do, without doing it
  python -m tune_kd.search my.yaml --set budget.trials=50    another value for any key of the study
  python -m tune_kd.search --name first --resume             go on with the search in runs/first
  python -m tune_kd.search --submit http://head:8265         run it on a Ray cluster and watch it from here
"""


@dataclass(frozen=True)
class Options:
    """What was asked for besides the study. Nothing changes it, and nothing else of argparse goes any further."""

    study: str | None = None
    settings: tuple[str, ...] = ()
    name: str | None = None
    out: Path | None = None
    storage: str | None = None
    tracking_uri: str | None = None
    experiment: str = EXPERIMENT
    address: str | None = None
    seed: int | None = None
    plan: bool = False
    resume: bool = False
    quiet: bool = False
    verbose: bool = False
    list: bool = False
    notify: str | None = None
    new: Path | None = None
    data: Path | None = None
    submit: str | None = None
    detach: bool = False
    env: tuple[str, ...] = ()
    status: str | None = None
    logs: str | None = None
    stop: str | None = None
    list_running: bool = False
    nodes: int | None = None
    gpus_per_node: int | None = None
    cpus_per_node: int | None = None
    price_per_gpu_hour: float | None = None

    @property
    def server(self) -> str:
        """The jobs server; asked for only where one was given."""
        assert self.submit is not None
        return self.submit


def parse(arguments: Sequence[str] | None) -> Options:
    words: dict[str, Any] = vars(parser().parse_args(arguments))
    words |= {key: tuple(value) for key, value in words.items() if isinstance(value, list)}
    given = Options(**words)
    _check(given)
    return given


def parser() -> argparse.ArgumentParser:
    """Also what shells complete from, and what the reference is made of."""
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
    parser.add_argument("--experiment", default=EXPERIMENT, help="MLflow's experiment (default: tune_kd)")
    parser.add_argument("--address", metavar="ADDR", 
                        help="a Ray cluster's address (default: RAY_ADDRESS, else Ray on this machine)")  # fmt: skip
    parser.add_argument("--seed", type=int, metavar="N", help="another seed than the study's")
    parser.add_argument("--plan", action="store_true", help="print what would be run and how long; run nothing")
    parser.add_argument("--price-per-gpu-hour", type=_price, metavar="P",
                        help="with --plan: what an hour of a GPU costs, in your money")  # fmt: skip
    parser.add_argument("--resume", action="store_true", help="go on with the search in --out or runs/NAME")
    parser.add_argument("--quiet", action="store_true", help="print the verdict only")
    parser.add_argument("-v", "--verbose", action="store_true",
                        help="everything into the log, search.log in the results, and onto the screen")  # fmt: skip
    parser.add_argument("--list", action="store_true", help="print the studies that ship")
    parser.add_argument("--notify", metavar="URL",
                        help="post JSON there when the search begins, and when it ends or fails")  # fmt: skip
    parser.add_argument("--new", type=Path, metavar="FILE",
                        help="write a first study for the images in --data, and run nothing")  # fmt: skip
    parser.add_argument("--data", type=Path, metavar="FOLDER", help="with --new: images in FOLDER/SOURCE/CLASS/")
    _add_cluster(parser.add_argument_group("on a cluster"))
    return parser


def _add_cluster(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--submit", metavar="ADDR",
                       help="run as a job on the cluster with its dashboard at ADDR: http://head:8265")  # fmt: skip
    group.add_argument("--detach", action="store_true", help="do not wait for the job (with --logs: its log so far)")
    group.add_argument("--env", action="append", default=[], metavar="NAME",
                       help="an environment variable for the job (MLFLOW_* it gets anyway); repeatable")  # fmt: skip
    group.add_argument("--status", metavar="NAME", help="how a submitted search stands")
    group.add_argument("--logs", metavar="NAME", help="watch a submitted search; Ctrl-C leaves it running")
    group.add_argument("--stop", metavar="NAME", help="stop a submitted search, as Ctrl-C would; it can go on later")
    group.add_argument("--list-running", action="store_true",
                       help="print the searches that run on the cluster at --address or --submit")  # fmt: skip
    group.add_argument("--nodes", type=_positive, metavar="N", help="with --plan: so many machines instead of this one")
    group.add_argument("--gpus-per-node", type=_count, metavar="N", help="with --nodes: GPUs of each (default: 0)")
    group.add_argument("--cpus-per-node", type=_positive, metavar="N",
                       help="with --nodes: processors of each (default: as many as here)")  # fmt: skip


def _check(given: Options) -> None:
    """Options that only mean something beside another one."""
    for flag in ("detach", "env", "status", "logs", "stop"):
        if getattr(given, flag) and given.submit is None:
            raise InputError(f"--{flag} is about a search on a cluster: give its address with --submit ADDR.")
    if given.notify and urlsplit(given.notify).scheme not in ("http", "https"):
        raise InputError("--notify: no web address. Give http://HOST/PATH or https://HOST/PATH.")
    if (given.new is None) != (given.data is None):
        raise InputError("--new FILE --data FOLDER: give both, where to write a study and where the images are.")
    if given.submit and given.address:
        raise InputError("--submit and --address: a submitted search joins the cluster it runs on. Keep --submit only.")
    if given.price_per_gpu_hour is not None and not given.plan:
        raise InputError("--price-per-gpu-hour is for --plan: it says what a search would cost. Give --plan too.")
    if given.nodes and not given.plan:
        raise InputError("--nodes is for --plan: it says on how many machines. A search uses those its cluster has.")
    for flag in ("gpus-per-node", "cpus-per-node"):
        if getattr(given, flag.replace("-", "_")) is not None and given.nodes is None:
            raise InputError(f"--{flag} says what each of several machines has: give --nodes N too.")


def _count(text: str) -> int:
    return _whole(text, least=0)


def _positive(text: str) -> int:
    return _whole(text, least=1)


def _price(text: str) -> float:
    try:
        price = float(text)
    except ValueError:
        price = -1.0
    if not 0 <= price < float("inf"):
        raise argparse.ArgumentTypeError(f"'{text}' is not a price such as 2.50")
    return price


def _whole(text: str, least: int) -> int:
    if not text.isdecimal() or int(text) < least:
        raise argparse.ArgumentTypeError(f"'{text}' is not a whole number from {least} up")
    return int(text)

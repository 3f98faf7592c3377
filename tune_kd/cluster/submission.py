"""`--submit`: a search sent to a cluster as a job of Ray's, watched and stopped from here."""

import getpass
import re
import shlex
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from tune_kd import names
from tune_kd.cluster import parcel
from tune_kd.cluster.address import USER
from tune_kd.cluster.jobs import Jobs, exit_code
from tune_kd.errors import InputError
from tune_kd.options import Options
from tune_kd.space.load import load
from tune_kd.space.study import Study
from tune_kd.storage.stores import Storage


def run(given: Options, console: Console) -> int:
    """Does what was asked with the searches at an address; the exit code."""
    jobs = Jobs(given.server)
    if given.status:
        return _show(jobs, given.status, console)
    if given.stop:
        return _stop(jobs, given.stop, given, console)
    if given.logs:
        return _log(jobs, given.logs, given, console)
    if given.list_running:
        return _list_running(jobs)
    name = _submit(jobs, given)
    console.print(f"[bold]{escape(name)}[/] is submitted to {escape(given.server)}.", soft_wrap=True)
    if given.detach:
        console.print(_how_to_look(name, given.server))
        return 0
    return _watch(jobs, name, given, console)


def _submit(jobs: Jobs, given: Options) -> str:
    study = _study(given)
    name = given.name or f"{study.study if study else 'search'}-{time.strftime('%Y%m%d-%H%M%S')}"
    if not re.fullmatch(r"[A-Za-z0-9_.-]+", name):
        raise InputError(f"--name {name}: a submitted search is named in letters, digits, '-', '_' and '.'.")
    _check_storage(given.storage)
    _make_room(jobs, name, given)
    about = {"user": getpass.getuser(), "study": study.study if study else ""}
    with tempfile.TemporaryDirectory(prefix="tune_kd-") as folder:
        parcel.pack(Path(folder), study)
        environment = parcel.environment(given.tracking_uri, given.env) | {USER: about["user"]}
        jobs.submit(name, _command(name, study, given), Path(folder), environment, about)
    return name


def _study(given: Options) -> Study | None:
    """The study with what was set applied; a mistake in it shows here. To go on, the stored one will do."""
    if given.resume and given.study is None:
        if given.name is None and given.out is None:
            raise InputError("--resume: say which search, with --name or --out as it was begun.")
        return None
    seed = [] if given.seed is None else [f"seed={given.seed}"]
    return load(given.study or "quickstart", [*given.settings, *seed])


def _check_storage(address: str | None) -> None:
    if address is None:
        return
    if "://" not in address and not address.startswith(("~", "/")):
        raise InputError(
            f"--storage {address}: this is relative to this folder, and a submitted search runs on the cluster. Give "
            "the whole path of a folder that every node there shares, or s3://BUCKET/PREFIX or gs://BUCKET/PREFIX."
        )
    storage = Storage.at(address)
    if storage.secret:
        raise InputError(
            f"--storage {storage.shown}: everybody on the cluster can read a job's command, so no keys may stand in "
            "the address. Put them into the environment and hand them on: --env AWS_ACCESS_KEY_ID --env "
            "AWS_SECRET_ACCESS_KEY"
        )


def _make_room(jobs: Jobs, name: str, given: Options) -> None:
    """A job's name is used once; one that has ended gives way to the search's next part."""
    before = jobs.find(name)
    if before is None:
        return
    where = f"--submit {shlex.quote(given.server)}"
    if not before.status.is_terminal():
        raise InputError(f"--name {name}: this search is running there. To see it: {where} --logs {name}")
    if exit_code(before) == 0 and not given.resume:
        raise InputError(f"--name {name}: this search has ended there. Give another, or --resume to extend it.")
    jobs.forget(name)


def _command(name: str, study: Study | None, given: Options) -> str:
    """The job's command, for everybody to read: so nothing secret in it."""
    words = [parcel.STUDY_FILE] if study else []
    words += ["--name", name, "--experiment", given.experiment]
    if given.out:
        words += ["--out", str(given.out)]
    if study is None:
        words += [word for setting in given.settings for word in ("--set", setting)]
    if given.storage:
        words += ["--storage", given.storage]
    words += [flag for flag in ("--resume", "--quiet") if getattr(given, flag[2:])]
    return shlex.join(["python", "-m", "tune_kd.search", *words])


def _watch(jobs: Jobs, name: str, given: Options, console: Console) -> int:
    def write(text: str) -> None:
        sys.stdout.write(text)
        sys.stdout.flush()

    def say(text: str) -> None:
        console.print(f"[yellow]note:[/] {escape(text)}")

    try:
        job = jobs.follow(name, write, say)
    except KeyboardInterrupt:
        console.print(f"\n{escape(name)} goes on without you.\n{_how_to_look(name, given.server)}")
        return names.INTERRUPTED
    code = exit_code(job)
    if job.driver_exit_code is None and code == 1:
        say(f"the job failed: {str(job.message).strip()}")
    if code:
        console.print(_how_to_go_on(name, given))
    return code


def _show(jobs: Jobs, name: str, console: Console) -> int:
    job = jobs.get(name)
    started = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime((job.start_time or 0) / 1000))
    ended = f", exit code {exit_code(job)}" if job.status.is_terminal() else ""
    lines = [line for line in jobs.log(name).splitlines() if line.strip()]
    console.print(f"[bold]{escape(name)}[/]  {job.status.value.lower()}{ended}, submitted {started}")
    if lines:
        console.print(f"  {escape(lines[-1].strip())}")
    return 0


def _stop(jobs: Jobs, name: str, given: Options, console: Console) -> int:
    if jobs.get(name).status.is_terminal():
        console.print(f"{escape(name)} has ended already.")
        return 0
    jobs.stop(name)
    console.print(f"{escape(name)} is stopped; everything so far is kept.\n{_how_to_go_on(name, given)}")
    return 0


def _log(jobs: Jobs, name: str, given: Options, console: Console) -> int:
    jobs.get(name)
    if given.detach:
        sys.stdout.write(jobs.log(name))
        return 0
    return _watch(jobs, name, given, console)


def _list_running(jobs: Jobs) -> int:
    """Asked on the cluster itself, where the board is: only the jobs server can be reached from here."""
    name = f"tune_kd-list-{time.time_ns()}"
    with tempfile.TemporaryDirectory(prefix="tune_kd-") as folder:
        parcel.pack(Path(folder), None)
        jobs.submit(name, "python -m tune_kd.search --list-running", Path(folder), {}, {})
    job = jobs.follow(name, lambda text: None, lambda text: None)
    # Before the command's own words Ray writes two lines of its own.
    sys.stdout.write(jobs.log(name).partition("--list-running\n")[2])
    jobs.forget(name)
    return exit_code(job)


def _how_to_look(name: str, address: str) -> str:
    start = f"python -m tune_kd.search --submit {shlex.quote(address)}"
    return f"To see it:   {escape(start)} --logs {name}\nTo stop it:  {escape(start)} --stop {name}"


def _how_to_go_on(name: str, given: Options) -> str:
    command = f"python -m tune_kd.search --submit {shlex.quote(given.server)} --name {name} --resume"
    if given.storage:
        command += f" --storage {shlex.quote(given.storage)}"
    return escape(f"To go on from here:\n  {command}")

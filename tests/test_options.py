"""The command line as an object."""

import dataclasses
import subprocess
import sys
from pathlib import Path

import pytest

from tune_kd.options import Options, parse


def test_what_is_not_given_is_the_default() -> None:
    assert parse([]) == Options()


def test_what_is_given_is_there_and_stays() -> None:
    given = parse(["mine.yaml", "--set", "a=1", "--set", "b=2", "--out", "here", "--seed", "3", "--resume"])
    assert given == Options("mine.yaml", ("a=1", "b=2"), out=Path("here"), seed=3, resume=True)
    with pytest.raises(dataclasses.FrozenInstanceError):
        given.name = "other"  # type: ignore[misc]


def test_only_this_file_reads_argparse() -> None:
    package = Path(__file__).parents[1] / "tune_kd"
    of_other_commands = {"training/predict.py", "summary/__main__.py", "tracking/__main__.py"}
    readers = {
        str(path.relative_to(package)) for path in package.rglob("*.py") if "import argparse" in path.read_text()
    }
    assert readers == {"options.py"} | of_other_commands


def test_help_waits_for_nothing() -> None:
    program = "import sys, tune_kd.search\ntry: tune_kd.search.main(['--help'])\nexcept SystemExit: pass\n"
    program += "print(*sys.modules, file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "--resume" in done.stdout
    assert not {"rich", "yaml", "pydantic", "numpy"} & set(done.stderr.split())

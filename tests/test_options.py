"""The command line as an object."""

import dataclasses
import subprocess
import sys
from pathlib import Path

import pytest

from tune_kd.errors import InputError
from tune_kd.options import Options, parse


def test_what_is_not_given_is_the_default() -> None:
    assert parse([]) == Options()


def test_what_is_given_is_there_and_stays() -> None:
    given = parse(["mine.yaml", "--set", "a=1", "--set", "b=2", "--out", "here", "--seed", "3", "--resume"])
    assert given == Options("mine.yaml", ("a=1", "b=2"), out=Path("here"), seed=3, resume=True)
    with pytest.raises(dataclasses.FrozenInstanceError):
        given.name = "other"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--detach"], "--detach is about a search on a cluster"),
        (["--env", "TOKEN"], "--env is about a search on a cluster"),
        (["--status", "first"], "--status is about a search on a cluster"),
        (["--submit", "http://head:8265", "--address", "auto"], "Keep --submit only"),
        (["--nodes", "2"], "--nodes is for --plan"),
        (["--plan", "--gpus-per-node", "8"], "give --nodes N too"),
        (["--plan", "--cpus-per-node", "8"], "give --nodes N too"),
        (["--price-per-gpu-hour", "2.5"], "is for --plan"),
        (["--new", "my.yaml"], "give both"),
    ],
)
def test_what_means_nothing_without_another_option_is_refused(words: list[str], said: str) -> None:
    with pytest.raises(InputError, match=said):
        parse(words)


@pytest.mark.parametrize("price", ["-1", "much", "inf", "nan"])
def test_what_is_no_price(price: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        parse(["--plan", f"--price-per-gpu-hour={price}"])
    assert ended.value.code == 2
    assert "is not a price such as 2.50" in capsys.readouterr().err


def test_only_this_file_reads_argparse() -> None:
    package = Path(__file__).parents[1] / "tune_kd"
    of_other_commands = {"training/predict.py", "summary/__main__.py", "tracking/__main__.py", "experience.py"}
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

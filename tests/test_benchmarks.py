"""The benchmarks run, at sizes that measure nothing: what they check and write is the same as at full size."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats

from benchmarks import all as all_of_them
from benchmarks import calibration, exercise, gpu_rates, measuring, search_overhead, simulated
from benchmarks.measuring import Figure, UnequalWork, in_turn, require_equal
from tests.patience import PATIENCE, wait_for
from tune_kd.summary.statistics import NO_DIFFERENCE
from tune_kd.training import precision

ROOT = Path(__file__).parents[1]
KEYS = {"benchmark", "command", "when", "machine", "load_average", "settings", "equal_work", "rounds", "results"}


def bench(name: str, folder: Path, *arguments: str) -> dict[str, Any]:
    out = folder / f"{name}.json"
    command = [sys.executable, "-m", f"benchmarks.{name}", "--out", str(out), *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, done.stdout + done.stderr
    told: dict[str, Any] = json.loads(out.read_text())
    assert told.keys() >= KEYS
    assert {"cores", "processor", "torch", "ray"} <= told["machine"].keys()
    for figure, value in told["results"].items():
        assert f"{figure}: " in done.stdout
        assert value["value"] > 0 or figure.startswith(("driver's memory", "ours above"))
    return told


def test_many_trials_counts_every_report(ray_address: str, tmp_path: Path) -> None:
    told = bench("many_trials", tmp_path, "--trials", "20", "--reports", "2", "--address", ray_address)
    assert told["equal_work"] == {"reports": 40}
    assert len(told["rounds"]["ours"][0]["seconds_per_tenth"]) == 10


def test_the_drivers_own_work_is_measured_a_tenth_at_a_time(tmp_path: Path) -> None:
    told = bench("driver", tmp_path, "--trials", "20", "--reports", "2")
    assert told["equal_work"] == {"reports": 40}
    assert len(told["rounds"]["ours"][0]["seconds_per_tenth"]) == 10


def test_many_workers_train_every_epoch_in_one_process(tmp_path: Path) -> None:
    arguments = ("--workers", "3", "--trials", "6", "--reports", "2", "--seconds", "0.05")
    told = bench("many_workers", tmp_path, *arguments)
    assert told["equal_work"] == {"reports": 12}
    assert told["results"]["share of the time that workers train"]["at_least"] == 0.95


def test_optuna_overhead_runs_as_many_trials_on_both_sides(ray_address: str, tmp_path: Path) -> None:
    arguments = ("--trials", "4", "--seconds", "0.05", "--rounds", "1", "--address", ray_address)
    told = bench("optuna_overhead", tmp_path, *arguments)
    assert told["equal_work"] == {"trials": [4], "seconds a trial": 0.05}
    assert set(told["rounds"]) == {"ours", "optuna"}
    assert told["results"]["ours ÷ optuna"]["at_most"] == 1.05


def test_a_benchmark_of_gpus_says_that_there_is_none(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.gpu_rates", "--out", str(tmp_path / "none.json")]
    without = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(command, cwd=ROOT, env=without, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == measuring.NO_RESULT
    assert "no GPU" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "none.json").exists()


def test_a_cards_rates_are_told_one_by_one_and_what_fails_is_left_out(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """No card is here: what runs on one runs on the processor."""
    given = SimpleNamespace(
        students=["nowhere", "digits_student_tiny"], images=64, epochs=2, augment="crop_flip", processes=[1, 2],
        rounds=1, seconds=0.1,
    )  # fmt: skip
    monkeypatch.setattr(gpu_rates, "HELD_OUT", 32)
    monkeypatch.setattr(gpu_rates, "TEACHER", "digits_teacher")
    monkeypatch.setattr(gpu_rates, "CHUNKS", (8, 16))
    found = gpu_rates.measure(given, torch.device("cpu"))  # type: ignore[arg-type]
    said = capsys.readouterr().err
    assert "unknown model 'nowhere'" in said
    used = "bf16" if precision.capable(torch.device("cpu")) else "fp32"
    one = f"digits_student_tiny, {used}"
    assert {
        f"{one}, {what}" for what in ("ordinary steps", "recorded steps", "recorded ÷ ordinary")
    } < found.figures.keys()
    assert {f"digits_teacher, {used}, {chunk} at once" for chunk in (8, 16)} < found.figures.keys()
    assert {f"digits_student_tiny, {number} processes" for number in (1, 2)} < found.figures.keys()
    for name, figure in found.figures.items():
        assert figure.value > 0
        assert f"{name}: {figure.words()}" in said


def test_both_sides_get_the_same_images_and_a_teacher(tmp_path: Path) -> None:
    given = SimpleNamespace(images=64, epochs=1, teacher_epochs=1, root=None)
    made = exercise.make(given, tmp_path)  # type: ignore[arg-type]
    study, prepared = made.load()
    import numpy as np

    arrays = np.load(made.arrays)
    assert arrays["images"].shape == (64, 3, 32, 32)
    assert len(arrays["val_labels"]) == exercise.HELD_OUT == len(prepared.splits.validation)
    assert not set(map(bytes, arrays["images"])) & set(map(bytes, arrays["val_images"]))
    assert study.teacher.checkpoint == str(made.teacher)
    assert json.loads(made.first.read_text()) == [dict(point) for point in study.first]


def test_shared_views_compares_trainings_of_the_same_images(tmp_path: Path) -> None:
    small = ("--images", "64", "--epochs", "2", "--rounds", "1", "--trials", "2", "--seeds", "0")
    told = bench("shared_views", tmp_path, *small)
    assert set(told["rounds"]) == {"scratch", "shared", "own", "shared 1", "shared 2", "own 1", "own 2"}
    assert told["cpu_seconds"] > 0
    assert isinstance(told["machine"]["bf16"], bool)


def test_all_of_them_run_while_there_is_time_and_leave_a_page_and_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = iter([2.0, 1.5])

    def pretend(words: list[str], cwd: Path, timeout: float) -> int:
        name, out = words[2].removeprefix("benchmarks."), Path(words[words.index("--out") + 1])
        if name == "gpu_rates":
            return measuring.NO_RESULT
        assert words[-2:] == ["--root", "images"]
        figure = vars(Figure(next(values), at_most=1.02, note="<b>")) | {"met": False}
        told = {"benchmark": name, "load_average": {"before": [3.0]}, "took_seconds": 9, "cpu_seconds": 4}
        out.write_text(json.dumps(told | {"results": {"warm ÷ cold": figure}}))
        return 0

    known = measuring.machine()
    monkeypatch.setattr(all_of_them, "machine", lambda: known)
    monkeypatch.setattr(all_of_them, "run_process", pretend)
    words = ["all", "--root", "images", "--minutes", "5", "--out", str(tmp_path), "--history", str(tmp_path / "h")]
    suite = (all_of_them.Benchmark("cached_step", 1), all_of_them.Benchmark("gpu_rates", 1), all_of_them.SUITE[-2])
    monkeypatch.setattr(all_of_them, "SUITE", suite)
    for _ in range(2):
        monkeypatch.setattr(sys, "argv", words)
        assert all_of_them.main() == 0
    lines = [json.loads(line) for line in (tmp_path / "h").read_text().splitlines()]
    assert [line["figures"] for line in lines] == [{"cached_step: warm ÷ cold": value} for value in (2.0, 1.5)]
    assert lines[0]["load"] == 3.0
    record = json.loads((tmp_path / "all.json").read_text())
    assert [each["benchmark"] for each in record["benchmarks"]] == ["cached_step", "gpu_rates"]  # no time for the last
    page = (tmp_path / "all.html").read_text()
    for word in ("1.5 × <small>&lt;b&gt;</small>", "class=missed", "≤ 1.02", "9 s, 4 CPU-seconds, load 3.0", "2 runs"):
        assert word in page
    assert page.count("<circle") == 2


def test_a_benchmark_without_time_to_finish_ends_with_what_it_has_started(tmp_path: Path) -> None:
    noted = tmp_path / "pid"
    words = ["sh", "-c", f"sleep 3000 & echo $! > {noted}; wait"]
    for seconds in (1, 30, PATIENCE):  # a busy machine may take long to begin
        with pytest.raises(subprocess.TimeoutExpired):
            all_of_them.run_process(words, tmp_path, seconds)
        if noted.exists() and noted.read_text().strip():
            break
    stat = Path(f"/proc/{noted.read_text().strip()}/stat")
    wait_for(lambda: not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] == "Z")


def test_what_a_process_and_its_children_spent_is_told_while_they_run() -> None:
    program = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'while True: pass'])"
    process = subprocess.Popen([sys.executable, "-c", program], start_new_session=True)
    try:
        wait_for(lambda: measuring.spent(process.pid) > 0.5)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def test_processes_whose_parents_ended_are_counted_too() -> None:
    """Of a process of its own, as it would take over those of others here."""
    code = """
import subprocess, sys, time
from benchmarks.measuring import adopt_orphans, cpu_seconds
adopt_orphans()
before = cpu_seconds()
busy = "import time\\nwhile time.process_time() < 0.7: pass"
parent = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {busy!r}])"
subprocess.run([sys.executable, "-c", parent], check=True)
while cpu_seconds() < before + 0.7:
    time.sleep(0.05)
"""
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, timeout=PATIENCE)


def test_sides_take_turns_and_unequal_work_is_no_result() -> None:
    order: list[str] = []
    told = in_turn({name: lambda name=name: order.append(name) or len(order) for name in "ab"}, 3)  # type: ignore[misc]
    assert order == ["a", "b", "b", "a", "a", "b"]
    assert told == {"a": [1, 4, 5], "b": [2, 3, 6]}
    assert require_equal("epochs", ours=[2, 2], theirs=[2, 2]) == [2, 2]
    with pytest.raises(UnequalWork, match="epochs differs"):
        require_equal("epochs", ours=[2, 2], theirs=[2, 1])


@pytest.mark.parametrize(
    ("figure", "met", "words"),
    [
        (Figure(63.21, at_least=50), True, "63.21 (goal ≥ 50)"),
        (Figure(1.3, at_most=1.2), False, "1.3 (goal ≤ 1.2)"),
        (Figure(4.0, "s", note="labelled"), None, "4 s – labelled"),
    ],
)
def test_a_figure_says_whether_it_is_what_it_should_be(figure: Figure, met: bool | None, words: str) -> None:
    assert figure.met is met
    assert figure.words() == words


def test_search_overhead_judges_what_it_has_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The runs are made up, as real ones take minutes; from there to the figures all is as it is."""
    first = exercise.settings(exercise.PARITY_TRIALS)

    def make(given: SimpleNamespace, folder: Path) -> exercise.Exercise:
        made = exercise.Exercise(folder, given.images, given.epochs)
        made.first.write_text(json.dumps(first))
        return made

    def run(seconds: float, trials: int) -> dict[str, Any]:
        return {
            "seconds": 10 + seconds * trials,
            "epochs": [2] * trials,
            "accuracy": [0.5] * trials,
            "settings": [first[k % len(first)] | ({"train.lr": 9.0} if k >= len(first) else {}) for k in range(trials)],
        }

    monkeypatch.setattr(exercise, "make", make)
    monkeypatch.setattr(search_overhead, "ours", lambda made, trials: run(0.5, trials))
    monkeypatch.setattr(search_overhead, "theirs", lambda made, trials, cached: run(4 if cached else 20, trials))
    given = {"images": 64, "epochs": 2, "root": None, "trials": (40, 200), "rounds": 1}
    given |= {"tutorial_trials": (2, 6), "cached_trials": (4, 12), "peers": ("tutorial", "cached")}
    told = search_overhead.measure(SimpleNamespace(**given))  # type: ignore[arg-type]
    assert told.figures["peer_tutorial ÷ ours, marginal"].value == pytest.approx(40)
    assert told.figures["peer_cached ÷ ours, marginal"].value == pytest.approx(8)
    assert told.figures["peer_tutorial ÷ ours, whole process"].value == pytest.approx(
        (10 + 20 * 200) / (10 + 0.5 * 200)
    )
    assert told.equal_work["tutorial"]["accuracy"]["holds"]


def test_calibration_judges_as_a_search_does_and_is_never_silent_of_a_loss(tmp_path: Path) -> None:
    assert (
        calibration.main(["--searches", "6", "--table", str(tmp_path / "t.md"), "--out", str(tmp_path / "o.json")]) == 0
    )
    rows = json.loads((tmp_path / "o.json").read_text())
    nulls, one_sided, peeks = ([row for row in rows if key in row] for key in ("power", "silent", "looks"))
    assert [row["looks"][-1] for row in peeks] == [5, 10, 10]
    assert len(nulls) == len(simulated.NULLS) * 9
    assert all(sorted(row["false"]) == row["false"] for row in nulls)
    # Far above what 5 % can be by chance in 45 cases of six searches each.
    assert sum(row["false"][-1] * row["searches"] for row in nulls) <= 0.15 * sum(row["searches"] for row in nulls)
    assert [row["silent"] for row in one_sided] == [0.0] * 6
    assert (tmp_path / "t.md").read_text().count("| normal |") == 9


def test_calibration_skips_only_searches_that_have_no_word() -> None:
    random = np.random.default_rng(3)
    skipped = 0
    for kind in simulated.NULLS.values():
        distilled, scratch = kind(random, (30, 4, 5))
        distilled += 0.01  # some have words
        may = simulated.may_say(distilled - scratch, 2)
        for number in np.flatnonzero(~may):
            drawn = list(zip(distilled[number], scratch[number], strict=True))
            assert {cell["word"] for cell in simulated.verdict(drawn, 2)} == {NO_DIFFERENCE}
            skipped += 1
        assert may.any()
    assert skipped > 30


def test_calibrations_interval_is_exact() -> None:
    low, high = simulated.likely(0.05, 200)
    assert stats.binom.sf(9, 200, low) == pytest.approx(0.025)
    assert stats.binom.cdf(10, 200, high) == pytest.approx(0.025)
    assert simulated.likely(0.0, 10)[0] == 0.0

"""All benchmarks for which there is time, into one JSON, a page with pictures, and a line of history.

    python -m benchmarks.all --root DIR_OF_CIFAR --minutes 30

The quick ones come first. Each is a process of its own, whose sizes fit its minutes; on a busy machine fewer are done.
Ratios over versions are kept in benchmarks/history.jsonl, a line a run, so that a step back shows.
"""

import argparse
import html
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.measuring import NO_RESULT, RESULTS, ROOT, machine, progress

HISTORY = ROOT / "benchmarks" / "history.jsonl"
WIDTH, HEIGHT = 260, 60


@dataclass(frozen=True)
class Benchmark:
    name: str
    minutes: float
    """What it needs on two quiet cores."""
    arguments: tuple[str, ...] = ()
    rooted: bool = True
    """Whether it takes CIFAR's folder."""


SUITE = (
    Benchmark("cached_step", 1, ("--rounds", "5", "--images", "4096")),
    Benchmark("core_efficiency", 1, ("--rounds", "3")),
    Benchmark("shared_views", 3, ("--images", "1024", "--epochs", "2", "--rounds", "2")),
    Benchmark("driver", 2, ("--trials", "2000"), rooted=False),
    Benchmark("first_report", 2, ("--rounds", "3"), rooted=False),
    Benchmark("many_workers", 2, ("--trials", "600"), rooted=False),
    Benchmark("many_trials", 2, ("--trials", "1000"), rooted=False),
    Benchmark("optuna_overhead", 3, ("--rounds", "1"), rooted=False),
    Benchmark("two_workers", 2, ("--rounds", "3")),
    Benchmark("memory", 2),
    Benchmark("mlflow_cost", 4, ("--rounds", "1")),
    Benchmark("large_images", 3, ("--images", "1000", "--rounds", "1"), rooted=False),
    Benchmark("search_overhead", 10, ("--rounds", "1", "--peers", "cached", "--trials", "10", "40")),
    Benchmark("gpu_rates", 5, rooted=False),
)


def main() -> int:
    flags = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0], allow_abbrev=False)
    flags.add_argument("--root", type=Path, help="the folder of CIFAR-10 (else images are made)")
    flags.add_argument("--minutes", type=float, default=30)
    flags.add_argument("--only", nargs="+", choices=[each.name for each in SUITE], help="these alone")
    flags.add_argument("--out", type=Path, default=RESULTS, help="folder of the JSON and the page")
    flags.add_argument("--history", type=Path, default=HISTORY, help="where the line is added")
    given = flags.parse_args()
    end = time.monotonic() + 60 * given.minutes
    given.out.mkdir(parents=True, exist_ok=True)
    told = list(run(given, end))
    record = {"when": time.strftime("%Y-%m-%dT%H:%M:%S"), "machine": machine(), "benchmarks": told}
    (given.out / "all.json").write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n")
    with given.history.open("a") as history:
        history.write(json.dumps(line_of(record), ensure_ascii=False) + "\n")
    page = given.out / "all.html"
    page.write_text(page_of(record, read_history(given.history)))
    print(page)
    return max((each["exit_code"] for each in told if each["exit_code"] != NO_RESULT), default=0)


def run(given: argparse.Namespace, end: float) -> Iterator[dict[str, Any]]:
    for each in SUITE:
        if given.only and each.name not in given.only:
            continue
        left = end - time.monotonic()
        if left < 60 * each.minutes:
            progress(f"{each.name}: no time")
            continue
        out = given.out / f"{each.name}.json"
        out.unlink(missing_ok=True)
        root = ("--root", str(given.root)) if each.rooted and given.root else ()
        words = [sys.executable, "-m", f"benchmarks.{each.name}", "--out", str(out), *each.arguments, *root]
        progress(f"{each.name}: up to {left / 60:.0f} minutes")
        try:
            code = run_process(words, ROOT, left)
        except subprocess.TimeoutExpired:
            progress(f"{each.name}: no time to finish")
            continue
        found = json.loads(out.read_text()) if out.exists() else {"benchmark": each.name, "results": {}}
        yield found | {"exit_code": code}


def run_process(words: Sequence[str], cwd: Path, timeout: float) -> int:
    """Its exit code. Where it has no time to finish, all that it has started ends too: a search would go on."""
    process = subprocess.Popen(words, cwd=cwd, start_new_session=True)
    try:
        return process.wait(timeout)
    except BaseException:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        raise


def line_of(record: dict[str, Any]) -> dict[str, Any]:
    """A run in a line: every figure, and what it depends on."""
    figures = {
        f"{each['benchmark']}: {name}": figure["value"]
        for each in record["benchmarks"]
        for name, figure in each["results"].items()
    }
    loads = [each["load_average"]["before"][0] for each in record["benchmarks"] if "load_average" in each]
    machine_ = {key: record["machine"][key] for key in ("processor", "bf16", "cores", "commit")}
    return {"when": record["when"], **machine_, "load": max(loads, default=0.0), "figures": figures}


def read_history(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def page_of(record: dict[str, Any], history: Sequence[dict[str, Any]]) -> str:
    """Every figure with its goal, and what it was in earlier runs on processors of this kind."""
    where = record["machine"]
    like = [line for line in history if line["processor"] == where["processor"]]
    words = f"{where['cores']} cores of {where['processor']}, {'with' if where['bf16'] else 'without'} bf16"
    parts = [
        "<!doctype html><meta charset=utf-8><title>Benchmarks</title>",
        "<style>body{font:15px sans-serif;margin:2em;max-width:70em}td,th{text-align:left;padding:.3em .8em}"
        ".missed{color:#b00}polyline{fill:none;stroke:#36c;stroke-width:2}circle{fill:#36c}</style>",
        f"<h1>Benchmarks</h1><p>{html.escape(record['when'])} · {html.escape(words)} · commit {where['commit']}</p>",
    ]
    for each in record["benchmarks"]:
        load = each.get("load_average", {}).get("before", [0.0])[0]
        spent = f"{each.get('took_seconds', 0):.0f} s, {each.get('cpu_seconds', 0):.0f} CPU-seconds, load {load:.1f}"
        parts.append(f"<h2>{each['benchmark']}</h2><p>{spent}</p><table><tr><th>figure<th>now<th>goal<th>runs so far")
        parts += [_row(each["benchmark"], name, figure, like) for name, figure in each["results"].items()]
        parts.append("</table>")
    return "\n".join(parts) + "\n"


def _row(benchmark: str, name: str, figure: dict[str, Any], history: Sequence[dict[str, Any]]) -> str:
    goal = f"≥ {figure['at_least']:g}" if figure["at_least"] is not None else ""
    goal = f"≤ {figure['at_most']:g}" if figure["at_most"] is not None else goal
    key = f"{benchmark}: {name}"
    values = [line["figures"][key] for line in history if key in line["figures"]]
    kind = " class=missed" if figure["met"] is False else ""
    note = f" <small>{html.escape(figure['note'])}</small>" if figure["note"] else ""
    value = f"{figure['value']:.4g} {html.escape(figure['unit'])}{note}"
    return f"<tr><td>{html.escape(name)}<td{kind}>{value}<td>{goal}<td>{picture(values)}"


def picture(values: Sequence[float]) -> str:
    """A line from the first run to this one."""
    low, high = min(values, default=0.0), max(values, default=0.0)
    span = (high - low) or 1.0
    step = WIDTH / max(1, len(values) - 1)
    heights = [HEIGHT - 5 - (HEIGHT - 10) * (value - low) / span for value in values]
    points = [(round(k * step, 1), round(height, 1)) for k, height in enumerate(heights)]
    line = " ".join(f"{x},{y}" for x, y in points)
    dots = "".join(f'<circle cx="{x}" cy="{y}" r="3"/>' for x, y in points)
    title = f"<title>{low:.4g} to {high:.4g} in {len(values)} runs</title>"
    return f'<svg width="{WIDTH}" height="{HEIGHT}" overflow="visible">{title}<polyline points="{line}"/>{dots}</svg>'


if __name__ == "__main__":
    sys.exit(main())

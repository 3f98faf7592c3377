"""What a search of the study `methods` found, as a table for the docs.

    python -m benchmarks.methods_table runs/methods

Reads the results folder and nothing else. Students of a method are compared with the controls on the same seeds.
"""

import sys
from pathlib import Path

import numpy as np
import pandas as pd

from tune_kd import names
from tune_kd.summary import cells, statistics

KEY = "kd.method"
CALLED = {name: f"{name} (no teacher)" for name in names.CONTROLS} | {names.RANDOM_TEACHER: "random teacher"}


def main(folder: Path) -> str:
    finals = pd.read_parquet(folder / names.FINALS_FILE)
    methods = list(dict.fromkeys(finals[names.CELL_PREFIX + KEY]))
    asked = {name: _scores(cells.rows(finals, {KEY: methods[0]}, name)) for name in names.CONTROLS}
    controls = {name: scores for name, scores in asked.items() if scores}
    found = {CALLED[name]: scores for name, scores in controls.items()}
    found |= {method: _scores(cells.rows(finals, {KEY: method}, names.DISTILLED)) for method in methods}
    heads = ["students", "test accuracy, %", *(f"gain over {name}, points" for name in controls)]
    lines = [f"| {' | '.join(heads)} |", f"|{' --- |' * len(heads)}"]
    for name, scores in sorted(found.items(), key=lambda each: -float(np.mean(list(each[1].values())))):
        values = np.array(list(scores.values())) * 100
        gains = [_gain(scores, control) if scores is not control else "–" for control in controls.values()]
        spread = f"{values.mean():.2f} ± {values.std(ddof=1):.2f} (n {len(values)})"
        lines.append(f"| {name} | {spread} | {' | '.join(gains)} |")
    return "\n".join(lines)


def _scores(rows: pd.DataFrame) -> dict[int, float]:
    done = rows[rows[names.TEST_ACCURACY].notna()]
    return dict(zip(done["seed"], done[names.TEST_ACCURACY], strict=True))


def _gain(scores: dict[int, float], control: dict[int, float]) -> str:
    found = statistics.gain(scores, control)
    if found.mean is None or found.low is None or found.high is None:
        return found.reason
    low, mean, high = (100 * each for each in (found.low, found.mean, found.high))
    return f"{mean:+.2f} [{low:+.2f}, {high:+.2f}]"


if __name__ == "__main__":
    print(main(Path(sys.argv[1])))

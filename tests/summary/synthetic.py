"""Result folders as a search would leave them, with a truth that the tests planted."""

import itertools
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from tune_kd import names

QUESTION = "Does distillation help on real digits when the training images are drawn, or scanned, few or many?"
TEST_IMAGES = 450
VALIDATION_IMAGES = 270
CLASSES = [str(digit) for digit in range(10)]
QUICKSTART = {"data.source": ["drawn", "scanned"], "data.size": [100, 400]}
SEARCH = {
    "kd.alpha": {"uniform": [0.1, 0.95]},
    "kd.temperature": {"loguniform": [1, 16]},
    "train.lr": {"loguniform": [1e-4, 1e-2]},
}
TRUTH = {
    ("drawn", 100): (0.52, 0.14),
    ("drawn", 400): (0.63, 0.19),
    ("scanned", 100): (0.905, 0.0),
    ("scanned", 400): (0.962, -0.016),
}
"""Cell to scratch accuracy and true gain: what a sketch of the default study measured, roughly."""


@dataclass(frozen=True)
class Plan:
    """What the synthetic search was."""

    conditions: Mapping[str, Sequence[Any]] = field(default_factory=lambda: dict(QUICKSTART))
    truth: Mapping[tuple[Any, ...], tuple[float, float]] = field(default_factory=lambda: dict(TRUTH))
    repeats: int = 5
    trials: int = 18
    epochs: int = 27
    scratch: bool = True
    noise: float = 0.008
    seed: int = 0


def study_of(plan: Plan) -> dict[str, Any]:
    """study.yaml."""
    return {
        "study": "quickstart",
        "question": QUESTION,
        "seed": plan.seed,
        "data": {"dataset": "digits", "evaluate_on": ["scanned"], "teacher_on": ["scanned"]},
        "teacher": {"model": "digits_teacher", "epochs": 20},
        "student": {"model": "digits_student"},
        "conditions": {key: list(values) for key, values in plan.conditions.items()},
        "search": SEARCH,
        "control": plan.scratch,
        "budget": {"trials": plan.trials, "epochs": plan.epochs, "repeats": plan.repeats, "reduction": 3},
    }


def write_folder(folder: Path, plan: Plan | None = None) -> Path:
    """A whole result folder, but for the report."""
    plan = plan or Plan()
    folder.mkdir(parents=True, exist_ok=True)
    trials = trials_of(plan)
    (folder / names.STUDY_FILE).write_text(yaml.safe_dump(study_of(plan), sort_keys=False))
    trials.to_parquet(folder / names.TRIALS_FILE)
    finals_of(plan, trials).to_parquet(folder / names.FINALS_FILE)
    (folder / names.VERDICT_FILE).write_text(json.dumps({"teacher": TEACHER, "facts": FACTS}))
    return folder


def cells_of(plan: Plan) -> list[dict[str, Any]]:
    return [dict(zip(plan.conditions, values, strict=True)) for values in itertools.product(*plan.conditions.values())]


def _arms(plan: Plan) -> list[str]:
    return [names.SCRATCH, names.DISTILLED] if plan.scratch else [names.DISTILLED]


def _level(plan: Plan, cell: Mapping[str, Any], arm: str) -> float:
    base, gain = plan.truth.get(tuple(cell.values()), (0.8, 0.0))
    return base + (gain if arm == names.DISTILLED else 0.0)


def _quality(config: Mapping[str, float], arm: str) -> float:
    """How far from the best settings a configuration falls, from 0 to about .3."""
    loss = 0.06 * (math.log10(config["train.lr"]) + 2.7) ** 2
    if arm == names.DISTILLED:
        loss += 0.14 * (config["kd.alpha"] - 0.8) ** 2 + 0.03 * (math.log2(config["kd.temperature"]) - 2) ** 2
    return loss


def trials_of(plan: Plan) -> pd.DataFrame:
    """trials.parquet: pause and promote on rungs, the best of each arm trained to the end, some diverged."""
    random = np.random.default_rng(plan.seed)
    rows: list[dict[str, Any]] = []
    for cell, arm in itertools.product(cells_of(plan), _arms(plan)):
        drafts = [_draft(plan, cell, arm, random) for _ in range(plan.trials)]
        depths = _stops([draft["curve"] for draft in drafts], plan.epochs)
        for draft, depth in zip(drafts, depths, strict=True):
            rows.append(_trial(draft, depth, len(rows), cell, arm, plan.epochs))
    return pd.DataFrame(rows)


def _draft(plan: Plan, cell: Mapping[str, Any], arm: str, random: np.random.Generator) -> dict[str, Any]:
    config = {"train.lr": 10 ** random.uniform(-4, -2)}
    if arm == names.DISTILLED:
        config |= {"kd.alpha": random.uniform(0.1, 0.95), "kd.temperature": 2 ** random.uniform(0, 4)}
    top = max(0.15, _level(plan, cell, arm) - _quality(config, arm))
    speed = random.uniform(0.12, 0.3)
    epochs = np.arange(1, plan.epochs + 1)
    curve = 0.1 + (top - 0.1) * (1 - np.exp(-speed * epochs)) + random.normal(0, 0.006, plan.epochs)
    return {"config": config, "curve": np.round(np.clip(curve, 0, 1) * VALIDATION_IMAGES) / VALIDATION_IMAGES}


def _stops(curves: Sequence[np.ndarray], epochs: int) -> list[int]:
    """Successive halving: a third of those at each rung goes on, three to the end; one in forty diverges."""
    depths = [epochs] * len(curves)
    alive = list(range(len(curves)))
    for rung, keep in ((max(1, epochs // 9), 1 / 3), (max(1, epochs // 3), 1 / 2)):
        alive.sort(key=lambda place: -float(curves[place][:rung].max()))
        count = max(3, round(len(alive) * keep))
        for place in alive[count:]:
            depths[place] = rung
        alive = alive[:count]
    return depths


def _trial(
    draft: Mapping[str, Any], depth: int, number: int, cell: Mapping[str, Any], arm: str, epochs: int
) -> dict[str, Any]:
    failed = number % 41 == 40
    state = names.FAIL if failed else names.COMPLETE if depth == epochs else names.PRUNED
    reason = (
        "the loss became NaN" if failed else "" if depth == epochs else f"not among the best third at epoch {depth}"
    )
    curve = draft["curve"][: 1 if failed else depth]
    row: dict[str, Any] = {"number": number, "arm": arm, "state": state, "stop_reason": reason, "epochs": len(curve)}
    row |= {"value": math.nan if failed else float(curve.max()), "seconds": 0.09 * len(curve), "seed": 0}
    row |= {"mlflow_run_id": f"{number:032x}", "curve": curve, "parameters": 6_218}
    row |= {"started": 1.79e9 + number, "ended": 1.79e9 + number + 0.09 * len(curve)}
    return row | _columns(cell, draft["config"])


def _columns(cell: Mapping[str, Any], config: Mapping[str, Any]) -> dict[str, Any]:
    columns: dict[str, Any] = {names.CELL_PREFIX + key: str(value) for key, value in cell.items()}
    everything = {"kd.alpha": math.nan, "kd.temperature": math.nan, "train.batch_size": 64, **config}
    return columns | {names.CONFIG_PREFIX + key: value for key, value in everything.items()}


def finals_of(plan: Plan, trials: pd.DataFrame) -> pd.DataFrame:
    """finals.parquet: the seed's luck is shared by both arms, each adds its own noise."""
    random = np.random.default_rng(plan.seed + 1)
    rows = []
    for cell in cells_of(plan):
        luck = random.normal(0, 0.01, plan.repeats)
        for arm in _arms(plan):
            of_arm = trials["arm"] == arm
            for key, value in cell.items():
                of_arm &= trials[names.CELL_PREFIX + key] == str(value)
            best = trials[of_arm & (trials["state"] == names.COMPLETE)].sort_values("value").iloc[-1]
            for repeat in range(plan.repeats):
                accuracy = _level(plan, cell, arm) - 0.01 + luck[repeat] + random.normal(0, plan.noise)
                rows.append(_final(repeat, min(accuracy, 1.0), cell, arm, best, random))
    return pd.DataFrame(rows)


def _final(
    repeat: int, accuracy: float, cell: Mapping[str, Any], arm: str, best: pd.Series, random: np.random.Generator
) -> dict[str, Any]:
    accuracy = round(accuracy * TEST_IMAGES) / TEST_IMAGES
    per_class = np.clip(accuracy + random.normal(0, 0.05, len(CLASSES)), 0, 1)
    distilled = arm == names.DISTILLED
    row: dict[str, Any] = {"arm": arm, "seed": 1000 + repeat, names.TEST_ACCURACY: accuracy}
    row |= {names.VAL_ACCURACY: accuracy + random.normal(0.004, 0.004), names.TEST_NLL: 1.3 * (1 - accuracy) + 0.08}
    row |= {names.TEST_ECE: 0.03 if distilled else 0.08, names.TEST_PRECISION: accuracy + 0.004}
    row |= {names.TEST_RECALL: accuracy - 0.002, names.TEACHER_AGREEMENT: accuracy + (0.006 if distilled else -0.004)}
    row |= {names.PER_CLASS: per_class.tolist(), names.PARAMETERS: 6_218, names.SIZE_MB: 0.0249, names.MACS: 152_000}
    latency = 0.061 + 0.004 * random.random()
    row |= {names.LATENCY_1_MS: latency, names.LATENCY_1_P95_MS: latency * 1.2}
    row |= {names.LATENCY_N_MS: latency * 22, names.LATENCY_N_P95_MS: latency * 25, names.SECONDS: 2.4}
    row |= {"curve": best["curve"], "mlflow_run_id": f"final{repeat}"}
    config = {
        key.removeprefix(names.CONFIG_PREFIX): best[key] for key in best.index if key.startswith(names.CONFIG_PREFIX)
    }
    return row | _columns(cell, config)


TEACHER = {
    "model": "digits_teacher",
    names.TEST_ACCURACY: 0.9911,
    names.VAL_ACCURACY: 0.9926,
    names.PARAMETERS: 98_506,
    names.SIZE_MB: 0.394,
    names.MACS: 2_410_000,
    names.LATENCY_1_MS: 0.19,
    names.LATENCY_1_P95_MS: 0.24,
    names.LATENCY_N_MS: 5.1,
    names.LATENCY_N_P95_MS: 5.6,
}
FACTS = {
    "seed": 0,
    "git_commit": "3f1c2ab90d4e5f60718293a4b5c6d7e8f9012345",
    "batch_size": 64,
    "classes": CLASSES,
    "command": "python -m tune_kd.search quickstart --seed 0",
    "started": 1.79e9,
    "ended": 1.79e9 + 203.4,
    "seconds": 203.4,
    "versions": {"tune_kd": "0.1.0", "python": "3.11.7", "torch": "2.15.0", "ray": "2.60.0", "optuna": "5.0.0"},
    "digests": {"images": "9f86d081884c7d65", "teacher": "60303ae22b998861", "test": "a4e624d686e03ed2"},
    "phases": {"data": 4.2, "teacher": 11.8, "teacher's logits": 2.1, "search": 151.0, "finals": 29.6, "report": 4.7},
}

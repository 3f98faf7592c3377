"""The results of a search with two objectives, with a front that the tests planted."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from tune_kd import names

from . import synthetic

MODELS: Mapping[str, tuple[float, float, float]] = {
    "digits_student_tiny": (0.0055, 0.62, 0.09),
    "digits_student": (0.0242, 0.83, 0.05),
    "digits_teacher": (0.397, 0.91, 0.0),
}
"""Model to its MB, the accuracy of the scratch arm (images drawn, 400) and the true gain."""

STUDY = synthetic.study_of(synthetic.Plan()) | {
    "objectives": ["accuracy", "size"],
    "search": synthetic.SEARCH | {"student.model": {"choice": list(MODELS)}},
}


def tables() -> tuple[pd.DataFrame, pd.DataFrame]:
    """trials and finals: what the synthetic search leaves for each model, one below the other."""
    trials, finals = [], []
    for place, (model, (cost, accuracy, gain)) in enumerate(MODELS.items()):
        truth = {key: (accuracy + 0.02 * at, gain) for at, key in enumerate(synthetic.TRUTH)}
        plan = synthetic.Plan(truth=truth, trials=9, seed=place)
        tried = synthetic.trials_of(plan).assign(**{"config.student.model": model, names.COST: cost})
        trials.append(tried.assign(number=tried["number"] + 100 * place))
        final = synthetic.finals_of(plan, trials[-1])
        finals.append(final.assign(**{"config.student.model": model, names.COST: cost, names.SIZE_MB: cost}))
    return pd.concat(trials, ignore_index=True), pd.concat(finals, ignore_index=True)


def write_folder(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    trials, finals = tables()
    (folder / names.STUDY_FILE).write_text(yaml.safe_dump(STUDY, sort_keys=False))
    trials.to_parquet(folder / names.TRIALS_FILE)
    finals.to_parquet(folder / names.FINALS_FILE)
    known: dict[str, Any] = {"teacher": synthetic.TEACHER, "facts": synthetic.FACTS}
    (folder / names.VERDICT_FILE).write_text(json.dumps(known))
    return folder

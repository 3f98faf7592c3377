"""The winner: the student with the best validation accuracy over its finals, as `model/` and as MLflow's champion."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from tune_kd import names
from tune_kd.data.splits import student_indices
from tune_kd.errors import TuneKDError
from tune_kd.models import build
from tune_kd.plan import Plan
from tune_kd.preparation import Prepared
from tune_kd.space.designs import called
from tune_kd.space.study import Study, resolve
from tune_kd.storage.stores import Storage
from tune_kd.tracking import Tracker
from tune_kd.training import checkpoint
from tune_kd.training import export as exporting
from tune_kd.training.images import as_tensor, resized
from tune_kd.training.int8 import Probe
from tune_kd.training.method import as_trained
from tune_kd.tuning.entry import RESULT, Entry, best_weights, kept_value
from tune_kd.tuning.ledger import Ledger


@dataclass(frozen=True)
class Winner:
    """The student with the best validation accuracy over its finals, by its best seed on validation images."""

    entry: Entry
    weights: Path
    test_accuracy: float


def crown(folder: Path, plan: Plan, prepared: Prepared, ledger: Ledger, storage: Storage, tracker: Tracker) -> str:
    """Exports and registers the winner; says why, where there is none."""
    best = winner(plan, ledger, storage, folder)
    if best is None:
        why = "no final has left its weights here" if len(prepared.splits.validation) else "nothing was validated"
        return f"{why}, so there is no model/ and no champion."
    target, study = folder / names.MODEL_DIR, plan.study
    note = f"{study.question} Winner: {best.entry.arm.key}, test accuracy {best.test_accuracy:.2%}."
    try:
        module = export_winner(target, plan, prepared, best)
        weights = target / exporting.WEIGHTS
        example = _example(prepared, resolve(study, best.entry.config))
        tracker.register_champion(module, name=study.study, example=example, weights=weights, note=note)
    except TuneKDError as error:
        # A student that torch cannot export is still a result: its weights lie among the checkpoints.
        return f"{error}. Its weights are in {best.weights}."
    return ""


def winner(plan: Plan, ledger: Ledger, storage: Storage, folder: Path) -> Winner | None:
    """Chosen on validation images; its test accuracy has no say in it."""
    finals = [(entry, trial) for arm in plan.arms for entry, trial in ledger.finals(arm) if RESULT in trial.user_attrs]
    if not finals or math.isnan(kept_value(plan.study, finals[0][1])):  # no validation images, so nothing to choose by
        return None
    scores = pd.DataFrame(
        {"arm": entry.arm.number, "model": called(entry.config), "val": kept_value(plan.study, trial)}
        for entry, trial in finals
    )
    best = scores.groupby(["arm", "model"])["val"].mean().idxmax()
    entry, trial = max(
        ((entry, trial) for entry, trial in finals if (entry.arm.number, called(entry.config)) == best),
        key=lambda pair: kept_value(plan.study, pair[1]),
    )
    weights = storage.fetch(best_weights(entry.saved), folder)
    return Winner(entry, weights, trial.user_attrs[RESULT][names.TEST_ACCURACY]) if weights is not None else None


def export_winner(folder: Path, plan: Plan, prepared: Prepared, best: Winner) -> exporting.FromPixels:
    """The winner as `model/`."""
    name = str(best.entry.config[names.STUDENT_MODEL])
    mean, std = prepared.normalisation(name)
    start = prepared.students.get(name)
    study = resolve(plan.study, best.entry.config)
    shape = prepared.of(study.student.image_size)
    classes = len(prepared.splits.classes)
    model = plain = build(name, classes=classes, in_shape=shape)
    if best.entry.arm.name in names.TAUGHT:
        model = as_trained(study, plain, (shape, prepared.teacher_shape), classes)
    model.load_state_dict(checkpoint.load(best.weights))
    facts = {
        "study": plan.study.study,
        "architecture": name,
        "arm": best.entry.arm.name,
        "pretrained": start is not None,
        "cell": dict(best.entry.arm.cell),
        "config": best.entry.config,
        "seed": best.entry.seed,
        "test_accuracy": best.test_accuracy,
        "test_images": len(prepared.splits.test),
        "digests": dict(prepared.splits.digests),
        "classes": list(prepared.splits.classes),
        "in_shape": list(shape),
        "mean": mean,
        "std": std,
        "interpolation": start.inputs.filter if start and start.inputs else "bicubic",
        "torch": torch.__version__,
    } | ({"rebuilt_by": best.entry.config["kd.method"]} if model is not plain else {})
    splits, data = prepared.splits, study.data
    training = student_indices(splits, data.source, data.size, data.weight)
    images, labels = as_tensor(splits.images), as_tensor(splits.labels)
    probe = Probe(images, labels, training, splits.test, study.student.image_size, prepared.interpolation(name))
    return exporting.export(folder, model, mean, std, facts, probe)


def in_int8(folder: Path) -> dict[str, Any]:
    """What the exported winner is in int8, beside what it is in 32 bits; empty where nobody asked."""
    file = folder / names.MODEL_DIR / exporting.FACTS
    facts: Mapping[str, Any] = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    return {**facts["int8"], "test_accuracy_fp32": facts["test_accuracy"]} if facts.get("int8") else {}


def _example(prepared: Prepared, study: Study) -> np.ndarray:
    """Two pictures as the exported winner takes them, not normalised."""
    pictures = torch.from_numpy(prepared.splits.images[prepared.splits.validation[:2]])
    student = study.student
    shown: np.ndarray = resized(pictures, student.image_size, prepared.interpolation(student.model)).float().numpy()
    return shown

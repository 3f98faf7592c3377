"""Makes the teacher where the machines for it are: in a process of Ray's, with all of a GPU or all the processors."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
import torch

from tune_kd import names, teacher
from tune_kd.errors import TuneKDError
from tune_kd.preparation import Prepared
from tune_kd.space.study import Study
from tune_kd.storage import Storage
from tune_kd.training import Images
from tune_kd.tuning.workbench import as_tensor, pick_device

POLL_SECONDS = 0.5
SAVED = f"{names.CHECKPOINT_DIR}/teacher.pt"


@dataclass(frozen=True)
class Taught:
    teacher: teacher.Teacher
    facts: dict[str, Any]


class Maker:
    def __init__(self) -> None:
        self._heard: list[dict[str, float]] = []

    def make(self, study: Study, prepared: Prepared, storage: Storage, loaded: teacher.Teacher | None) -> Taught:
        splits = prepared.splits
        device = pick_device(study)
        # Nothing else runs meanwhile, so the teacher may have every processor.
        torch.set_num_threads(os.cpu_count() or 1)
        images = _images(prepared).to(device)
        validation, test = as_tensor(splits.validation), as_tensor(splits.test)
        made = loaded
        if made is None:
            with storage.training(SAVED, self._heard.append) as (saved, report):
                made = teacher.make(study, images, as_tensor(splits.teacher), validation, saved, report)
        return Taught(made, teacher.facts(made, images, validation, test))

    def heard(self, start: int) -> list[dict[str, float]]:
        """Reports since the one numbered `start`."""
        return self._heard[start:]


def _images(prepared: Prepared) -> Images:
    splits = prepared.splits
    return Images(as_tensor(splits.images), as_tensor(splits.labels), prepared.mean, prepared.std, len(splits.classes))


def teach(
    study: Study, prepared: Prepared, storage: Storage, gpu: bool, report: Callable[[dict[str, float]], None]
) -> Taught:
    """Trains or loads the teacher, telling `report` of each of its epochs."""
    file = study.teacher.checkpoint
    loaded = teacher.load(study, Path(file), _images(prepared)) if file is not None else None
    maker: Any = ray.remote(Maker).options(num_cpus=1, num_gpus=1 if gpu else 0, max_concurrency=2).remote()
    taught = maker.make.remote(study, ray.put(prepared), storage, ray.put(loaded))
    told = 0
    try:
        while not ray.wait([taught], timeout=POLL_SECONDS)[0]:
            for metrics in ray.get(maker.heard.remote(told)):
                told += 1
                report(metrics)
        result: Taught = ray.get(taught)
    except ray.exceptions.RayError as error:
        cause = getattr(error, "cause", None) or error
        if isinstance(cause, TuneKDError):
            raise cause from None
        reason = str(cause).strip().partition("\n")[0]
        raise TuneKDError(f"the teacher could not be made: {type(cause).__name__}: {reason}") from error
    ray.kill(maker)
    return result

"""The same work for both sides: images, a trained teacher and a study of LightNN students, laid out in one folder.

Images are CIFAR-10's own with `--root`; else made by seed, of the same shape, each class a pattern under noise.
"""

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from PIL import Image
from torch.nn import functional

from benchmarks.measuring import progress
from tune_kd import plan
from tune_kd.data.splits import student_indices
from tune_kd.models import build
from tune_kd.preparation import Prepared, prepare
from tune_kd.seeds import derive
from tune_kd.space.load import load
from tune_kd.space.study import Study
from tune_kd.teacher import making as teacher
from tune_kd.teacher.making import Teacher
from tune_kd.training import checkpoint, precision
from tune_kd.training.images import Images, normalise
from tune_kd.training.train import predict

CLASSES = 10
HELD_OUT = 512
"""Validation images, and as many for the test."""
BATCH = 128
PARITY_TRIALS = 8
"""The first settings are the same on both sides, so that accuracies can be compared."""
PARITY_POINTS = 0.05

SEARCH = {
    "kd.alpha": {"uniform": [0.1, 1.0]},
    "kd.temperature": {"loguniform": [1.0, 16.0]},
    "train.lr": {"loguniform": [0.0005, 0.01]},
}


@dataclass(frozen=True)
class Exercise:
    """Where both sides find their work. `arrays` holds what our splits give the students, for the other side."""

    folder: Path
    images: int
    epochs: int

    @property
    def study(self) -> Path:
        return self.folder / "study.yaml"

    @property
    def arrays(self) -> Path:
        return self.folder / "images.npz"

    @property
    def teacher(self) -> Path:
        return self.folder / "teacher.pt"

    @property
    def first(self) -> Path:
        return self.folder / "first.json"

    def load(self) -> tuple[Study, Prepared]:
        study = load(self.study)
        return study, prepare(plan.make(study), lambda text: None)


def add_flags(flags: argparse.ArgumentParser, images: int = 2048, epochs: int = 2, teacher_epochs: int = 0) -> None:
    """Where only the time counts, the teacher may know nothing: it takes as long."""
    flags.add_argument("--root", type=Path, help="folder that holds cifar-10-batches-py (default: made images)")
    flags.add_argument("--images", type=int, default=images, help=f"training images a student ({images})")
    flags.add_argument("--epochs", type=int, default=epochs, help=f"epochs a trial ({epochs})")
    flags.add_argument(
        "--teacher-epochs", type=int, default=teacher_epochs, help=f"the teacher's, before all ({teacher_epochs})"
    )


def make(given: argparse.Namespace, folder: Path) -> Exercise:
    """Images, teacher and study; none of it is timed."""
    made = Exercise(folder, given.images, given.epochs)
    data: dict[str, Any] = {"overlap": True, "size": given.images}
    data["split"] = {"test": HELD_OUT, "validation": HELD_OUT}
    if given.root:
        data |= {"dataset": "cifar10", "root": str(given.root.absolute())}
        # Ours would test on the 10,000 official images, which the other side does not do at all.
        data["evaluate_on"] = ["words1", "words2", "words3", "words4"]
    else:
        draw(folder / "pictures", given.images + 2 * HELD_OUT)
        data |= {"dataset": "folder", "root": str(folder / "pictures")}
    first = settings(PARITY_TRIALS)
    study = {
        "study": "bench",
        "question": "How fast is a search?",
        "control": False,
        "data": data,
        "teacher": {"model": "deepnn"},
        "student": {"model": "lightnn"},
        "train": {"optimizer": "adam", "batch_size": BATCH},
        "search": SEARCH,
        "first": first,
        # Both sides train every trial to its end, or they would not train the same number of epochs.
        "budget": {"trials": PARITY_TRIALS, "epochs": given.epochs, "repeats": 1, "early_stopping": "none"},
        "resources": {"gpu": 0},
    }
    made.study.write_text(yaml.safe_dump(study))
    made.first.write_text(json.dumps(first))
    _, prepared = made.load()
    teach(prepared, made.teacher, given.teacher_epochs)
    study["teacher"] = {"model": "deepnn", "checkpoint": str(made.teacher)}
    made.study.write_text(yaml.safe_dump(study))
    _store(prepared, given.images, made.arrays)
    return made


def settings(number: int) -> list[dict[str, float]]:
    """Drawn once from the ranges of the search, away from their ends, so that every one of them learns."""
    random = np.random.default_rng(0)
    return [
        {
            "kd.alpha": float(random.uniform(0.3, 0.8)),
            "kd.temperature": float(random.uniform(2, 6)),
            "train.lr": float(random.uniform(0.001, 0.004)),
        }
        for _ in range(number)
    ]


def pictures(number: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Images (N, 3, 32, 32) and labels: a smooth pattern a class, moved about, under noise that hides it half."""
    random = np.random.default_rng(seed)
    patterns = torch.from_numpy(random.normal(size=(CLASSES, 3, 6, 6)).astype(np.float32))
    smooth = functional.interpolate(patterns, size=(32, 32), mode="bicubic").numpy()
    labels = np.arange(number) % CLASSES
    moved = random.integers(-6, 7, size=(number, 2))
    shown = np.stack([np.roll(smooth[k], shift, (1, 2)) for k, shift in zip(labels, moved, strict=True)])
    noise = random.normal(size=shown.shape).astype(np.float32)
    return np.clip(128 + 30 * shown + 50 * noise, 0, 255).astype(np.uint8), labels.astype(np.int64)


def draw(root: Path, number: int) -> None:
    """As a user's folder: <root>/<source>/<class>/<number>.png."""
    images, labels = pictures(number)
    for k, (image, label) in enumerate(zip(images, labels, strict=True)):
        folder = root / "made" / f"class{label}"
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image.transpose(1, 2, 0)).save(folder / f"{k}.png", compress_level=1)


def data_of(prepared: Prepared) -> Images:
    splits = prepared.splits
    images, labels = (torch.from_numpy(array.copy()) for array in (splits.images, splits.labels))
    return Images(images, labels, prepared.mean, prepared.std, len(splits.classes))


def teach(prepared: Prepared, path: Path, epochs: int, images: int = 8192) -> None:
    """A DeepNN that knows more than its students, computed in whatever is quick here."""
    progress(f"training the teacher of both sides for {epochs} epochs")
    data = data_of(prepared)
    chosen = torch.from_numpy(prepared.splits.teacher.copy())[:images]
    torch.manual_seed(derive(0, "teacher"))
    model = build("deepnn", classes=data.classes, in_shape=data.shape).to(memory_format=torch.channels_last)
    optimizer = torch.optim.Adam(model.parameters(), 1e-3, fused=True)
    cpu = torch.device("cpu")
    model.train()
    for _ in range(epochs):
        for batch in chosen[torch.randperm(len(chosen))].split(BATCH):
            inputs = normalise(data.images[batch], data.mean, data.std).contiguous(memory_format=torch.channels_last)
            with precision.autocast(cpu, "bf16" if precision.capable(cpu) else "fp32"):
                loss = functional.cross_entropy(model(inputs), data.labels[batch])
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
    checkpoint.save(path, {"model": dict(model.to(memory_format=torch.contiguous_format).state_dict())})
    validation = torch.from_numpy(prepared.splits.validation.copy())
    accuracy = (predict(model, data, validation).argmax(1) == data.labels[validation]).float().mean()
    progress(f"teacher: validation accuracy {accuracy:.1%}")


def _store(prepared: Prepared, size: int, path: Path) -> None:
    splits = prepared.splits
    chosen = student_indices(splits, "all", size, None)
    np.savez(
        path,
        images=splits.images[chosen],
        labels=splits.labels[chosen],
        val_images=splits.images[splits.validation],
        val_labels=splits.labels[splits.validation],
        mean=np.array(prepared.mean, dtype=np.float32),
        std=np.array(prepared.std, dtype=np.float32),
    )


def parity(ours: Sequence[float], theirs: Sequence[float]) -> dict[str, Any]:
    """Mean validation accuracy at the settings that both sides tried first."""
    number = min(len(ours), len(theirs), PARITY_TRIALS)
    own, other = (float(np.mean(values[:number])) for values in (ours, theirs))
    return {
        "trials": number,
        "ours": own,
        "theirs": other,
        "difference": own - other,
        "holds": abs(own - other) <= PARITY_POINTS,
    }


def teacher_of(study: Study, prepared: Prepared) -> Teacher:
    """The teacher of both sides as our trials get it; it was trained before anything is timed."""
    assert study.teacher.checkpoint is not None
    return teacher.load(study, Path(study.teacher.checkpoint), data_of(prepared))

"""One student, one configuration, one seed: trains epoch by epoch and reports once an epoch.

Knows neither Ray nor MLflow. Every epoch's randomness comes from (seed, epoch) alone, so a training that goes on from a
checkpoint sees the same images in the same order as one that was never interrupted. Their views come from a program
that many trainings may share.
"""

import functools
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tune_kd import names
from tune_kd.data.views import Program
from tune_kd.distill.distiller import Distiller, loss_weights, settled
from tune_kd.models import build
from tune_kd.models.layout import lay_out, layout_of
from tune_kd.models.network import Start
from tune_kd.seeds import derive
from tune_kd.space.methods import SAME, asks
from tune_kd.space.study import Study
from tune_kd.training import checkpoint, measures, precision
from tune_kd.training.batches import TeacherLogits, batches, plain
from tune_kd.training.fine_tuning import FineTuning
from tune_kd.training.graph import make_step
from tune_kd.training.images import Images
from tune_kd.training.method import Trainee, method_for
from tune_kd.training.optim import FROM_SCRATCH, learning_rate, make_optimizer, restore, set_rate
from tune_kd.training.precision import Precision
from tune_kd.training.step import Batch, Step, joined

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
"""Mean and deviation that many a recipe normalises by, whatever its images are."""

EVALUATION_BATCH = {"cpu": 64, "cuda": 512, "mps": 512}
"""Images in one run without gradients; on a CPU what its caches hold, and no more memory than a step of training."""


class Diverged(Exception):
    """The loss is no longer a number."""


@dataclass(frozen=True)
class Job:
    """What to train and how far: `until` may be a rung before the last epoch. `agree` is for several machines."""

    settings: Study
    train: Tensor
    validation: Tensor
    seed: int
    until: int
    reported: int = 0
    deadline: float = math.inf
    agree: precision.Agree | None = None
    program: Program | None = None
    """Which views it sees; its own, by its seed, where none is given."""
    start: Start | None = None
    """Weights that the training begins with."""
    tuning: FineTuning = FROM_SCRATCH


def train(
    job: Job, data: Images, teacher: TeacherLogits | None, report: Callable[[dict[str, float]], None], saved: Path
) -> nn.Module | None:
    """Trains from `saved` (or from scratch) up to `job.until`, reporting every epoch not yet reported.

    Returns the model with the weights of its best validation epoch (or of its last, where the study keeps those), or
    None when the deadline came first.
    """
    settings = job.settings
    used = _settle_precision(job, data, saved.parent)
    torch.manual_seed(derive(job.seed, "weights"))
    model = _build(job, data)
    distiller, online = None, None
    if teacher is not None and settings.kd.teaches:
        counted = data.classes, len(data.images), derive(job.seed, "method"), settings.budget.epochs
        of = Trainee(model, data.shape, *counted, functools.partial(_build, job, data))
        model, distiller, online = method_for(of, settings.kd, teacher)
        teacher = teacher if asks(settings.kd.method) else None
    gap = settings.kd.momentum_gap if distiller is not None else 0.0
    optimizer = make_optimizer(joined(model, distiller), settings.train, job.tuning, gap)
    state = _resume(saved, model, distiller, optimizer)
    # It can be ahead of this leg, where a search goes on from an older copy of its ledger.
    for metrics in state["history"][job.reported : job.until]:
        report(metrics)
    done, chosen_by = len(state["history"]), names.validated(settings.objective.metric)
    ordinary = Step(model, optimizer, settings, used, distiller, online)
    step = make_step(ordinary, data.images.device, _steps(job, max(done, ordinary.steady - 1)))
    for epoch in range(done + 1, job.until + 1):
        if job.tuning.over(state["history"], chosen_by):
            break
        started = time.perf_counter()
        losses = [each[names.VAL_LOSS] for each in state["history"]]
        rate = learning_rate(settings.train, epoch, settings.budget.epochs, losses)
        set_rate(optimizer, rate, job.tuning.rates(epoch, settings.budget.epochs))
        metrics = _epoch(ordinary, step, job, data, teacher, epoch)
        if metrics is None:
            return None
        metrics |= validate(model, data, job.validation, used)
        metrics[names.LEARNING_RATE] = rate
        metrics[names.SECONDS] = time.perf_counter() - started
        if not state["history"] or metrics[chosen_by] > max(m[chosen_by] for m in state["history"]):
            state["best"] = {key: value.detach().cpu().clone() for key, value in model.state_dict().items()}
        state["history"].append(metrics)
        # Saved before it is reported: a report that is lost with its process is repeated from here, not trained again.
        checkpoint.save(saved, state | _state(model, distiller, optimizer))
        if epoch > job.reported:
            report(metrics)
    # A teacher of no epochs stays as it was drawn.
    if settings.train.keep == "best" and state["best"]:
        model.load_state_dict(state["best"])
    return model


def _steps(job: Job, done: int) -> int:
    """How many of one kind are left: in a warm-up of the teacher's term each epoch has its own."""
    settings = job.settings
    epochs = max(0, job.until - max(done, settled(settings.kd) - 1))
    return epochs * math.ceil((settings.train.epoch_images or len(job.train)) / settings.train.batch_size)


def _build(job: Job, data: Images, name: str = SAME) -> nn.Module:
    own = job.settings.student.model
    model = build(own if name == SAME else name, classes=data.classes, in_shape=data.shape)
    if job.start is not None and name in (SAME, own):
        job.start.put_into(model)
    return lay_out(model.to(data.images.device), data.shape)


def _settle_precision(job: Job, data: Images, folder: Path) -> Precision:
    settings, device = job.settings, data.images.device

    def compare() -> tuple[float, float]:
        model = _build(job, data)
        index = job.train[: settings.train.batch_size].to(device)
        inputs = data.inputs(data.images[index], layout_of(model))
        return precision.compare_training(model, inputs, data.labels[index])

    file = precision.place(folder, "training", settings.student.model)
    return precision.settle(settings.precision, file, device, compare, job.agree)


def _state(model: nn.Module, distiller: Distiller | None, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    own = {} if distiller is None else distiller.state_dict()
    return {"model": model.state_dict(), "optimizer": optimizer.state_dict()} | ({"method": own} if own else {})


def _resume(
    saved: Path, model: nn.Module, distiller: Distiller | None, optimizer: torch.optim.Optimizer
) -> dict[str, Any]:
    if not saved.exists():
        return {"history": [], "best": {}}
    state = checkpoint.load(saved)
    model.load_state_dict(state["model"])
    if distiller is not None:
        distiller.load_state_dict(state.get("method", {}))
    restore(optimizer, state["optimizer"])
    return {"history": state["history"], "best": state["best"]}


def _epoch(
    ordinary: Step,
    step: Callable[[Batch], Tensor],
    job: Job,
    data: Images,
    teacher: TeacherLogits | None,
    epoch: int,
) -> dict[str, float] | None:
    """One pass over the training images; None when the deadline cuts it short."""
    settings = job.settings
    torch.manual_seed(derive(job.seed, "dropout", epoch))
    joined(ordinary.model, ordinary.distiller).train()
    started = time.perf_counter()
    seen: list[int] = []
    told: list[Tensor] = []
    for batch in batches(job, data, teacher, epoch, layout_of(ordinary.model), ordinary.teacher is not None):
        if time.time() > job.deadline:
            return None
        told.append(step(batch))
        seen.append(len(batch.labels))
    # Read off the device once an epoch: it is never waited for in between.
    losses = torch.stack(told, 1).double().cpu() @ torch.tensor(seen).double()
    ce, kd, *parts = (losses / sum(seen)).tolist()
    taught = ordinary.distiller is not None
    weight_ce, weight_kd = loss_weights(settings.kd, epoch, taught, settings.budget.epochs)
    total = weight_ce * ce + weight_kd * kd
    if not math.isfinite(total):
        raise Diverged(f"the training loss became {total} in epoch {epoch}")
    named = ordinary.distiller.parts if ordinary.distiller is not None else ()
    return {
        names.EPOCH: epoch,
        names.TRAIN_LOSS: total,
        names.LOSS_CE: ce,
        names.LOSS_KD: kd,
        names.WEIGHT_CE: weight_ce,
        names.WEIGHT_KD: weight_kd,
        names.IMAGES_PER_SECOND: sum(seen) / (time.perf_counter() - started),
        **{names.LOSS_PART + name: value for name, value in zip(named, parts, strict=True)},
    }


@torch.inference_mode()
def predict(model: nn.Module, data: Images, index: Tensor, used: Precision = "fp32") -> Tensor:
    """Logits for the images numbered `index`, as they are (no augmentation)."""
    model.eval()
    device, layout = data.images.device, layout_of(model)
    with precision.autocast(device, used):
        parts = [model(inputs).float() for inputs in plain(data, index, EVALUATION_BATCH[device.type], layout)]
    return torch.cat(parts)


def validate(model: nn.Module, data: Images, index: Tensor, used: Precision = "fp32") -> dict[str, float]:
    """What is reported about the validation images after each epoch, in the precision of the training."""
    if not len(index):
        return measures.validated(measures.NOTHING)
    scores = measures.evaluate(
        predict(model, data, index, used), data.labels[index.to(data.labels.device)], data.classes
    )
    if not math.isfinite(scores.nll):
        raise Diverged(f"the validation loss became {scores.nll}: the weights are no longer numbers")
    return measures.validated(scores)


def test_scores(model: nn.Module, data: Images, index: Tensor, teacher_logits: Tensor | None) -> Mapping[str, Any]:
    """Everything that is read off the test images, once per model; in fp32, as whoever uses the model will run it."""
    logits = predict(model, data, index)
    labels = data.labels[index.to(data.labels.device)]
    scores = measures.evaluate(logits, labels, data.classes)
    agreement = math.nan
    if teacher_logits is not None:
        agreement = float((logits.argmax(1) == teacher_logits.to(logits.device).argmax(1)).float().mean())
    return {
        **measures.tested(scores),
        names.TEACHER_AGREEMENT: agreement,
        names.PER_CLASS: scores.per_class,
        names.CORRECT: measures.packed(logits.argmax(1) == labels),
    }

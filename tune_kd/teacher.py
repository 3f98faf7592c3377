"""The teacher: trained once per search or loaded, then frozen. Its logits come from the cache wherever they can."""

import functools
import hashlib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from tune_kd import checkpoint, measures, names
from tune_kd.data.views import Views
from tune_kd.logit_cache import CacheKey, LogitCache
from tune_kd.models import build
from tune_kd.space.schema import Student
from tune_kd.space.study import Study
from tune_kd.training import Images, Job, derive, normalise, predict, train

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))

LATENCY_REPEATS = 50

CHUNK = 64
"""Images in one run of the teacher, short ones filled up: kernels round differently for other batch sizes, and a cached
logit must not depend on which trial happened to fill it."""


@dataclass(frozen=True)
class Teacher:
    """Weights and all that is needed to run them, small enough to send to every node."""

    model: str
    weights: Mapping[str, Tensor]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    shape: tuple[int, int, int]
    classes: int

    @functools.cached_property
    def digest(self) -> str:
        """Names these weights: the same ones give the same logits."""
        state = hashlib.sha256(repr((self.model, self.mean, self.std)).encode())
        for key, value in self.weights.items():
            state.update(key.encode())
            state.update(value.contiguous().cpu().numpy().tobytes())
        return state.hexdigest()[:20]

    def module(self, device: torch.device) -> nn.Module:
        model = build(self.model, classes=self.classes, in_shape=self.shape)
        model.load_state_dict(dict(self.weights))
        return model.to(device).eval().requires_grad_(False)

    def read(self, data: Images) -> Images:
        """The same images, normalised as the teacher was trained to see them."""
        return Images(data.images, data.labels, self.mean, self.std, data.classes)


def load(study: Study, file: Path, data: Images) -> Teacher:
    """The study's teacher from its file, which only the machine that begins the search needs to have."""
    model = build(study.teacher.model, classes=data.classes, in_shape=data.shape)
    checkpoint.load_weights(model, file)
    # A student exported by an earlier search brings its own normalisation.
    stored = checkpoint.load(file)
    mean, std = _normalisation(study, data)
    return _frozen(study, model, data, stored.get("mean", mean), stored.get("std", std))


def make(
    study: Study,
    data: Images,
    images: Tensor,
    validation: Tensor,
    saved: Path,
    report: Callable[[dict[str, float]], None],
) -> Teacher:
    """Trains the study's teacher on the images numbered `images`."""
    wanted = study.teacher
    mean, std = _normalisation(study, data)
    settings = study.model_copy(
        update={
            "student": Student(model=wanted.model),
            "train": wanted.train,
            "augment": wanted.augment,
            "budget": study.budget.model_copy(update={"epochs": wanted.epochs}),
        }
    )
    job = Job(settings, images, validation, derive(study.seed, "teacher"), wanted.epochs)
    model = train(job, Images(data.images, data.labels, mean, std, data.classes), None, report, saved)
    assert model is not None  # no deadline was given
    return _frozen(study, model, data, mean, std)


def _normalisation(study: Study, data: Images) -> tuple[tuple[float, ...], tuple[float, ...]]:
    return IMAGENET if study.teacher.normalize == "imagenet" else (data.mean, data.std)


def _frozen(study: Study, model: nn.Module, data: Images, mean: tuple[float, ...], std: tuple[float, ...]) -> Teacher:
    weights = {key: value.detach().cpu() for key, value in model.state_dict().items()}
    return Teacher(study.teacher.model, weights, tuple(mean), tuple(std), data.shape, data.classes)


def facts(teacher: Teacher, data: Images, validation: Tensor, test: Tensor) -> dict[str, float | int | str]:
    """What the report says of the teacher."""
    model = teacher.module(data.images.device)
    scores = {
        name: measures.evaluate(predict(model, teacher.read(data), index), data.labels[index], data.classes)
        for name, index in (("val", validation), ("test", test))
    }
    latency, latency_p95 = measures.latency_ms(model, data.shape, 1, repeats=LATENCY_REPEATS)
    return {
        names.LATENCY_1_MS: latency,
        names.LATENCY_1_P95_MS: latency_p95,
        "model": teacher.model,
        "digest": teacher.digest,
        names.TEST_ACCURACY: scores["test"].accuracy,
        names.VAL_ACCURACY: scores["val"].accuracy,
        names.TEST_NLL: scores["test"].nll,
        names.TEST_ECE: scores["test"].ece,
        names.TEST_PRECISION: scores["test"].macro_precision,
        names.TEST_RECALL: scores["test"].macro_recall,
        names.PARAMETERS: measures.parameter_count(model),
        names.SIZE_MB: measures.size_mb(model),
        names.MACS: measures.macs(model, data.shape),
    }


class Guide:
    """Answers a training's question for logits: from the cache, else by running the teacher and filling the cache."""

    def __init__(self, teacher: Teacher, cache: LogitCache | None, device: torch.device) -> None:
        self._teacher = teacher
        self._cache = cache
        self._device = device
        self._model: nn.Module | None = None
        self.images_run = 0

    @classmethod
    def of(cls, teacher: Teacher, data: Images, images_digest: str, views: Views) -> "Guide":
        key = CacheKey(teacher.digest, images_digest, views.key)
        cache = LogitCache.open(key, (len(data.images), views.count, data.classes))
        return cls(teacher, cache, data.images.device)

    def __call__(self, index: Tensor, view: Tensor, pictures: Tensor) -> Tensor:
        if self._cache is None:
            return self.run(pictures)
        images, views = index.cpu().numpy(), view.cpu().numpy()
        logits, known = self._cache.read(images, views)
        if not known.all():
            unknown = np.flatnonzero(~known)
            fresh = self.run(pictures[torch.from_numpy(unknown).to(pictures.device)])
            self._cache.write(images[unknown], views[unknown], fresh)
            logits[unknown] = fresh.cpu().numpy()
        return torch.from_numpy(logits).to(self._device).float()

    @torch.no_grad()
    def run(self, pictures: Tensor) -> Tensor:
        """The teacher's own logits in half precision, as the cache keeps them."""
        if self._model is None:
            self._model = self._teacher.module(self._device)
        self.images_run += len(pictures)
        ready = normalise(pictures, self._teacher.mean, self._teacher.std)
        room = math.ceil(len(ready) / CHUNK) * CHUNK - len(ready)
        ready = torch.cat([ready, ready.new_zeros(room, *ready.shape[1:])])
        return torch.cat([self._model(chunk).half() for chunk in ready.split(CHUNK)])[: len(pictures)]

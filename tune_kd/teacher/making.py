"""The teacher: trained once per search or loaded, then frozen. Its logits come from the cache wherever they can."""

import functools
import hashlib
import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn

from tune_kd import names
from tune_kd.data.views import Views
from tune_kd.errors import InputError
from tune_kd.log import reason
from tune_kd.models import build, registry, weight_files
from tune_kd.models.layout import ImageShape, lay_out, layout_of
from tune_kd.models.network import Inputs, Start, head_of
from tune_kd.seeds import derive
from tune_kd.space.schema import Normalize, Student
from tune_kd.space.study import Study
from tune_kd.teacher.logits import CacheKey, LogitCache
from tune_kd.teacher.online import Online
from tune_kd.training import checkpoint, measures, precision
from tune_kd.training.fine_tuning import FineTuning
from tune_kd.training.images import IMAGENET, Images, normalise, resized
from tune_kd.training.precision import Precision
from tune_kd.training.train import Job, predict, train

Normalisation = tuple[tuple[float, ...], tuple[float, ...]]
LATENCY_REPEATS = 50
CHUNK = 64
"""Images in one run of the teacher, short ones filled up: kernels round differently for other batch sizes, and a cached
logit must not depend on which trial happened to fill it."""
FP16 = 65_504.0
"""The largest number that half precision has; a logit beyond it would become infinite."""
RESIDENT_SHARE = 1 / 4
"""Of what a process may take of a GPU's memory: what it may fill with cached logits."""


@dataclass(frozen=True)
class Teacher:
    """Weights and all that is needed to run them, small enough to send to every node."""

    model: str
    weights: Mapping[str, Tensor]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    shape: ImageShape
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
        # Chance is left as it was: whether a student finds its teacher's logits cached must not change its dropout.
        with torch.random.fork_rng(devices=[]):
            model = build(self.model, classes=self.classes, in_shape=self.shape)
        model.load_state_dict(dict(self.weights))
        return lay_out(model.to(device), self.shape).eval().requires_grad_(False)

    def read(self, data: Images) -> Images:
        """The same images, of the size and normalised as the teacher was trained to see them."""
        return data.seen(self.mean, self.std, self.shape[1])


def load(study: Study, file: Path, data: Images, classes: tuple[str, ...] = ()) -> Teacher:
    """The study's teacher from its file, which only the machine that begins the search needs to have."""
    data = data.seen(data.mean, data.std, study.teacher.image_size)
    model = build(study.teacher.model, classes=data.classes, in_shape=data.shape)
    checkpoint.load_weights(model, file, study.teacher.ema)
    if study.teacher.classes:
        _reorder(model, study.teacher.classes, classes)
    # A student exported by an earlier search brings its own normalisation.
    stored = weight_files.read(file)
    mean, std = _normalisation(study, data, registry.inputs(study.teacher.model))
    own = all(_is_one(stored.get(key), len(mean)) for key in ("mean", "std"))
    if own and not isinstance(study.teacher.normalize, Normalize):
        mean, std = stored["mean"], stored["std"]
    return _frozen(study, model, data, mean, std)


def _reorder(model: nn.Module, own: tuple[str, ...], classes: tuple[str, ...]) -> None:
    """Its outputs put into the order of the data's classes."""
    if sorted(own) != sorted(classes):
        raise InputError(
            f"teacher.classes: must name the classes of the images in the order of the teacher's outputs, each once: "
            f"{', '.join(classes)}."
        )
    order = torch.tensor([own.index(name) for name in classes])
    weights = model.state_dict()
    model.load_state_dict({key: weights[key][order] for key in head_of(model, len(classes))}, strict=False)


def _is_one(value: object, channels: int) -> bool:
    """Whether a file's value is a number for each channel; other projects keep other things under these names."""
    return isinstance(value, list | tuple) and len(value) == channels and all(isinstance(each, float) for each in value)


def make(
    study: Study,
    data: Images,
    images: Tensor,
    validation: Tensor,
    saved: Path,
    report: Callable[[dict[str, float]], None],
    agree: precision.Agree | None = None,
    start: Start | None = None,
    guide: "Guide | None" = None,
    which: tuple[int, ...] = (),
) -> Teacher:
    """Trains the study's teacher on the images numbered `images`, from scratch or from where `start` is; an assistant
    is taught by a `guide` of its own. `which` tells one from others, so that chance is another for each."""
    wanted = study.teacher
    mean, std = _normalisation(study, data, start.inputs if start else None)
    data = data.seen(mean, std, wanted.image_size)
    head_rate = 1.0 if wanted.head_lr is None else wanted.head_lr / wanted.train.lr
    tuning = FineTuning(start.head if start else (), wanted.tune, head_rate, wanted.patience)
    seed = derive(study.seed, "teacher", *which)
    job = Job(as_student(study), images, validation, seed, wanted.epochs, agree=agree, start=start, tuning=tuning)
    model = train(job, data, guide, report, saved)
    assert model is not None  # no deadline was given
    return _frozen(study, model, data, mean, std)


def as_student(study: Study) -> Study:
    """A study whose student is this one's teacher, as it is trained; if it is taught, by plain kd."""
    wanted = study.teacher
    return study.model_copy(
        update={
            "student": Student(model=wanted.model),
            "train": wanted.train,
            "augment": wanted.augment,
            "kd": study.kd.model_copy(update={"method": "kd"}),
            "budget": study.budget.model_copy(update={"epochs": wanted.epochs}),
        }
    )


def _normalisation(study: Study, data: Images, inputs: Inputs | None) -> Normalisation:
    """As the study says, else as the weights want it, else by the data set's own statistics."""
    wanted = study.teacher.normalize
    if isinstance(wanted, Normalize):
        return wanted.mean, wanted.std
    if wanted == "imagenet":
        return IMAGENET
    if wanted is None and inputs is not None and len(inputs.mean) == len(data.mean):
        return inputs.mean, inputs.std
    return data.mean, data.std


def _frozen(study: Study, model: nn.Module, data: Images, mean: tuple[float, ...], std: tuple[float, ...]) -> Teacher:
    weights = {key: value.detach().cpu() for key, value in model.state_dict().items()}
    return Teacher(study.teacher.model, weights, tuple(mean), tuple(std), data.shape, data.classes)


def facts(teacher: Teacher, data: Images, validation: Tensor, test: Tensor) -> dict[str, float | int | str]:
    """What the report says of the teacher."""
    model = teacher.module(data.images.device)
    val, tested = (
        measures.evaluate(predict(model, teacher.read(data), index), data.labels[index], data.classes)
        if len(index)
        else measures.NOTHING
        for index in (validation, test)
    )
    latency, latency_p95 = measures.latency_ms(model, teacher.shape, 1, repeats=LATENCY_REPEATS)
    return {
        names.LATENCY_1_MS: latency,
        names.LATENCY_1_P95_MS: latency_p95,
        "model": teacher.model,
        "digest": teacher.digest,
        names.VAL_ACCURACY: val.accuracy,
        names.VAL_BALANCED: val.balanced_accuracy,
        names.VAL_F1: val.macro_f1,
        **measures.tested(tested),
        names.PARAMETERS: measures.parameter_count(model),
        names.SIZE_MB: measures.size_mb(model),
        names.MACS: measures.macs(model, teacher.shape),
    }


def settle_precision(
    wanted: precision.Wanted, folder: Path, teacher: Teacher, data: Images, agree: precision.Agree | None = None
) -> Precision:
    """In which precision the teacher fills the cache: its own decision, as running is not training."""

    def compare() -> tuple[float, float]:
        model = teacher.module(data.images.device)
        return precision.compare_inference(model, teacher.read(data).inputs(data.images[:CHUNK], layout_of(model)))

    file = precision.place(folder, "running", teacher.model)
    return precision.settle(wanted, file, data.images.device, compare, agree)


Block = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Numbers of images, of a view of each, and the logits."""


class Neighbours(Protocol):
    """Other machines, which fill caches of their own with the same numbers."""

    def ask(self, cache: str) -> Iterable[Block]:
        """What they have computed since the last time."""

    def offer(self, cache: str, block: Block) -> None:
        """Tells them of logits that the teacher was run for here, without waiting for them."""


class Guide:
    """Answers a training's question for logits: from the cache, else by running the teacher and filling the cache.

    With neighbours it asks them before it runs the teacher, and tells them of what it has run it for.
    """

    def __init__(
        self,
        teacher: Teacher,
        cache: LogitCache | None,
        device: torch.device,
        used: Precision = "fp32",
        neighbours: Neighbours | None = None,
    ) -> None:
        self._teacher = teacher
        self._cache = cache
        self._device = device
        self._used = used
        self._neighbours = neighbours
        self._model: nn.Module | None = None
        self._resident = Resident(cache, device) if cache is not None and _fits(cache, device) else None
        self.images_run = 0

    @classmethod
    def of(
        cls,
        teacher: Teacher,
        data: Images,
        images_digest: str,
        views: Views,
        used: Precision = "fp32",
        neighbours: Neighbours | None = None,
    ) -> "Guide":
        # Other searches share the cache, and bf16 gives other numbers.
        weights = teacher.digest if used == "fp32" else f"{teacher.digest}-{used}"
        key = CacheKey(weights, images_digest, views.key)
        cache = None if views.mixing else LogitCache.open(key, (len(data.images), views.count, data.classes))
        return cls(teacher, cache, data.images.device, used, neighbours)

    def __call__(self, index: Tensor, view: Tensor, pictures: Tensor) -> Tensor:
        if self._cache is None:
            return self.run(pictures).float()
        images, views = index.numpy(), view.numpy()
        if self._resident is None:
            return torch.from_numpy(self._look_up(self._cache, images, views, pictures)).to(self._device).float()
        new = self._resident.lacks(images, views)
        if len(new):
            some = pictures[torch.from_numpy(new).to(self._device)]
            self._resident.put(images[new], views[new], self._look_up(self._cache, images[new], views[new], some))
        return self._resident.get(index, view).float()

    def _look_up(self, cache: LogitCache, images: np.ndarray, views: np.ndarray, pictures: Tensor) -> np.ndarray:
        logits, known = cache.read(images, views)
        if self._neighbours is not None and not known.all():
            self._take(self._neighbours, cache)
            logits, known = cache.read(images, views)
        if not known.all():
            unknown = np.flatnonzero(~known)
            fresh = self.run(pictures[torch.from_numpy(unknown).to(pictures.device)]).cpu().numpy()
            cache.write(images[unknown], views[unknown], fresh)
            logits[unknown] = fresh
            if self._neighbours is not None:
                try:
                    self._neighbours.offer(cache.name, (images[unknown], views[unknown], fresh))
                except Exception as error:
                    _given_up("they could not be offered", error)
        return logits

    def online(self) -> Online:
        """The teacher's network, for methods that look at feature maps."""
        own = self._teacher
        return Online(own.module(self._device), own.mean, own.std, self._used, own.shape)

    def _take(self, neighbours: Neighbours, cache: LogitCache) -> None:
        # Whatever goes wrong between machines fails no training: the teacher is here as well.
        try:
            for block in neighbours.ask(cache.name):
                cache.write(*block)
        except Exception as error:
            _given_up("those of other machines were not taken", error)

    @torch.no_grad()
    def run(self, pictures: Tensor) -> Tensor:
        """The teacher's own logits in half precision, as the cache keeps them."""
        if self._model is None:
            self._model = self._teacher.module(self._device)
        self.images_run += len(pictures)
        found = []
        for some in pictures.split(CHUNK):
            ready = normalise(resized(some, self._teacher.shape[1]), self._teacher.mean, self._teacher.std)
            ready = torch.cat([ready, ready.new_zeros(CHUNK - len(ready), *ready.shape[1:])])
            with precision.autocast(self._device, self._used):
                found.append(
                    self._model(ready.contiguous(memory_format=layout_of(self._model))).clamp(-FP16, FP16).half()
                )
        return torch.cat(found)[: len(pictures)]


def _given_up(what: str, error: Exception) -> None:
    logging.getLogger(__name__).warning("the teacher's logits: %s: %s", what, reason(error))


class Resident:
    """Cached logits on the device itself: each crosses over once, and which are there is asked on the CPU only."""

    def __init__(self, cache: LogitCache, device: torch.device) -> None:
        images, views, classes = cache.logits.shape
        self._views = views
        self._logits = torch.zeros(images * views, classes, dtype=torch.float16, device=device)
        self._here = np.zeros(images * views, dtype=bool)
        self._device = device

    def lacks(self, images: np.ndarray, views: np.ndarray) -> np.ndarray:
        """Which of the asked ones, by their place in the question."""
        return np.flatnonzero(~self._here[images * self._views + views])

    def put(self, images: np.ndarray, views: np.ndarray, logits: np.ndarray) -> None:
        places = images * self._views + views
        self._logits[torch.from_numpy(places).to(self._device)] = torch.from_numpy(logits).to(self._device)
        self._here[places] = True

    def get(self, index: Tensor, view: Tensor) -> Tensor:
        return self._logits[(index * self._views + view).to(self._device, non_blocking=True)]


def _fits(cache: LogitCache, device: torch.device) -> bool:
    """On a CPU the mapped file is in memory already."""
    if device.type != "cuda":
        return False
    _, total = torch.cuda.mem_get_info(device)
    return cache.logits.nbytes <= RESIDENT_SHARE * torch.cuda.get_per_process_memory_fraction(device) * total

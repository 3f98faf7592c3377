"""The teacher's answers: from the cache wherever they can be, else by running it."""

import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn

from tune_kd.data.views import Views
from tune_kd.log import reason
from tune_kd.models.layout import ImageShape, layout_of
from tune_kd.teacher.logits import CacheKey, LogitCache
from tune_kd.teacher.making import Teacher
from tune_kd.teacher.online import Online
from tune_kd.training import precision
from tune_kd.training.images import Images
from tune_kd.training.precision import Precision

FEWEST = 64
"""Images in one run of the teacher; on a CPU what its caches hold."""
GPU_PIXELS = 1024 * 32 * 32
"""In one run on a GPU: a deep network is a hundred short kernels, which take as long for fewer."""
FP16 = 65_504.0
"""The largest number that half precision has; a logit beyond it would become infinite."""
RESIDENT_SHARE = 1 / 4
"""Of what a process may take of a GPU's memory: what it may fill with cached logits."""


def at_once(device: torch.device, shape: ImageShape) -> int:
    """Images in one run of the teacher, short ones filled up: kernels round differently for other batch sizes, and a
    cached logit must not depend on which trial happened to fill it."""
    if device.type != "cuda":
        return FEWEST
    return max(FEWEST, GPU_PIXELS // (shape[1] * shape[2]) // FEWEST * FEWEST)


def settle_precision(
    wanted: precision.Wanted, folder: Path, teacher: Teacher, data: Images, agree: precision.Agree | None = None
) -> Precision:
    """In which precision the teacher fills the cache: its own decision, as running is not training."""

    def compare() -> tuple[float, float]:
        device = data.images.device
        model = teacher.module(device)
        some = data.images[: at_once(device, teacher.shape)]
        return precision.compare_inference(model, teacher.read(data).inputs(some, layout_of(model)))

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


def key_of(teacher: Teacher, images_digest: str, views: Views, used: Precision = "fp32") -> CacheKey:
    """Other searches share the cache; the same weights give other numbers at another size, and in bf16."""
    shown = "x".join(map(str, teacher.shape))
    return CacheKey(f"{teacher.digest}-{shown}-{used}", images_digest, views.key)


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
        self.at_once = at_once(device, teacher.shape)
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
        key = key_of(teacher, images_digest, views, used)
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
        return Online(own.module(self._device), own, self._used)

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
        for some in pictures.split(self.at_once):
            ready = self._teacher.ready(some)
            ready = torch.cat([ready, ready.new_zeros(self.at_once - len(ready), *ready.shape[1:])])
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

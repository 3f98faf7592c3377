"""Some images of each source as networks see them, for the report: a mistake in reading them shows at a glance."""

import base64
import json
from collections.abc import Iterator, Mapping
from functools import partial
from io import BytesIO
from itertools import accumulate
from typing import Any, Final

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from tune_kd.data.sources import Images
from tune_kd.data.views import Program, Views
from tune_kd.preparation import Prepared
from tune_kd.space import augmentations
from tune_kd.space.designs import levels
from tune_kd.space.study import AUGMENTATION, Study
from tune_kd.training.images import as_tensor

EACH: Final = 8
MOST_SOURCES: Final = 8
SIDE: Final = 64
GAP: Final = 4
BETWEEN: Final = 150
"""The grey between pictures, in which white ones and black ones have an edge."""
MOST_BYTES: Final = 42_000
"""Of all pictures together; a page holds them as text, which is a third longer."""
QUALITIES: Final = (90, 75, 60, 45, 30, 15)


def make(study: Study, prepared: Prepared) -> dict[str, Any]:
    """Of each source some images, as they are after decoding and in one view of the study's augmentation."""
    kind = max(map(str, levels(study, AUGMENTATION)), key=lambda each: len(augmentations.parts(each)))
    strips: list[Images] = []
    sources: list[dict[str, Any]] = []
    for name, some in _chosen(prepared):
        labels = [prepared.splits.classes[label] for label in prepared.splits.labels[some]]
        shown = [prepared.splits.images[some]]
        if kind != augmentations.NONE:
            shown.append(_varied(study, prepared, kind, some))
        strips += [_strip(images) for images in shown]
        sources.append({"name": name, "classes": labels, "strips": len(shown)})
    pictures = iter(_encoded(strips))
    for source in sources:
        source["strips"] = [next(pictures) for _ in range(source["strips"])]
    left_out = len(prepared.sources) - len(sources)
    return {"augmentation": kind, "side": _side(prepared), "sources": sources, "left_out": left_out}


def written(study: Study, prepared: Prepared) -> bytes:
    return json.dumps(make(study, prepared)).encode()


def _side(prepared: Prepared) -> str:
    _, height, width = prepared.splits.images.shape[1:]
    return f"{width} x {height}"


def _chosen(prepared: Prepared) -> Iterator[tuple[str, np.ndarray]]:
    """The first images of classes spread over all of them; images stand in the order of the sources."""
    counts: Mapping[str, tuple[int, ...]] = prepared.sources
    ends = list(accumulate(map(sum, counts.values())))
    for (name, own), end in list(zip(counts.items(), ends, strict=True))[:MOST_SOURCES]:
        start = end - sum(own)
        labels = prepared.splits.labels[start:end]
        there = np.unique(labels)
        wanted = there[np.linspace(0, len(there) - 1, EACH).round().astype(int)]
        turns = [int((wanted[:place] == label).sum()) for place, label in enumerate(wanted)]
        members = [np.flatnonzero(labels == label) for label in wanted]
        yield name, start + np.array([own[turn % len(own)] for own, turn in zip(members, turns, strict=True)])


def _varied(study: Study, prepared: Prepared, kind: str, some: np.ndarray) -> Images:
    """As the first epoch shows them."""
    splits, index = prepared.splits, torch.from_numpy(some)
    views = Views.of(study.augment.model_copy(update={"kind": kind}), study.seed)
    program, turn = Program(study.seed), torch.zeros_like(index)
    images, labels = as_tensor(splits.images[some]), as_tensor(splits.labels[some])
    found: Tensor = views.render(images, index, program.draw(views, index, turn, study.budget.epochs))
    if views.mixing:
        found, _ = views.mix(found, labels, len(splits.classes), EACH, partial(program.chances, index, turn))
    varied: Images = found.round().byte().numpy()
    return varied


def _strip(images: Images) -> Images:
    """Side by side, (height, width, 3); small ones enlarged without smoothing, so that their pixels are seen."""
    shown = [_picture(image) for image in images]
    strip = np.full((SIDE, len(shown) * (SIDE + GAP) - GAP, 3), BETWEEN, dtype=np.uint8)
    for place, picture in enumerate(shown):
        left = place * (SIDE + GAP)
        strip[: picture.shape[0], left : left + picture.shape[1]] = picture
    return strip


def _picture(image: Images) -> Images:
    channels, height, width = image.shape
    colours = np.repeat(image, 3, axis=0) if channels == 1 else image[:3] if channels > 2 else image[[0, 1, 1]]
    scale = SIDE / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    way = Image.Resampling.NEAREST if scale > 1 else Image.Resampling.LANCZOS
    return np.asarray(Image.fromarray(np.ascontiguousarray(colours.transpose(1, 2, 0))).resize(size, way))


def _encoded(strips: list[Images]) -> list[str]:
    """As WebP, in the best quality in which all of them together are small; of noise none is, but half as large."""
    for quality in QUALITIES:
        found = [_webp(strip, quality) for strip in strips]
        if sum(map(len, found)) <= MOST_BYTES:
            return [base64.b64encode(each).decode() for each in found]
    return _encoded([np.ascontiguousarray(strip[::2, ::2]) for strip in strips])


def _webp(strip: Images, quality: int) -> bytes:
    target = BytesIO()
    Image.fromarray(strip).save(target, "WEBP", quality=quality, method=6)
    return target.getvalue()

"""What a model is worth: quality from its logits, and what it costs to deploy."""

import base64
import copy
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tune_kd import names
from tune_kd.models.layout import ImageShape
from tune_kd.training.counting import multiplications

ECE_BINS: Final = 15


@dataclass(frozen=True)
class Scores:
    """Quality on one set of images; `per_class` is accuracy, NaN for a class without images."""

    accuracy: float
    balanced_accuracy: float
    macro_f1: float
    nll: float
    ece: float
    macro_precision: float
    macro_recall: float
    per_class: tuple[float, ...]


NOTHING: Final = Scores(math.nan, math.nan, math.nan, math.nan, math.nan, math.nan, math.nan, ())
"""The scores on no images at all."""


def evaluate(logits: Tensor, labels: Tensor, classes: int) -> Scores:
    logits = logits.float()
    hits, predicted, actual = _counts(logits.argmax(1), labels, classes)
    seen = (predicted + actual) > 0  # a class neither predicted nor present has no say in a macro mean
    return Scores(
        accuracy=float(hits.sum() / actual.sum()),
        balanced_accuracy=float((hits / actual)[actual > 0].mean()),
        macro_f1=float((2 * hits / (predicted + actual).clamp(min=1))[seen].mean()),
        nll=float(F.cross_entropy(logits, labels)),
        ece=calibration_error(logits, labels),
        macro_precision=float((hits / predicted.clamp(min=1))[seen].mean()),
        macro_recall=float((hits / actual.clamp(min=1))[seen].mean()),
        per_class=tuple((hits / actual).tolist()),
    )


def validated(scores: Scores) -> dict[str, float]:
    """By the names under which a training reports them."""
    return {
        names.VAL_ACCURACY: scores.accuracy,
        names.VAL_BALANCED: scores.balanced_accuracy,
        names.VAL_F1: scores.macro_f1,
        names.VAL_LOSS: scores.nll,
        names.VAL_PRECISION: scores.macro_precision,
        names.VAL_RECALL: scores.macro_recall,
    }


def tested(scores: Scores) -> dict[str, float]:
    """By the names that they have where they are of test images."""
    return {
        names.TEST_ACCURACY: scores.accuracy,
        names.TEST_BALANCED: scores.balanced_accuracy,
        names.TEST_F1: scores.macro_f1,
        names.TEST_NLL: scores.nll,
        names.TEST_ECE: scores.ece,
        names.TEST_PRECISION: scores.macro_precision,
        names.TEST_RECALL: scores.macro_recall,
    }


def packed(hits: Tensor) -> str:
    """A bit an image as text that JSON takes: their number, a colon, and the bits in base64."""
    return f"{len(hits)}:{base64.b64encode(np.packbits(hits.cpu().numpy()).tobytes()).decode()}"


def _counts(predictions: Tensor, labels: Tensor, classes: int) -> tuple[Tensor, Tensor, Tensor]:
    """Images per class, in float64: classified right, predicted as it, and of it."""
    per_class = (labels[predictions == labels], predictions, labels)
    hits, predicted, actual = (torch.bincount(found, minlength=classes).cpu().double() for found in per_class)
    return hits, predicted, actual


def calibration_error(logits: Tensor, labels: Tensor) -> float:
    """Mean distance between confidence and accuracy over 15 bins of equal width, weighted by their images."""
    confidence, predictions = F.softmax(logits.cpu().double(), 1).max(1)
    bins = (confidence * ECE_BINS).ceil().long().clamp(1, ECE_BINS) - 1
    surplus = confidence - (predictions == labels.cpu()).double()
    return float(torch.bincount(bins, weights=surplus, minlength=ECE_BINS).abs().sum() / len(labels))


def parameter_count(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def size_mb(model: nn.Module) -> float:
    """Parameters and buffers as they lie in memory, in 10^6 bytes."""
    tensors = [*model.parameters(), *model.buffers()]
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors) / 1e6


def macs(model: nn.Module, in_shape: ImageShape) -> int:
    """Multiplications and additions of one image in convolutions, matrix products and attention; all else is small
    beside them."""
    return multiplications(_for_inference(model), torch.zeros(1, *in_shape))


def latency_ms(model: nn.Module, in_shape: ImageShape, batch: int, *, repeats: int) -> tuple[float, float]:
    """Median and 95th percentile of a batch's milliseconds, on one CPU thread."""
    model = _for_inference(model)
    images = torch.zeros(batch, *in_shape)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.inference_mode():
            _milliseconds(lambda: model(images), max(3, repeats // 10))  # warm-up
            took = _milliseconds(lambda: model(images), repeats)
    finally:
        torch.set_num_threads(threads)
    return float(np.median(took)), float(np.quantile(took, 0.95))


def _milliseconds(call: Callable[[], object], repeats: int) -> list[float]:
    took = []
    for _ in range(repeats):
        started = time.perf_counter()
        call()
        took.append(1000 * (time.perf_counter() - started))
    return took


def _for_inference(model: nn.Module) -> nn.Module:
    """A copy to measure on, laid out as it is exported, so that the caller's model keeps its mode, device and hooks."""
    return copy.deepcopy(model).cpu().to(memory_format=torch.contiguous_format).eval()

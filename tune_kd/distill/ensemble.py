"""Several teachers as one: their answers to a batch (images, teachers, classes) become logits (images, classes).

A mean of probabilities is one at the temperature T that the method softens with: T * log(mean) softened by T is that
mean again, so whatever compares softened logits sees it exactly.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor


def mixed(logits: Tensor, weights: Tensor, kind: str, temperature: float) -> Tensor:
    """Their mean by weights that add up to one for each image: of `logits`, or of probabilities at that temperature."""
    logits = logits.float()
    if kind == "logits":
        return (weights[:, :, None] * logits).sum(1)
    return temperature * (F.log_softmax(logits / temperature, 2) + weights.log()[:, :, None]).logsumexp(1)


def weights(kind: str, logits: Tensor, labels: Tensor, accuracies: Sequence[float]) -> Tensor:
    """How much each teacher counts for each image. By `validation` accuracy; by `confidence` in the image's label, as
    Zhang 2022 has it: 1 less its share of all teachers' exponentials of cross-entropy; else all equally."""
    images, count = logits.shape[:2]
    if kind == "validation":
        shares = logits.new_tensor(accuracies, dtype=torch.float32)
        return (shares / shares.sum()).expand(images, count)
    if kind == "confidence":
        every = logits.float().flatten(0, 1), labels.repeat_interleave(count, 0)
        wrong = F.cross_entropy(*every, reduction="none").view(images, count)
        return (1 - wrong.softmax(1)) / (count - 1)
    return logits.new_full((images, count), 1 / count, dtype=torch.float32)

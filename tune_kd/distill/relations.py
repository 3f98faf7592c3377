"""Methods that compare how the images of a batch stand to each other, whatever the widths of the two networks."""

import torch
import torch.nn.functional as F
from torch import Tensor

from tune_kd.distill.features import OnMaps
from tune_kd.distill.method import Given, Seen


class SimilarityPreserving(OnMaps):
    """Products of all pairs of images, normalised for each image."""

    where = "last"

    def term(self, student: Seen, teacher: Seen, labels: Tensor, epoch: int) -> dict[str, Tensor]:
        apart = [F.mse_loss(similarities(ours), similarities(theirs)) for ours, theirs in self.both(student, teacher)]
        return {"sp": sum(apart, student.logits.new_zeros(()))}


def similarities(maps: Tensor) -> Tensor:
    flat = maps.flatten(1)
    return F.normalize(flat @ flat.T, dim=1)


class RKD(OnMaps):
    """Distances of pairs of images and angles of triples, in the space of the pooled map."""

    where = "last"

    def __init__(self, given: Given, rkd_distance: float, rkd_angle: float) -> None:
        super().__init__(given)
        self.weights = rkd_distance, rkd_angle

    def term(self, student: Seen, teacher: Seen, labels: Tensor, epoch: int) -> dict[str, Tensor]:
        told = {"distance": student.logits.new_zeros(()), "angle": student.logits.new_zeros(())}
        for maps in self.both(student, teacher):
            ours, theirs = (each.mean((2, 3)) for each in maps)
            told["distance"] = told["distance"] + self.weights[0] * F.smooth_l1_loss(distances(ours), distances(theirs))
            told["angle"] = told["angle"] + self.weights[1] * F.smooth_l1_loss(angles(ours), angles(theirs))
        return told


def distances(points: Tensor) -> Tensor:
    """Of each point to each, in units of their mean. The square root has no slope at 0, where points coincide."""
    squares = (points[:, None] - points[None]).square().sum(2)
    apart = squares.clamp(min=1e-12).sqrt() * (squares > 0)
    return apart / apart.sum().clamp(min=1e-12) * max(1, len(points) * (len(points) - 1))


def angles(points: Tensor) -> Tensor:
    """The cosine at each point between the directions to two others."""
    directions = F.normalize(points[None] - points[:, None], dim=2)
    return torch.bmm(directions, directions.transpose(1, 2)).flatten()

"""Residual networks for small images: 6n+2 layers in three stages, with either kind of shortcut.

The names inside (`layer1.0.conv1`, `fc`, `linear` …) are those of the projects whose weights we want to load.
"""

import torch.nn.functional as F
from torch import Tensor, nn

from tune_kd.models.layout import ImageShape

Widths = tuple[int, int, int]


class PaddedShortcut(nn.Module):
    """Option A of the ResNet paper: every second pixel, and zeros for the channels that are new; no weights."""

    def __init__(self, new_channels: int, stride: int) -> None:
        super().__init__()
        self.before = new_channels // 2
        self.after = new_channels - self.before
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        return F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, self.before, self.after))


def _shortcut(inside: int, outside: int, stride: int, *, padded: bool) -> nn.Module:
    if stride == 1 and inside == outside:
        return nn.Identity()
    if padded:
        return PaddedShortcut(outside - inside, stride)
    return nn.Sequential(nn.Conv2d(inside, outside, 1, stride, bias=False), nn.BatchNorm2d(outside))


class BasicBlock(nn.Module):
    """Two 3x3 convolutions beside a shortcut."""

    def __init__(self, inside: int, outside: int, stride: int, *, padded: bool) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inside, outside, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outside)
        self.conv2 = nn.Conv2d(outside, outside, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outside)
        self.downsample = _shortcut(inside, outside, stride, padded=padded)

    def forward(self, x: Tensor) -> Tensor:
        inner = F.relu(self.bn1(self.conv1(x)), inplace=True)
        return F.relu(self.bn2(self.conv2(inner)) + self.downsample(x), inplace=True)


def _stage(blocks: int, inside: int, outside: int, stride: int, *, padded: bool) -> nn.Sequential:
    first = BasicBlock(inside, outside, stride, padded=padded)
    return nn.Sequential(first, *(BasicBlock(outside, outside, 1, padded=padded) for _ in range(blocks - 1)))


class Trunk(nn.Module):
    """Stem and three stages, averaged over the image: any input size works."""

    def __init__(self, channels: int, stem: int, widths: Widths, blocks: int, *, padded: bool) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, stem, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(stem)
        self.layer1 = _stage(blocks, stem, widths[0], 1, padded=padded)
        self.layer2 = _stage(blocks, widths[0], widths[1], 2, padded=padded)
        self.layer3 = _stage(blocks, widths[1], widths[2], 2, padded=padded)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):  # as the published recipes start
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def pooled(self, x: Tensor) -> Tensor:
        x = F.relu(self.bn1(self.conv1(x)), inplace=True)
        last: Tensor = self.layer3(self.layer2(self.layer1(x)))
        return last.mean((2, 3))


class ConvResNet(Trunk):
    """RepDistiller's kind: 1x1 convolutions where a shortcut changes shape."""

    def __init__(self, channels: int, classes: int, stem: int, widths: Widths, blocks: int) -> None:
        super().__init__(channels, stem, widths, blocks, padded=False)
        self.fc = nn.Linear(widths[-1], classes)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.fc(self.pooled(x))
        return logits


class PaddedResNet(Trunk):
    """akamaster's kind: shortcuts without weights, as in the ResNet paper's CIFAR experiments."""

    def __init__(self, channels: int, classes: int, stem: int, widths: Widths, blocks: int) -> None:
        super().__init__(channels, stem, widths, blocks, padded=True)
        self.linear = nn.Linear(widths[-1], classes)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.linear(self.pooled(x))
        return logits


NARROW: Widths = (16, 32, 64)
WIDE: Widths = (64, 128, 256)


def resnet(*, classes: int, in_shape: ImageShape, depth: int) -> nn.Module:
    return ConvResNet(in_shape[0], classes, NARROW[0], NARROW, (depth - 2) // 6)


def resnet_x4(*, classes: int, in_shape: ImageShape, depth: int) -> nn.Module:
    """Four times as wide, but the stem only twice."""
    return ConvResNet(in_shape[0], classes, 32, WIDE, (depth - 2) // 6)


def resnet_a(*, classes: int, in_shape: ImageShape, depth: int) -> nn.Module:
    return PaddedResNet(in_shape[0], classes, NARROW[0], NARROW, (depth - 2) // 6)

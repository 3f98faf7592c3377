"""Plain convolutional teachers and students of the five studies, layer by layer as their sources have them.

But for one thing: where a source has a ReLU and then a pool, here the pool comes first.
"""

from torch import nn

from tune_kd.models.layout import ImageShape
from tune_kd.models.pieces import pooled, relu


def _conv(inside: int, outside: int, kernel: int = 3, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inside, outside, kernel, stride, kernel // 2)


def _conv_relu(inside: int, outside: int, kernel: int = 3) -> list[nn.Module]:
    return [_conv(inside, outside, kernel), relu()]


def _conv_bn_relu(inside: int, outside: int, kernel: int = 3, stride: int = 1) -> list[nn.Module]:
    return [_conv(inside, outside, kernel, stride), nn.BatchNorm2d(outside), relu()]


def _flat(channels: int, in_shape: ImageShape, pools: int) -> int:
    """Features left after a number of 2x2 pools, each of which drops an odd last row."""
    return channels * (in_shape[1] >> pools) * (in_shape[2] >> pools)


def _halved_up(side: int) -> int:
    """What a stride of two leaves."""
    return (side + 1) // 2


def cnn4(*, classes: int, in_shape: ImageShape) -> nn.Module:
    """The CIFAR-100 study's student: two strides, one pool, and no ReLU after the second convolution."""
    layers = [*_conv_relu(in_shape[0], 32, 5), _conv(32, 64, stride=2), nn.MaxPool2d(2)]
    layers += [_conv(64, 128, stride=2), relu(), *_conv_relu(128, 256)]
    height, width = (_halved_up(_halved_up(side) // 2) for side in in_shape[1:])
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(256 * height * width, classes))


def _keras(widths: ImageShape, classes: int, in_shape: ImageShape) -> nn.Module:
    layers: list[nn.Module] = []
    inside = in_shape[0]
    for outside, dropout in zip(widths, (0.2, 0.3, 0.4), strict=True):
        for channels in (inside, outside):
            layers += [*_conv_relu(channels, outside), nn.BatchNorm2d(outside)]
        layers += [nn.MaxPool2d(2), nn.Dropout(dropout)]
        inside = outside
    head = [nn.Linear(_flat(inside, in_shape, 3), 256), relu(), nn.BatchNorm1d(256), nn.Dropout(0.5)]
    return nn.Sequential(*layers, nn.Flatten(), *head, nn.Linear(256, classes))


def keras_teacher(*, classes: int, in_shape: ImageShape) -> nn.Module:
    return _keras((64, 128, 256), classes, in_shape)


def keras_student(*, classes: int, in_shape: ImageShape) -> nn.Module:
    return _keras((16, 32, 64), classes, in_shape)


def tiny_teacher(*, classes: int, in_shape: ImageShape) -> nn.Module:
    """Called a ResNet18 by its source, but without residuals."""
    layers = pooled(_conv_bn_relu(in_shape[0], 64, 7, 2), nn.MaxPool2d(3, 2, 1))
    for inside, outside, stride in (
        (64, 128, 1), (128, 128, 1), (128, 256, 2), (256, 256, 1), (256, 512, 2), (512, 512, 1),
    ):  # fmt: skip
        layers += _conv_bn_relu(inside, outside, stride=stride)
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, classes))


def tiny_student(*, classes: int, in_shape: ImageShape) -> nn.Module:
    layers: list[nn.Module] = []
    for inside, outside in ((in_shape[0], 16), (16, 32), (32, 64)):
        layers += pooled(_conv_bn_relu(inside, outside))
    layers += [*_conv_bn_relu(64, 128), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    head = [nn.Dropout(0.5), nn.Linear(128, 64), relu(), nn.Dropout(0.3), nn.Linear(64, classes)]
    return nn.Sequential(*layers, *head)


def _tutorial_head(features: int, hidden: int, classes: int) -> list[nn.Module]:
    return [nn.Flatten(), nn.Linear(features, hidden), relu(), nn.Dropout(0.1), nn.Linear(hidden, classes)]


def deepnn(*, classes: int, in_shape: ImageShape) -> nn.Module:
    layers = [*_conv_relu(in_shape[0], 128), *pooled(_conv_relu(128, 64))]
    layers += [*_conv_relu(64, 64), *pooled(_conv_relu(64, 32))]
    return nn.Sequential(*layers, *_tutorial_head(_flat(32, in_shape, 2), 512, classes))


def lightnn(*, classes: int, in_shape: ImageShape) -> nn.Module:
    layers = [*pooled(_conv_relu(in_shape[0], 16)), *pooled(_conv_relu(16, 16))]
    return nn.Sequential(*layers, *_tutorial_head(_flat(16, in_shape, 2), 256, classes))

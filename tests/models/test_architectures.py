import copy

import pytest
import torch
from torch import nn

from tune_kd.models import build, names
from tune_kd.models.resnet import PaddedShortcut
from tune_kd.training import measures

COLOUR = (3, 32, 32)


def parameters(name: str, classes: int, in_shape: tuple[int, int, int] = COLOUR) -> int:
    return sum(weight.numel() for weight in build(name, classes=classes, in_shape=in_shape).parameters())


@pytest.mark.parametrize(
    ("name", "classes", "expected"),
    [
        ("resnet32x4", 100, 7_433_860),
        ("resnet32x4", 10, 7_410_730),
        ("resnet8x4", 100, 1_233_540),
        ("resnet20", 100, 278_324),
        ("resnet56", 100, 861_620),
        ("resnet110", 100, 1_736_564),
        ("cnn4", 100, 799_652),
        ("keras_teacher", 10, 2_199_114),
        ("keras_student", 10, 338_010),
        ("tiny_teacher", 10, 4_664_970),
        ("tiny_student", 10, 106_826),
        ("deepnn", 10, 1_186_986),
        ("lightnn", 10, 267_738),
        ("resnet20_a", 10, 269_722),
        ("resnet32_a", 10, 464_154),
        ("resnet56_a", 10, 853_018),
        ("resnet110_a", 10, 1_727_962),
    ],
)
def test_parameter_counts_are_those_published(name: str, classes: int, expected: int) -> None:
    assert parameters(name, classes) == expected


CNN4 = [
    # kind, kernel, stride, channels, height and width after it, multiplications and additions
    ("Conv2d", 5, 1, 32, 32, 2_457_600),
    ("ReLU", None, None, 32, 32, 0),
    ("Conv2d", 3, 2, 64, 16, 4_718_592),
    ("MaxPool2d", 2, 2, 64, 8, 0),
    ("Conv2d", 3, 2, 128, 4, 1_179_648),
    ("ReLU", None, None, 128, 4, 0),
    ("Conv2d", 3, 1, 256, 4, 4_718_592),
    ("ReLU", None, None, 256, 4, 0),
]
"""The CIFAR-100 study's student as its source's code has it, up to the flattening."""


def test_the_cifar100_student_is_its_sources_layer_by_layer() -> None:
    model = build("cnn4", classes=100, in_shape=COLOUR)
    assert isinstance(model, nn.Sequential)
    x, found = torch.zeros(1, *COLOUR), []
    *layers, flatten, head = model
    for layer in layers:
        x = layer(x)
        kernel, stride = (first_of(getattr(layer, key, None)) for key in ("kernel_size", "stride"))
        work = x[0].numel() * layer.weight[0].numel() if isinstance(layer, nn.Conv2d) else 0
        found.append((type(layer).__name__, kernel, stride, x.shape[1], x.shape[2], work))
        assert x.shape[2] == x.shape[3]
    assert found == CNN4
    assert isinstance(flatten, nn.Flatten)
    assert isinstance(head, nn.Linear)
    assert measures.macs(model, COLOUR) == sum(row[-1] for row in CNN4) + 409_600 == 13_484_032


def first_of(value: object) -> object:
    return value[0] if isinstance(value, tuple) else value


KERAS = " ".join(
    f"C3/1:{{{n}}}@{side} R B C3/1:{{{n}}}@{side} R B P2/2@{side // 2} D0.{n + 2}" for n, side in enumerate((32, 16, 8))
)
SOURCES = {
    "keras_teacher": f"{KERAS.format(64, 128, 256)} F L256 R B D0.5 L10",
    "keras_student": f"{KERAS.format(16, 32, 64)} F L256 R B D0.5 L10",
    "tiny_teacher": "C7/2:64@16 B P3/2@8 R C3/1:128@8 B R C3/1:128@8 B R C3/2:256@4 B R C3/1:256@4 B R C3/2:512@2 B R "
    "C3/1:512@2 B R G F L10",
    "tiny_student": "C3/1:16@32 B P2/2@16 R C3/1:32@16 B P2/2@8 R C3/1:64@8 B P2/2@4 R C3/1:128@4 B R G F D0.5 "
    "L64 R D0.3 L10",
    "deepnn": "C3/1:128@32 R C3/1:64@32 P2/2@16 R C3/1:64@16 R C3/1:32@16 P2/2@8 R F L512 R D0.1 L10",
    "lightnn": "C3/1:16@32 P2/2@16 R C3/1:16@16 P2/2@8 R F L256 R D0.1 L10",
}
"""The other networks of the studies, each layer with kernel/stride:channels@side. Where a source has a ReLU and
then a pool, here the pool comes first, which gives the same."""


@pytest.mark.parametrize("name", SOURCES)
def test_every_network_of_a_study_is_its_sources_layer_by_layer(name: str) -> None:
    model, found = build(name, classes=10, in_shape=COLOUR).eval(), list[str]()
    for layer in model.modules():
        if not list(layer.children()):
            layer.register_forward_hook(lambda layer, given, out: found.append(in_short(layer, out)))
    model(torch.zeros(1, *COLOUR))
    assert " ".join(found) == SOURCES[name]


def in_short(layer: nn.Module, out: torch.Tensor) -> str:
    match layer:
        case nn.Conv2d():
            assert layer.bias is not None
            return f"C{layer.kernel_size[0]}/{layer.stride[0]}:{out.shape[1]}@{out.shape[2]}"
        case nn.MaxPool2d():
            return f"P{first_of(layer.kernel_size)}/{first_of(layer.stride)}@{out.shape[2]}"
        case nn.AdaptiveAvgPool2d():
            return "G" if layer.output_size == 1 else "?"
        case nn.Dropout():
            return f"D{layer.p:g}"
        case nn.Linear():
            return f"L{layer.out_features}"
    short = {nn.ReLU: "R", nn.BatchNorm2d: "B", nn.BatchNorm1d: "B", nn.Flatten: "F"}
    return short.get(type(layer), type(layer).__name__)


# A head's width fixes what 100 classes add to 10: 90 * (features + bias).
@pytest.mark.parametrize(
    ("name", "features"),
    [
        ("cnn4", 4096),
        ("keras_teacher", 256),
        ("keras_student", 256),
        ("tiny_teacher", 512),
        ("tiny_student", 64),
        ("deepnn", 512),
        ("lightnn", 256),
        ("resnet20", 64),
        ("resnet56_a", 64),
        ("resnet8x4", 256),
    ],
)
def test_classes_change_only_the_head(name: str, features: int) -> None:
    assert parameters(name, 100) - parameters(name, 10) == 90 * (features + 1)


@pytest.mark.parametrize(
    ("name", "smallest", "largest"),
    [("digits_teacher", 90e3, 300e3), ("digits_student", 5e3, 10e3), ("digits_student_tiny", 1e3, 2e3)],
)
def test_digits_models_have_the_size_they_are_meant_to_have(name: str, smallest: float, largest: float) -> None:
    assert smallest < parameters(name, 10, (1, 8, 8)) < largest


@pytest.mark.parametrize("name", names())
@pytest.mark.parametrize("in_shape", [(1, 8, 8), (3, 20, 13)])
def test_any_input_size_gives_logits_and_gradients(name: str, in_shape: tuple[int, int, int]) -> None:
    model = build(name, classes=7, in_shape=in_shape)
    logits = model(torch.rand(3, *in_shape))
    logits.sum().backward()
    assert logits.shape == (3, 7)
    assert all(weight.grad is not None for weight in model.parameters())


@pytest.mark.parametrize("name", ["resnet20", "resnet20_a", "keras_student", "digits_student"])
def test_torch_seed_governs_the_initial_weights(name: str) -> None:
    def weights(seed: int) -> torch.Tensor:
        torch.manual_seed(seed)
        return nn.utils.parameters_to_vector(build(name, classes=10, in_shape=COLOUR).parameters())

    assert torch.equal(weights(1), weights(1))
    assert not torch.equal(weights(1), weights(2))


def test_padded_shortcut_keeps_every_second_pixel_and_centres_the_channels() -> None:
    x = torch.rand(2, 3, 5, 5)
    y = PaddedShortcut(4, 2)(x)
    assert y.shape == (2, 7, 3, 3)
    assert torch.equal(y[:, 2:5], x[:, :, ::2, ::2])
    assert float(y[:, :2].abs().sum() + y[:, 5:].abs().sum()) == 0


def test_resnet_weights_are_named_as_in_the_files_of_others() -> None:
    keys = build("resnet20_a", classes=10, in_shape=COLOUR).state_dict().keys()
    assert {"conv1.weight", "bn1.running_var", "layer2.0.conv2.weight", "layer3.2.bn1.bias", "linear.weight"} <= keys
    assert not any("downsample" in key for key in keys)
    keys = build("resnet8x4", classes=10, in_shape=COLOUR).state_dict().keys()
    assert {"layer1.0.downsample.0.weight", "layer1.0.downsample.1.bias", "fc.bias"} <= keys


def as_its_source_has_it(model: nn.Sequential) -> nn.Sequential:
    """Every ReLU before the pool, and none in place."""
    layers = [nn.ReLU() if isinstance(layer, nn.ReLU) else layer for layer in model]
    for k in range(1, len(layers)):
        if isinstance(layers[k], nn.ReLU) and isinstance(layers[k - 1], nn.MaxPool2d):
            layers[k - 1], layers[k] = layers[k], layers[k - 1]
    return nn.Sequential(*layers)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize(
    ("name", "shape"),
    [("lightnn", COLOUR), ("deepnn", COLOUR), ("tiny_student", COLOUR), ("tiny_teacher", COLOUR),
     ("digits_student", (1, 8, 8)), ("digits_teacher", (1, 8, 8))],
)  # fmt: skip
def test_a_pool_before_its_relu_changes_no_number(
    name: str, shape: tuple[int, int, int], layout: torch.memory_format
) -> None:
    torch.manual_seed(0)
    ours = build(name, classes=10, in_shape=shape).to(memory_format=layout)
    assert isinstance(ours, nn.Sequential)
    source = as_its_source_has_it(copy.deepcopy(ours))
    order = [[type(layer) for layer in model] for model in (ours, source)]
    assert order[0] != order[1]
    images = torch.randn(6, *shape).contiguous(memory_format=layout)
    told = []
    for model in (ours, source):
        torch.manual_seed(1)  # the same dropout
        logits = model(images)
        logits.square().sum().backward()
        told.append([logits.detach(), *(weight.grad for weight in model.parameters())])
    assert all(torch.equal(a, b) for a, b in zip(*told, strict=True))

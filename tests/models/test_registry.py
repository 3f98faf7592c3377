from pathlib import Path

import pytest
import torch

from tune_kd.errors import InputError
from tune_kd.models import build, check, names

DIGITS = (1, 8, 8)
COLOUR = (3, 32, 32)

USERS_FILE = """
import torch
from torch import nn

def good(*, classes, in_shape):
    channels, height, width = in_shape
    return nn.Sequential(nn.Flatten(), nn.Linear(channels * height * width, classes))

def fixed(*, classes, in_shape):
    return nn.Sequential(nn.Flatten(), nn.Linear(3072, classes))

def headless(*, classes, in_shape):
    return nn.Flatten()

def wordy(*, classes, in_shape):
    class Wordy(nn.Module):
        def forward(self, x):
            return {"logits": x}
    return Wordy()

def no_arguments():
    return nn.Flatten()

def no_model(*, classes, in_shape):
    return "resnet"

constant = 3
"""


@pytest.fixture
def users_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    name = "kd_users_models"
    (tmp_path / f"{name}.py").write_text(USERS_FILE)
    (tmp_path / "kd_broken_module.py").write_text("import a_package_that_is_not_there\n")
    monkeypatch.syspath_prepend(tmp_path)
    return name


def test_unknown_name_lists_what_is_allowed_and_the_nearest() -> None:
    with pytest.raises(InputError) as caught:
        build("digits_studnet", classes=10, in_shape=DIGITS)
    message = str(caught.value)
    assert "unknown model 'digits_studnet'" in message
    assert "Did you mean 'digits_student'?" in message
    assert all(name in message for name in names())
    assert "torchvision." in message
    assert "module:function" in message


@pytest.mark.parametrize(
    ("name", "in_shape", "smallest"),
    [("lightnn", (1, 3, 28), 4), ("keras_student", (3, 7, 7), 8), ("digits_teacher", (1, 2, 2), 4)],
)
def test_images_that_are_too_small_are_refused(name: str, in_shape: tuple[int, int, int], smallest: int) -> None:
    for refuses in (build, check):
        with pytest.raises(InputError, match=f"'{name}' needs images of at least {smallest} x {smallest} pixels"):
            refuses(name, classes=10, in_shape=in_shape)


def test_the_smallest_size_allowed_works() -> None:
    for name, size in (("lightnn", 4), ("keras_student", 8), ("cnn4", 8), ("resnet20", 1), ("tiny_teacher", 1)):
        model = build(name, classes=10, in_shape=(3, size, size)).eval()
        assert model(torch.rand(1, 3, size, size)).shape == (1, 10)


def test_a_users_own_function_is_called(users_module: str) -> None:
    name = f"{users_module}:good"
    check(name, classes=4, in_shape=DIGITS)
    assert build(name, classes=4, in_shape=DIGITS)(torch.rand(2, *DIGITS)).shape == (2, 4)


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        ("goood", r"has no function 'goood'\. Did you mean 'good'\?"),
        ("constant", "has no function 'constant'"),
        ("", "has no function ''"),
        ("no_arguments", "no_arguments.*failed with TypeError.*classes"),
        ("no_model", r"must return a torch\.nn\.Module, not a str"),
    ],
)
def test_a_users_function_that_cannot_be_used(users_module: str, function: str, expected: str) -> None:
    with pytest.raises(InputError, match=expected):
        build(f"{users_module}:{function}", classes=10, in_shape=DIGITS)


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        ("fixed", r"does not take images of shape 1 x 8 x 8.*data\.image_size"),
        ("headless", r"it returned shape \(2, 64\), not shape \(2, 10\)"),
        ("wordy", "it returned a dict"),
    ],
)
def test_check_runs_a_foreign_model_once(users_module: str, function: str, expected: str) -> None:
    with pytest.raises(InputError, match=expected):
        check(f"{users_module}:{function}", classes=10, in_shape=DIGITS)


@pytest.mark.parametrize("module", ["kd_not_there", "kd_broken_module", "", "..relative"])
def test_a_module_that_cannot_be_imported(users_module: str, module: str) -> None:
    with pytest.raises(InputError, match=f"cannot import '{module}'.*PYTHONPATH"):
        build(f"{module}:good", classes=10, in_shape=DIGITS)


def test_check_leaves_the_random_state_alone(users_module: str) -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    check(f"{users_module}:good", classes=10, in_shape=DIGITS)
    check("digits_student", classes=10, in_shape=DIGITS)
    assert torch.equal(torch.rand(3), expected)


def test_torchvision_classifiers_by_name() -> None:
    name = "torchvision.squeezenet1_1"
    check(name, classes=10, in_shape=COLOUR)
    assert build(name, classes=10, in_shape=COLOUR).eval()(torch.rand(1, *COLOUR)).shape == (1, 10)
    with pytest.raises(InputError, match=r"unknown torchvision classifier 'resnet17'.*Did you mean 'resnet1"):
        build("torchvision.resnet17", classes=10, in_shape=COLOUR)
    with pytest.raises(InputError, match="takes images of 3 channels; these are 1 x 8 x 8"):
        build(name, classes=10, in_shape=DIGITS)
    with pytest.raises(InputError, match=r"'torchvision\.alexnet' does not take images of shape 3 x 32 x 32"):
        check("torchvision.alexnet", classes=10, in_shape=COLOUR)

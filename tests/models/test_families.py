"""Each family of networks passes the shared suite; weights that come with a name bring their own normalisation."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.models.suite import NetworkSuite
from tune_kd.errors import InputError
from tune_kd.models import registry
from tune_kd.space.designs import front_models
from tune_kd.space.load import load
from tune_kd.training import measures
from tune_kd.training.costs import costs
from tune_kd.tuning.fronts import front

OWN = """
from torch import nn

def small(classes, in_shape):
    return nn.Sequential(nn.Conv2d(in_shape[0], 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
                         nn.Linear(4, classes))
"""


class TestOurs(NetworkSuite):
    name = "lightnn"


class TestOursResidual(NetworkSuite):
    name = "resnet8"


class TestOwnFunction(NetworkSuite):
    name = "kd_suite_networks:small"

    @pytest.fixture(autouse=True)
    def module(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "kd_suite_networks.py").write_text(OWN)
        monkeypatch.syspath_prepend(str(tmp_path))
        monkeypatch.delitem(sys.modules, "kd_suite_networks", raising=False)


class TestGivenInPython(NetworkSuite):
    name = "given_here"

    @pytest.fixture(autouse=True)
    def given(self) -> None:
        space: dict[str, object] = {}
        exec(OWN, space)
        registry.give({"given_here": space["small"]})  # type: ignore[dict-item]


class TestTorchvision(NetworkSuite):
    name = "torchvision.squeezenet1_1"


class TestTimm(NetworkSuite):
    name = "timm.test_resnet"

    @pytest.fixture(autouse=True)
    def installed(self) -> None:
        pytest.importorskip("timm")


def test_timms_weights_want_their_own_pictures() -> None:
    pytest.importorskip("timm")
    inputs = registry.inputs("timm.test_resnet")
    assert inputs is not None
    assert (inputs.mean, inputs.std, inputs.size) == ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5), 160)


def test_torchvisions_weights_want_their_own_pictures() -> None:
    inputs = registry.inputs("torchvision.resnet18")
    assert inputs is not None
    assert (inputs.mean, inputs.size, inputs.interpolation) == ((0.485, 0.456, 0.406), 224, "bilinear")


def test_ours_have_none_and_say_so() -> None:
    assert registry.inputs("lightnn") is None
    with pytest.raises(InputError, match=r"'lightnn' has no pretrained weights of its own .*Name a file"):
        registry.start("lightnn", True, classes=10, in_shape=(3, 32, 32))


@pytest.fixture
def no_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "torch"))
    try:
        from huggingface_hub import constants
    except ImportError:
        return tmp_path
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path


def test_without_a_network_timm_says_what_to_put_where(no_network: Path) -> None:
    pytest.importorskip("timm")
    with pytest.raises(InputError) as caught:
        registry.start("timm.test_resnet", True, classes=5, in_shape=(3, 32, 32))
    for part in ("timm/test_resnet.r160_in1k", str(no_network / "hub"), "pretrained: model.safetensors"):
        assert part in str(caught.value)


def in_the_hubs_cache(hub: Path, repository: str) -> Path:
    """The cache as the hub lays it out, filled here by hand: where a repository's files stand."""
    home = hub / f"models--{repository.replace('/', '--')}"
    (home / "refs").mkdir(parents=True)
    (home / "refs" / "main").write_text("0" * 40)
    (home / "snapshots" / ("0" * 40)).mkdir(parents=True)
    return home / "snapshots" / ("0" * 40)


def test_a_network_of_somebodys_from_the_hubs_cache(no_network: Path) -> None:
    """`hf-hub:owner/name`: which network it is and how it wants its pictures stand beside its weights."""
    timm, save_file = pytest.importorskip("timm"), pytest.importorskip("safetensors.torch").save_file
    name = "hf-hub:somebody/birds"
    with pytest.raises(InputError, match=r"fetch the repository somebody/birds into .*hub elsewhere and copy it"):
        registry.inputs(name)
    trained = timm.create_model("test_resnet", num_classes=7)
    home = in_the_hubs_cache(no_network / "hub", "somebody/birds")
    save_file(trained.state_dict(), home / "model.safetensors")
    wanted = {"input_size": [3, 96, 96], "mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6], "interpolation": "bicubic",
              "crop_pct": 0.9, "num_classes": 7, "first_conv": "conv1.0", "classifier": "fc"}  # fmt: skip
    config = {"architecture": "test_resnet", "num_classes": 7, "pretrained_cfg": wanted}
    (home / "config.json").write_text(json.dumps(config))
    inputs = registry.inputs(name)
    assert inputs is not None
    assert (inputs.mean, inputs.std, inputs.size) == ((0.1, 0.2, 0.3), (0.4, 0.5, 0.6), 96)
    registry.check(name, classes=7, in_shape=(3, 64, 64))
    start = registry.start(name, True, classes=7, in_shape=(3, 64, 64))
    assert start is not None
    assert not start.new_head
    assert start.inputs == inputs
    own = registry.build(name, classes=7, in_shape=(3, 64, 64))
    start.put_into(own)
    assert all(torch.equal(own.state_dict()[key], value) for key, value in trained.state_dict().items())
    other = registry.start(name, True, classes=5, in_shape=(3, 64, 64))
    assert other is not None
    assert other.new_head


def test_timm_from_the_hubs_cache(no_network: Path) -> None:
    timm, save_file = pytest.importorskip("timm"), pytest.importorskip("safetensors.torch").save_file
    trained = timm.create_model("test_resnet", num_classes=1000)
    home = in_the_hubs_cache(no_network / "hub", "timm/test_resnet.r160_in1k")
    save_file(trained.state_dict(), home / "model.safetensors")
    start = registry.start("timm.test_resnet", True, classes=5, in_shape=(3, 64, 64))
    assert start is not None
    assert start.new_head
    assert start.inputs is not None
    own = registry.build("timm.test_resnet", classes=5, in_shape=(3, 64, 64))
    start.put_into(own)
    for key, value in trained.state_dict().items():
        if key not in start.head:
            assert torch.equal(own.state_dict()[key], value), key


def test_torchvision_by_the_name_of_its_weights(no_network: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = "torchvision.squeezenet1_1"

    def broken(url: str, *rest: object, **more: object) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr(torch.hub, "download_url_to_file", broken)
    file = no_network / "torch" / "checkpoints" / "squeezenet1_1-b8a52dc0.pth"
    with pytest.raises(InputError) as caught:
        registry.start(name, "IMAGENET1K_V1", classes=5, in_shape=(3, 64, 64))
    assert f"put the file {file.name} into {file.parent}" in str(caught.value)
    trained = registry.build(name, classes=1000, in_shape=(3, 64, 64))
    torch.save(trained.state_dict(), file)
    start = registry.start(name, "IMAGENET1K_V1", classes=5, in_shape=(3, 64, 64))
    assert start is not None
    assert start.head == ("classifier.1.weight", "classifier.1.bias")
    assert torch.equal(start.weights["features.0.weight"], trained.state_dict()["features.0.weight"])
    with pytest.raises(InputError, match=r"no weights 'IMAGENET1K_V9'\. Did you mean 'IMAGENET1K_V1'"):
        registry.start(name, "IMAGENET1K_V9", classes=5, in_shape=(3, 64, 64))


@pytest.mark.parametrize("objective", ["size", "macs", "latency"])
def test_students_of_timm_make_a_front_with_what_they_cost(objective: str) -> None:
    """Two networks, each at two sizes of pictures."""
    pytest.importorskip("timm")
    first, second = "timm.test_resnet", "timm.test_convnext"
    study = load(
        "study: front\nsearch: {kd.alpha: {uniform: [0.1, 1.0]}}\n",
        [f"objectives=[accuracy, {objective}]", f"search.student.model={{choice: [{first}, {second}]}}",
         "search.student.image_size={choice: [32, 160]}"],
    )  # fmt: skip
    found = costs(study, 5, lambda side: (3, side or 0, side or 0))
    assert list(found) == list(front_models(study))
    assert set(found) == {f"{name} at {side} px" for name in (first, second) for side in (32, 160)}
    assert min(found.values()) > 0  # how fast a busy machine is, nobody knows
    for name in (first, second):
        built = registry.build(name, classes=5, in_shape=(3, 32, 32))
        for side in (32, 160):
            exact = {"size": measures.size_mb(built), "macs": measures.macs(built, (3, side, side))}
            assert objective == "latency" or found[f"{name} at {side} px"] == exact[objective]
    # From cheap to dear, less one that is no better than a cheaper one.
    cheap, poor, *_, dear = names = sorted(found, key=found.__getitem__)
    points = {place: (found[name], 0.1 if name == poor else 0.5 + 0.1 * place) for place, name in enumerate(names)}
    chosen = [names[place] for place in front(points)]
    assert (chosen[0], chosen[-1]) == (cheap, dear)
    assert poor not in chosen


def test_unknown_names_are_answered_with_the_nearest() -> None:
    with pytest.raises(InputError, match=r"unknown model 'lightn'.*Did you mean 'lightnn'.*timm\."):
        registry.build("lightn", classes=5, in_shape=(3, 32, 32))
    pytest.importorskip("timm")
    with pytest.raises(InputError, match=r"unknown network 'resnet5O'.*Did you mean 'resnet50'"):
        registry.build("timm.resnet5O", classes=5, in_shape=(3, 32, 32))


def test_what_is_not_named_is_not_imported() -> None:
    program = (
        "import sys\nfrom tune_kd import plan\nfrom tune_kd.preparation import prepare\n"
        "from tune_kd.space.load import load\n"
        "prepare(plan.make(load('quickstart')), lambda text: None)\n"
        "named = {'timm', 'datasets', 'transformers', 'huggingface_hub', 'torchvision', 'safetensors'}\n"
        "print(*named & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""

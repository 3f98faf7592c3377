"""Layers that belong together are found by themselves, or named."""

import pytest
import torch

from tune_kd.distill import taps
from tune_kd.distill.method import Network
from tune_kd.distill.pairs import pairs
from tune_kd.errors import InputError
from tune_kd.models import build
from tune_kd.space.load import load

SHAPE = (3, 32, 32)


def look(model: str) -> Network:
    return taps.network(build(model, classes=10, in_shape=SHAPE), SHAPE, torch.device("cpu"))


@pytest.fixture(scope="module")
def networks() -> tuple[Network, Network]:
    return look("resnet8x4"), look("resnet20")


def test_a_stage_ends_where_the_resolution_does(networks: tuple[Network, Network]) -> None:
    found = pairs(*networks, "auto", "all")
    sizes = [[network.shapes[path][1:] for network, path in zip(networks, pair, strict=True)] for pair in found]
    assert sizes == [[(32, 32)] * 2, [(16, 16)] * 2, [(8, 8)] * 2]
    assert pairs(*networks, "auto", "middle") == found[1:2]
    assert pairs(*networks, "last", "all") == found[2:]
    # What a stage gives at its end: nothing of its resolution comes after it.
    for own, other in found:
        for network, path in zip(networks, (own, other), strict=True):
            after = list(network.shapes)[list(network.shapes).index(path) + 1 :]
            assert all(network.shapes[each][1:] != network.shapes[path][1:] for each in after)


def test_networks_without_a_resolution_in_common_are_paired_at_their_ends() -> None:
    student, teacher = look("cnn4"), look("tiny_teacher")
    ((own, other),) = pairs(student, Network(teacher.module, {"a": (4, 7, 7), "b": (8, 3, 3)}), "auto", "all")
    assert (other, len(student.shapes[own])) == ("b", 3)


def test_layers_are_named_by_module_path(networks: tuple[Network, Network]) -> None:
    (own, other), *_ = pairs(*networks, "auto", "all")
    assert pairs(*networks, f"{own}:{other}", "last") == ((own, other),)
    with pytest.raises(InputError, match=r"the teacher has no feature map 'nowhere'.*Its maps: "):
        pairs(*networks, f"{own}:nowhere", "last")
    with pytest.raises(InputError, match="the student's model has none"):
        pairs(Network(networks[0].module, {"fc": (10,)}), networks[1], "auto", "last")


def test_a_study_says_which_layers_or_is_told_how_to() -> None:
    assert load("study: s\nkd: {method: at, layers: 'a.b:c, d:e'}\n").kd.layers == "a.b:c, d:e"
    with pytest.raises(InputError, match=r"kd\.layers = \"midle\".*student\.path:teacher\.path"):
        load("study: s\nkd: {method: at, layers: midle}\n")

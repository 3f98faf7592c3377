"""What every network must do, by whatever name it comes."""

from pathlib import Path

import pytest
import torch

from tune_kd.errors import InputError
from tune_kd.models import build, check, registry
from tune_kd.models.network import head_of

CLASSES = 5


class NetworkSuite:
    name: str
    in_shape = (3, 32, 32)

    def build(self, seed: int = 0, classes: int = CLASSES) -> torch.nn.Module:
        torch.manual_seed(seed)
        return build(self.name, classes=classes, in_shape=self.in_shape).eval()

    def test_it_passes_the_check_which_leaves_chance_alone(self) -> None:
        torch.manual_seed(5)
        expected = torch.rand(3)
        torch.manual_seed(5)
        check(self.name, classes=CLASSES, in_shape=self.in_shape)
        assert torch.equal(torch.rand(3), expected)

    def test_it_returns_a_logit_for_each_class_and_the_same_by_seed(self) -> None:
        images = torch.rand(2, *self.in_shape)
        first, again, other = self.build(), self.build(), self.build(seed=1)
        with torch.no_grad():
            logits = first(images)
        assert logits.shape == (2, CLASSES)
        assert all(
            torch.equal(a, b) for a, b in zip(first.state_dict().values(), again.state_dict().values(), strict=True)
        )
        assert any(
            not torch.equal(a, b) for a, b in zip(first.state_dict().values(), other.state_dict().values(), strict=True)
        )

    def test_weights_of_a_file_come_back(self, tmp_path: Path) -> None:
        file = tmp_path / "weights.pt"
        model = self.build()
        torch.save({"state_dict": {f"module.{key}": value for key, value in model.state_dict().items()}}, file)
        start = registry.start(self.name, str(file), classes=CLASSES, in_shape=self.in_shape)
        assert start is not None
        assert not start.new_head
        other = self.build(seed=1)
        start.put_into(other)
        for key, value in model.state_dict().items():
            assert torch.equal(other.state_dict()[key], value)

    def test_other_classes_get_a_new_head_and_keep_the_body(self, tmp_path: Path) -> None:
        file = tmp_path / "weights.pt"
        model = self.build(classes=7)
        torch.save(model.state_dict(), file)
        start = registry.start(self.name, str(file), classes=CLASSES, in_shape=self.in_shape)
        assert start is not None
        assert start.new_head
        assert start.head == head_of(self.build(), CLASSES) != ()
        other = self.build(seed=1)
        before = {key: value.clone() for key, value in other.state_dict().items()}
        start.put_into(other)
        for key, value in other.state_dict().items():
            kept = before if key in start.head else model.state_dict()
            assert torch.equal(value, kept[key]), key

    def test_another_networks_weights_are_refused_by_name(self, tmp_path: Path) -> None:
        file = tmp_path / "foreign.pt"
        torch.save({"strange.weight": torch.zeros(3)}, file)
        with pytest.raises(InputError, match=r"foreign\.pt are not of this network: .*missing"):
            registry.start(self.name, str(file), classes=CLASSES, in_shape=self.in_shape)

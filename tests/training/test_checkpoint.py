import os
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from tune_kd.errors import InputError
from tune_kd.models import build
from tune_kd.training.checkpoint import load, load_weights, save


def model(name: str = "digits_student", classes: int = 10) -> nn.Module:
    return build(name, classes=classes, in_shape=(1, 8, 8))


def same(a: nn.Module, b: nn.Module) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


def test_training_state_comes_back_as_it_was(tmp_path: Path) -> None:
    net = model()
    optimizer = torch.optim.Adam(net.parameters())
    net(torch.rand(4, 1, 8, 8)).sum().backward()
    optimizer.step()
    path = tmp_path / "deeper" / "trial.pt"
    save(path, {"model": net.state_dict(), "optimizer": optimizer.state_dict(), "history": [{"epoch": 1.0}]})
    state = load(path)
    assert state["history"] == [{"epoch": 1.0}]
    assert torch.equal(state["optimizer"]["state"][0]["exp_avg"], optimizer.state_dict()["state"][0]["exp_avg"])
    assert torch.equal(state["model"]["0.weight"], net.state_dict()["0.weight"])


def test_a_save_that_fails_keeps_the_old_file_and_leaves_no_other(tmp_path: Path) -> None:
    path = tmp_path / "trial.pt"
    save(path, {"epoch": 1})
    with pytest.raises((AttributeError, pickle.PicklingError)):
        save(path, {"epoch": 2, "unpicklable": lambda: None})
    assert load(path) == {"epoch": 1}
    assert os.listdir(tmp_path) == ["trial.pt"]


def test_a_save_replaces_the_file_as_a_whole(tmp_path: Path) -> None:
    path = tmp_path / "trial.pt"
    save(path, {"epoch": 1})
    before = path.open("rb")
    save(path, {"epoch": 2})
    with before:
        assert torch.load(before, weights_only=True) == {"epoch": 1}
    assert load(path) == {"epoch": 2}


@pytest.mark.parametrize("wrapper", [None, "state_dict", "model", "model_state_dict"])
@pytest.mark.parametrize("prefix", ["", "module."])
def test_weights_are_found_however_they_are_wrapped(tmp_path: Path, wrapper: str | None, prefix: str) -> None:
    theirs, ours = model(), model()
    weights: dict[str, Any] = {prefix + key: value for key, value in theirs.state_dict().items()}
    torch.save({wrapper: weights, "best_prec1": 91.7} if wrapper else weights, tmp_path / "teacher.th")
    assert not same(theirs, ours)
    load_weights(ours, tmp_path / "teacher.th")
    assert same(theirs, ours)


def test_old_files_need_no_batch_counters(tmp_path: Path) -> None:
    theirs, ours = model("digits_teacher"), model("digits_teacher")
    weights = {key: value for key, value in theirs.state_dict().items() if "num_batches" not in key}
    assert len(weights) < len(theirs.state_dict())
    torch.save(weights, tmp_path / "old.th")
    load_weights(ours, tmp_path / "old.th")
    assert same(theirs, ours)


def test_weights_in_half_precision_keep_the_models_own(tmp_path: Path) -> None:
    net = model()
    torch.save({key: value.half() for key, value in net.state_dict().items()}, tmp_path / "half.th")
    load_weights(net, tmp_path / "half.th")
    assert {weight.dtype for weight in net.parameters()} == {torch.float32}


class Evil:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.target),)


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("written_by", ["torch", "pickle"])
def test_a_malicious_pickle_does_not_run(tmp_path: Path, written_by: str) -> None:
    path, proof = tmp_path / "evil.th", tmp_path / "it_ran"
    if written_by == "torch":
        torch.save({"state_dict": Evil(proof), "w": 1}, path)
    else:
        path.write_bytes(pickle.dumps(Evil(proof)))
    with pytest.raises(InputError, match=r"evil\.th (holds no weights|cannot be read)"):
        load_weights(model(), path)
    assert not proof.exists()
    torch.load(path, weights_only=False) if written_by == "torch" else pickle.loads(path.read_bytes())
    assert proof.exists(), "the file was harmless, so the test above shows nothing"


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nowhere\.th: there is no such file"):
        load_weights(model(), tmp_path / "nowhere.th")
    with pytest.raises(InputError, match="there is no such file"):
        load_weights(model(), tmp_path)


@pytest.mark.parametrize("keep", [0, 10, 0.5, 0.99])
def test_a_truncated_file(tmp_path: Path, keep: float) -> None:
    path = tmp_path / "cut.th"
    save(path, model().state_dict())
    whole = path.read_bytes()
    path.write_bytes(whole[: int(keep * len(whole)) if keep < 1 else int(keep)])
    with pytest.raises(InputError, match=r"cut\.th cannot be read: it is truncated"):
        load_weights(model(), path)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ([1, 2], "holds a list; expected a dict"),
        (torch.zeros(3), "holds a Tensor; expected a dict"),
        ({"epoch": 3, "nets": {"w": torch.zeros(1)}}, "its keys are epoch, nets.*state_dict, model_state_dict, model"),
        ({"state_dict": {}}, "its keys are state_dict"),
    ],
)
def test_a_file_without_weights(tmp_path: Path, content: object, expected: str) -> None:
    torch.save(content, tmp_path / "other.th")
    with pytest.raises(InputError, match=expected):
        load_weights(model(), tmp_path / "other.th")


def test_another_architecture_is_named_with_its_first_keys_and_counts(tmp_path: Path) -> None:
    torch.save(model("digits_teacher").state_dict(), tmp_path / "big.th")
    ours = model()
    before = {key: value.clone() for key, value in ours.state_dict().items()}
    with pytest.raises(InputError) as caught:
        load_weights(ours, tmp_path / "big.th")
    message = str(caught.value)
    assert "big.th is of another architecture" in message
    assert "5 missing: 0.bias (the nearest of its shape is" not in message
    assert "5 missing: 0.bias, 3.bias" in message
    assert "25 unexpected: 1.weight, 1.bias, 1.running_mean and others" in message
    assert "3 of another shape: 0.weight (32, 1, 3, 3) instead of (8, 1, 3, 3), 3.weight (32, 32, 3, 3)" in message
    assert "teacher.model" in message
    assert all(torch.equal(value, before[key]) for key, value in ours.state_dict().items())


def test_other_classes_are_told_by_shape(tmp_path: Path) -> None:
    torch.save(model(classes=100).state_dict(), tmp_path / "hundred.th")
    with pytest.raises(InputError, match=r"2 of another shape: 9\.weight \(100, 64\) instead of \(10, 64\)"):
        load_weights(model(), tmp_path / "hundred.th")

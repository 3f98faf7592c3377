"""Where a teacher comes from."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.training.test_release import FACTS
from tune_kd import names
from tune_kd.errors import InputError
from tune_kd.models import build, registry
from tune_kd.space.load import load
from tune_kd.space.study import Study
from tune_kd.teacher import making as teacher
from tune_kd.teacher.making import Teacher
from tune_kd.training import measures
from tune_kd.training.export import export
from tune_kd.training.images import IMAGENET, Images

STUDY = """
study: taught
question: By whom?
search: {kd.alpha: {uniform: [0.1, 1.0]}}
"""


@pytest.fixture(scope="module")
def data() -> Images:
    random = np.random.default_rng(0)
    pixels = torch.from_numpy(random.integers(0, 256, (200, 3, 32, 32), dtype=np.uint8))
    return Images(pixels, torch.arange(200) % 10, (0.5,) * 3, (0.25,) * 3, 10)


def study(checkpoint: Path, *settings: str) -> Study:
    return load(STUDY, ["teacher.model=resnet20_a", f"teacher.checkpoint='{checkpoint}'", *settings])


def make(wanted: Study, data: Images) -> Teacher:
    return teacher.load(wanted, Path(str(wanted.teacher.checkpoint)), data)


def test_a_foreign_file_with_wrapped_and_prefixed_weights_is_loaded(data: Images, tmp_path: Path) -> None:
    model = build("resnet20_a", classes=10, in_shape=(3, 32, 32))
    file = tmp_path / "foreign.th"
    torch.save({"state_dict": {f"module.{k}": v for k, v in model.state_dict().items()}, "best_prec1": 91.7}, file)
    made = make(study(file, "teacher.normalize=imagenet"), data)
    assert (made.mean, made.std) == IMAGENET
    assert all(torch.equal(made.weights[key], value) for key, value in model.state_dict().items())


def test_another_architecture_is_refused_with_the_keys_that_differ(data: Images, tmp_path: Path) -> None:
    file = tmp_path / "other.pt"
    torch.save(build("lightnn", classes=10, in_shape=(3, 32, 32)).state_dict(), file)
    with pytest.raises(InputError, match=r"another architecture.*missing: conv1"):
        make(study(file), data)


def test_one_of_our_networks_that_the_file_fits_whole_is_named(data: Images, tmp_path: Path) -> None:
    file = tmp_path / "other.pt"
    model = build("resnet8x4", classes=10, in_shape=(3, 32, 32))
    torch.save({f"module.{key}": value for key, value in model.state_dict().items()}, file)
    with pytest.raises(InputError, match=r"of another shape: .*\. It fits resnet8x4\. Name the model"):
        make(study(file), data)
    with pytest.raises(InputError, match=r"are not of this network: .*\. It fits resnet8x4\. Name the network"):
        registry.start("resnet20_a", str(file), classes=10, in_shape=(3, 32, 32))
    # One tensor more, and it fits none whole.
    torch.save({**model.state_dict(), "conv9.weight": torch.zeros(1)}, file)
    with pytest.raises(InputError) as caught:
        make(study(file), data)
    assert "It fits" not in str(caught.value)


def test_a_student_exported_earlier_teaches_with_its_own_normalisation(data: Images, tmp_path: Path) -> None:
    model = build("lightnn", classes=10, in_shape=(3, 32, 32))
    facts = FACTS | {"architecture": "lightnn", "in_shape": [3, 32, 32], "classes": list("abcdefghij")}
    export(tmp_path, model, (0.1,) * 3, (0.2,) * 3, facts)
    made = make(study(tmp_path / "weights.pt", "teacher.model=lightnn"), data)
    assert tuple(made.mean) == (0.1,) * 3
    assert tuple(made.std) == (0.2,) * 3


def test_a_student_exported_earlier_knows_its_classes(data: Images, tmp_path: Path) -> None:
    model, own = build("lightnn", classes=10, in_shape=(3, 32, 32)).eval(), tuple("abcdefghij")
    facts = FACTS | {"architecture": "lightnn", "in_shape": [3, 32, 32], "classes": list(own)}
    export(tmp_path, model, (0.1,) * 3, (0.2,) * 3, facts)
    file, wanted = tmp_path / "weights.pt", study(tmp_path / "weights.pt", "teacher.model=lightnn")
    pictures = torch.rand(4, 3, 32, 32)
    with torch.no_grad():
        for classes in (own, own[::-1]):
            made = teacher.load(wanted, file, data, classes)
            said = model(pictures)[:, [own.index(name) for name in classes]]
            torch.testing.assert_close(made.module(torch.device("cpu"))(pictures), said)
    others = (*own[:-1], "zebra")
    with pytest.raises(InputError, match=r"Only it has: j; only they have: zebra\..*Its outputs are: a, b"):
        teacher.load(wanted, file, data, others)
    named = study(file, "teacher.model=lightnn", f"teacher.classes=[{', '.join(others)}]")
    assert teacher.load(named, file, data, others).classes == 10


def test_nothing_is_said_of_validation_images_that_are_not_there(data: Images) -> None:
    made = Teacher("lightnn", build("lightnn", classes=10, in_shape=data.shape).state_dict(), data.mean, data.std,
                   data.shape, 10)  # fmt: skip
    found = teacher.facts(made, data, torch.arange(0), torch.arange(100))
    assert math.isnan(found[names.VAL_ACCURACY])  # type: ignore[arg-type]
    assert 0 <= found[names.TEST_ACCURACY] <= 1  # type: ignore[operator]


def test_what_the_report_says_of_it(data: Images) -> None:
    model = build("lightnn", classes=10, in_shape=(3, 32, 32))
    made = Teacher("lightnn", model.state_dict(), data.mean, data.std, data.shape, 10)
    found = teacher.facts(made, data, torch.arange(50), torch.arange(50, 200))
    assert found[names.PARAMETERS] == measures.parameter_count(model) == 267_738
    assert 0 <= found[names.TEST_ACCURACY] <= 1  # type: ignore[operator]


def test_other_weights_have_another_digest(data: Images) -> None:
    models = [build("lightnn", classes=10, in_shape=(3, 32, 32)) for _ in range(2)]
    digests = [Teacher("lightnn", m.state_dict(), data.mean, data.std, data.shape, 10).digest for m in models]
    same = Teacher("lightnn", models[0].state_dict(), data.mean, data.std, data.shape, 10).digest
    assert digests[0] == same != digests[1]

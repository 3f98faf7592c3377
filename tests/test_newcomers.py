"""Five people come with what they have. Each has a study of at most twelve lines, offline, with images made here."""

import argparse
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from tests.teacher.known import knowing
from tune_kd import names, plan
from tune_kd.data.sources import Dataset, Source
from tune_kd.models import build
from tune_kd.preparation import Prepared, prepare
from tune_kd.space.load import load
from tune_kd.space.stored import asked
from tune_kd.space.study import Study
from tune_kd.teacher import making as teacher
from tune_kd.teacher.guide import Guide
from tune_kd.training.images import Images
from tune_kd.training.train import Job, train

CLASSES = ("bee", "cat", "dog")
SMALL = "budget: {trials: 2, epochs: 1, repeats: 2, complete: 1}"


def photo(label: int, number: int, side: int = 40) -> Image.Image:
    """A disc of the class's colour somewhere on noise."""
    rng = np.random.default_rng([label, number])
    pixels = rng.integers(0, 120, (side, side + 16, 3), dtype=np.uint8)
    rows, columns = np.mgrid[:side, : side + 16]
    middle = rng.integers(side // 3, side // 2, 2)
    disc = (rows - middle[0]) ** 2 + (columns - middle[1] - 8) ** 2 < (side // 4) ** 2
    pixels[disc] = 40
    pixels[disc, label] = 230
    return Image.fromarray(pixels)


def study_of(folder: Path, text: str) -> Path:
    """The study as it would be written; no more than twelve lines."""
    lines = text.strip().splitlines()
    assert len(lines) <= 12
    file = folder / "mine.yaml"
    file.write_text("\n".join(lines) + "\n")
    return file


def looked_at(file: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Study, Prepared]:
    """All that is checked before anything is trained, from the folder of the study."""
    monkeypatch.chdir(file.parent)
    study = load(file)
    return study, prepare(plan.make(study), lambda text: None)


def write_photos(root: Path, counts: dict[str, int], side: int = 40) -> None:
    for number, (split, count) in enumerate(counts.items()):
        for label, name in enumerate(CLASSES):
            (root / split / name).mkdir(parents=True)
            for image in range(count):
                photo(label, 1000 * number + image, side).save(root / split / name / f"{image}.jpg")


def test_own_photos_as_train_val_test(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_photos(tmp_path / "photos", {"train": 30, "val": 8, "test": 10})
    file = study_of(
        tmp_path,
        f"""
study: my_photos
data: {{dataset: folder, root: photos}}
teacher: {{model: resnet8, epochs: 2}}
student: {{model: lightnn}}
augment: {{kind: crop_flip}}
search: {{kd.alpha: {{uniform: [0.1, 1.0]}}, train.lr: {{loguniform: [0.001, 0.01]}}}}
{SMALL}
""",
    )
    _, prepared = looked_at(file, monkeypatch)
    splits = prepared.splits
    assert (len(splits.test), len(splits.validation), len(splits.teacher)) == (30, 24, 27)
    assert {name: len(index) for name, index in splits.student.items()} == {"test": 0, "train": 63, "val": 0}
    said = (
        "Folders are used as they are named: test for testing (data.test_on), val for validation (data.validation_on)."
    )
    assert said in prepared.notes
    # Of no images there is no digest.
    assert {"teacher", "test", "student/train"} <= set(splits.digests)
    assert "student/test" not in splits.digests


def test_a_csv(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = ["path,class"]
    (tmp_path / "pictures").mkdir()
    for label, name in enumerate(CLASSES):
        for image in range(20):
            photo(label, image).save(tmp_path / "pictures" / f"{name}{image}.png")
            rows.append(f"pictures/{name}{image}.png,{name}")
    (tmp_path / "photos.csv").write_text("\n".join(rows))
    file = study_of(
        tmp_path,
        """
study: my_table
data: {dataset: table, file: photos.csv}
teacher: {model: resnet8}
student: {model: lightnn}
search: {kd.alpha: {uniform: [0.1, 1.0]}}
""",
    )
    _, prepared = looked_at(file, monkeypatch)
    assert prepared.splits.classes == CLASSES
    assert prepared.shape == (3, 32, 32)
    assert list(prepared.splits.student) == ["table"]


def test_a_hugging_face_data_set_saved_to_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets")
    kinds = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=list(CLASSES))})
    made = {}
    for number, (split, count) in enumerate({"train": 16, "validation": 4, "test": 5}.items()):
        rows = [(label, image) for label in range(3) for image in range(count)]
        images = [photo(label, 1000 * number + image) for label, image in rows]
        columns = {"image": images, "label": [label for label, _ in rows]}
        made[split] = datasets.Dataset.from_dict(columns, features=kinds)
    datasets.DatasetDict(made).save_to_disk(str(tmp_path / "saved"))
    file = study_of(
        tmp_path,
        """
study: my_hf
data: {dataset: hf, root: saved, image_size: 48}
teacher: {model: resnet8}
student: {model: lightnn}
search: {kd.alpha: {uniform: [0.1, 1.0]}}
""",
    )
    _, prepared = looked_at(file, monkeypatch)
    splits = prepared.splits
    assert (len(splits.test), len(splits.validation), prepared.shape) == (15, 12, (3, 48, 48))
    assert splits.classes == CLASSES


def test_a_timm_teacher_from_a_file_at_224_and_a_timm_student_at_96(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    timm, save_file = pytest.importorskip("timm"), pytest.importorskip("safetensors.torch").save_file
    torch.manual_seed(0)
    # Trained for a thousand classes, as those of the hub are: ours get a new head.
    save_file(timm.create_model("test_resnet", num_classes=1000).state_dict(), tmp_path / "teacher.safetensors")
    write_photos(tmp_path / "photos", {"train": 12, "val": 3, "test": 3}, side=240)
    file = study_of(
        tmp_path,
        f"""
study: backbone
data: {{dataset: folder, root: photos}}
teacher: {{model: timm.test_resnet, pretrained: teacher.safetensors, image_size: 224, epochs: 1}}
student: {{model: timm.mobilenetv3_small_050, image_size: 96}}
train: {{batch_size: 8}}
search: {{kd.alpha: {{uniform: [0.1, 1.0]}}}}
{SMALL}
""",
    )
    study, prepared = looked_at(file, monkeypatch)
    assert (prepared.shape, prepared.teacher_shape) == ((3, 96, 96), (3, 224, 224))
    splits = prepared.splits
    pixels, labels = torch.tensor(splits.images), torch.tensor(splits.labels)
    images = Images(pixels, labels, prepared.mean, prepared.std, 3)
    learning, validation = torch.tensor(splits.teacher), torch.tensor(splits.validation)
    told: list[dict[str, float]] = []
    order = teacher.order(study, images, learning, validation, start=prepared.teachers[0])
    made = teacher.make(order, tmp_path / "t.pt", told.append)
    assert len(told) == 1
    assert made.mean == (0.5, 0.5, 0.5)  # as timm's weights want it
    guide = Guide(made, None, torch.device("cpu"))
    job = Job(study, torch.tensor(splits.student["train"]), validation, 0, 1)
    seen = images.seen(*prepared.normalisation(study.student.model), study.student.image_size)
    student = train(job, seen, guide, told.append, tmp_path / "s.pt")
    assert student is not None
    assert np.isfinite(told[-1][names.LOSS_KD])
    assert student(torch.zeros(2, 3, 96, 96)).shape == (2, 3)


def saved_as_repdistiller_does(model: nn.Module, name: str, file: Path) -> None:
    options = argparse.Namespace(model=name, lr=0.05)
    torch.save({"opt": options, "model": model.state_dict(), "best_acc": np.float64(1)}, file)


def same_as(study: Study, prepared: Prepared, own: nn.Module) -> None:
    """The teacher as a search loads it says what `own` says in plain PyTorch: each logit, and the accuracy exactly."""
    splits, classes = prepared.splits, len(prepared.splits.classes)
    images = Images(
        torch.tensor(splits.images), torch.tensor(splits.labels), prepared.mean, prepared.std, len(splits.classes)
    )
    loaded = teacher.load(study, Path(str(study.teacher.checkpoint)), images, splits.classes)
    test, cpu = torch.tensor(splits.test), torch.device("cpu")
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (loaded.mean, loaded.std))
    with torch.no_grad():
        said = own((images.images[test] / 255 - mean) / std)
        found = loaded.module(cpu)(loaded.read(images).inputs(images.images[test]))
    torch.testing.assert_close(found, said, atol=1e-3, rtol=1e-4)
    right = said.argmax(1) == images.labels[test]
    facts = teacher.facts(loaded, images, torch.tensor(splits.validation), test)
    assert facts[names.TEST_ACCURACY] == float(right.double().mean())
    # Or an empty file would have passed.
    assert len(said.argmax(1).unique()) > classes / 2
    assert 0.3 < float(right.double().mean()) < 0.95


def test_a_checkpoint_of_repdistiller_with_a_namespace_in_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its accuracy is found again to the digit."""
    write_photos(tmp_path / "photos", {"train": 12, "val": 6, "test": 8})
    file = study_of(
        tmp_path,
        """
study: downloaded
data: {dataset: folder, root: photos, split: {teacher: 0}}
teacher: {model: resnet8x4, checkpoint: ckpt_epoch_240.pth, normalize: imagenet}
student: {model: lightnn}
search: {kd.alpha: {uniform: [0.1, 1.0]}}
""",
    )
    monkeypatch.chdir(tmp_path)
    before = load(file, ["teacher.checkpoint=null", "data.split.teacher=3"])
    prepared = prepare(plan.make(before), lambda text: None)
    torch.manual_seed(1)
    own = build("resnet8x4", classes=3, in_shape=(3, 32, 32))
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in teacher.IMAGENET)
    labels = torch.tensor(prepared.splits.labels)
    mixed = torch.where(torch.arange(len(labels)) % 4 == 0, (labels + 1) % 3, labels)  # it is wrong now and then
    knowing(own, (torch.tensor(prepared.splits.images) / 255 - mean) / std, mixed, 3)
    saved_as_repdistiller_does(own, "resnet8x4", tmp_path / "ckpt_epoch_240.pth")
    same_as(*looked_at(file, monkeypatch), own)


def test_the_teacher_of_the_study_of_cifar100(tmp_path: Path) -> None:
    """As RepDistiller and SimKD write it, for a hundred classes; on pictures made here, of a quarter of CIFAR's."""
    rng, numbers = np.random.default_rng(0), np.arange(300) % 100
    pixels = rng.integers(256, size=(300, 3, 16, 16), dtype=np.uint8)
    train, test = Source("train", pixels[:200], numbers[:200]), Source("test", pixels[200:], numbers[200:])
    made = Dataset("cifar100", tuple(f"class{number:02}" for number in range(100)), {"train": train}, test, ())
    settings = ["data.split.validation=100"]
    before = load("cifar100_resnet32x4", [*settings, "teacher.checkpoint=null"])
    prepared = prepare(plan.make(before), lambda text: None, made)
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (prepared.mean, prepared.std))
    torch.manual_seed(0)
    own = build("resnet32x4", classes=100, in_shape=(3, 16, 16))
    labels = torch.tensor(prepared.splits.labels)
    mixed = torch.where(torch.arange(300) % 4 == 0, (labels + 1) % 100, labels)
    knowing(own, (torch.tensor(prepared.splits.images) / 255 - mean) / std, mixed, 100)
    saved_as_repdistiller_does(own, "resnet32x4", tmp_path / "resnet32x4.pth")
    study = load("cifar100_resnet32x4", [*settings, f"teacher.checkpoint={tmp_path / 'resnet32x4.pth'}"])
    same_as(study, prepare(plan.make(study), lambda text: None, made), own)


@pytest.mark.parametrize(
    ("weights", "data", "sees"),
    [
        ("checkpoint: t.pt", "", (224, 96)),  # what torchvision trains it with
        ("checkpoint: t.pt, image_size: 64", "", (64, 96)),
        ("checkpoint: t.pt", ", image_size: 48", (48, 96)),  # pictures are not enlarged unless somebody says so
        ("checkpoint: t.pt", ", image_size: 256", (224, 96)),
        ("pretrained: t.pt", "", (224, 96)),
        ("pretrained: t.pt, image_size: 64", "", (64, 96)),
        ("epochs: 1", "", (96, 96)),
    ],
)
def test_a_network_that_comes_with_weights_sees_pictures_as_they_want_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, weights: str, data: str, sees: tuple[int, int]
) -> None:
    write_photos(tmp_path / "photos", {"train": 6, "val": 2, "test": 2}, side=60)
    own = build("torchvision.squeezenet1_1", classes=3, in_shape=(3, 64, 64))
    torch.save(own.state_dict(), tmp_path / "t.pt")
    file = study_of(
        tmp_path,
        f"""
study: sizes
data: {{dataset: folder, root: photos{data}, split: {{teacher: 3}}}}
teacher: {{model: torchvision.squeezenet1_1, {weights}}}
student: {{model: lightnn, image_size: 96}}
search: {{kd.alpha: {{uniform: [0.1, 1.0]}}}}
""",
    )
    study, prepared = looked_at(file, monkeypatch)
    assert (prepared.teacher_shape[1], prepared.shape[1]) == sees
    if data == "":  # nothing is kept larger than somebody sees it
        assert prepared.splits.images.shape[2] == max(sees)
    if "checkpoint" in weights:
        splits = prepared.splits
        images = Images(torch.tensor(splits.images), torch.tensor(splits.labels), prepared.mean, prepared.std, 3)
        loaded = teacher.load(study, tmp_path / "t.pt", images, splits.classes)
        assert loaded.shape == prepared.teacher_shape
        assert loaded.read(images).inputs(images.images[:2]).shape == (2, *prepared.teacher_shape)


def test_files_of_weights_are_found_from_any_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    text = "study: x\nteacher: {model: timm.a, pretrained: t.safetensors}\nstudent: {pretrained: IMAGENET1K_V1}\n"
    study = asked(text)
    assert study.teacher.pretrained == str(tmp_path / "t.safetensors")
    assert study.student.pretrained == "IMAGENET1K_V1"

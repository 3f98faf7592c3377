"""--new: a study from what a folder holds, which loads and fits its images; and what it refuses."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tune_kd import plan, starter
from tune_kd.errors import InputError
from tune_kd.preparation import prepare
from tune_kd.space import editor
from tune_kd.space.load import load

COUNTS = {"camera": 90, "generated": 60}


def pictures(root: Path, counts: dict[str, int], size: int = 40) -> Path:
    random = np.random.default_rng(0)
    for source, images in counts.items():
        for label in ("cat", "dog", "fish"):
            folder = root / source / label
            folder.mkdir(parents=True)
            for number in range(images // 3):
                Image.fromarray(random.integers(0, 255, (size, size + 9, 3), dtype=np.uint8)).save(
                    folder / f"{number}.png"
                )
    return root


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return pictures(tmp_path / "my photos", COUNTS)


def test_the_study_is_ready_to_be_planned(photos: Path, tmp_path: Path) -> None:
    file = tmp_path / "pets.yaml"
    found = starter.write(file, photos)
    assert found == "2 sources: camera (90 images), generated (60 images); 3 classes"
    text = file.read_text(encoding="utf-8")
    assert text.startswith(f"{editor.LINE}{editor.place()}\n# A first study")
    assert "#   camera: 90 images of 3 classes, 30 of the rarest (cat)" in text
    study = load(file)
    assert (study.study, study.data.evaluate_on) == ("pets", ("camera",))
    assert study.question == "Does distillation help on the images of my photos?"
    assert study.conditions["data.source"] == ("camera", "generated", "camera+generated")
    prepared = prepare(plan.make(study), lambda text: None)
    assert prepared.shape == (3, 32, 32)
    assert prepared.splits.classes == ("cat", "dog", "fish")


@pytest.mark.parametrize("absent", ["nothing", "val", "test"])
def test_sources_called_as_splits_are_that_and_no_student_learns_from_them(tmp_path: Path, absent: str) -> None:
    counts = {"drawn": 90, "Test": 30, "train": 120, "val": 30}
    counts = {name: count for name, count in counts.items() if name.lower() != absent}
    starter.write(tmp_path / "s.yaml", pictures(tmp_path / "photos", counts, size=34))
    study = load(tmp_path / "s.yaml")
    assert study.conditions["data.source"] == ("drawn", "train", "drawn+train")
    assert study.data.teacher_on == ("train",)
    assert study.data.evaluate_on == (("train",) if absent != "nothing" else ())
    splits = prepare(plan.make(study), lambda text: None).splits
    assert not any(len(splits.student[name]) for name in counts.keys() & {"Test", "val"})
    # A quarter of train's 120 are 30 as well.
    assert (len(splits.test), len(splits.validation)) == (30, 18 if absent == "val" else 30)


def test_large_pictures_and_many_of_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    photos = pictures(tmp_path / "photos", {"one": 9}, size=300)
    monkeypatch.setattr(starter.Source, "images", 20_000)
    text = starter._text(tmp_path / "7.yaml", photos, starter._sources(photos))
    study = load(text)
    assert study.study == "7"
    assert study.data.model_dump()["image_size"] == 128
    assert study.student.model.startswith("torchvision.")
    assert study.conditions == {"data.source": ("one",), "data.size": (1000, "all")}


def test_nothing_is_overwritten(photos: Path, tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("mine")
    with pytest.raises(InputError, match="is there already"):
        starter.write(file, photos)
    assert file.read_text() == "mine"


def test_what_is_no_folder_of_sources_is_told_with_what_to_do(photos: Path, tmp_path: Path) -> None:
    file = tmp_path / "s.yaml"
    for folder, message in (
        (tmp_path / "nowhere", "not a folder"),
        (photos / "camera", "they are classes, and there is no source"),
        (photos / "camera" / "cat", "no images were found"),
    ):
        with pytest.raises(InputError, match=message):
            starter.write(file, folder)
    (photos / "camera" / "bird").mkdir()
    Image.new("RGB", (8, 8)).save(photos / "camera" / "bird" / "1.png")
    with pytest.raises(InputError, match="source 'generated' has no images of bird"):
        starter.write(file, photos)
    assert not file.exists()


def test_images_in_another_form_are_told_how_a_study_names_them(photos: Path, tmp_path: Path) -> None:
    saved, table, parquet = tmp_path / "saved", tmp_path / "photos.CSV", tmp_path / "parts"
    for folder in (saved / "train", saved / "test", parquet / "data"):
        folder.mkdir(parents=True)
    for file in ("dataset_dict.json", "train/state.json", "train/data-00000-of-00001.arrow", "test/state.json"):
        (saved / file).touch()
    (parquet / "data" / "train-00000-of-00001.parquet").touch()
    table.touch()
    for place, data in (
        (saved, f'data: {{dataset: hf, root: "{saved}"}}'),
        (parquet, f'data: {{dataset: hf, root: "{parquet}"}}'),
        (table, f'data: {{dataset: table, file: "{table}"}}'),
    ):
        with pytest.raises(InputError) as told:
            starter.write(tmp_path / "s.yaml", place)
        assert str(told.value).endswith(data)
        load(f"study: s\n{data}\nteacher: {{model: resnet8}}\nstudent: {{model: lightnn}}\n")
    assert not (tmp_path / "s.yaml").exists()
    (photos / "camera" / "cat" / "labels.csv").touch()
    (photos / "camera" / "cat" / "0.png").rename(photos / "camera" / "cat" / "0")
    (photos / "camera" / "cat" / "1.png").rename(photos / "camera" / "cat" / "1.PNG")
    assert "camera (90 images)" in starter.write(tmp_path / "s.yaml", photos)


def test_the_advice_for_classes_without_a_source_can_be_pasted(photos: Path, tmp_path: Path) -> None:
    folder = tmp_path / "own pictures"
    (photos / "camera").rename(folder)
    with pytest.raises(InputError) as told:
        starter.write(tmp_path / "s.yaml", folder)
    command = next(line for line in str(told.value).splitlines() if line.startswith("  mv "))
    done = subprocess.run(["bash", "-ec", command], cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert "1 source: camera" in starter.write(tmp_path / "s.yaml", folder)


def test_the_command_writes_it_and_says_what_is_next(photos: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tune_kd.search", "--new", "first.yaml"]
    done = subprocess.run([*command, "--data", str(photos)], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "python -m tune_kd.search first.yaml --plan" in done.stdout
    assert load(tmp_path / "first.yaml").study == "first"
    alone = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert (alone.returncode, "give both" in alone.stderr) == (2, True)

"""A plan says what images there are, what cannot be read, and what looks alike."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from tests.data.test_duplicates import COPIES, planted
from tune_kd import plan
from tune_kd.data.splits import student_indices
from tune_kd.planned_images import image_words, sources_table
from tune_kd.preparation import Prepared, prepare
from tune_kd.space.load import load

STUDY = """
study: planned
data: {dataset: folder, image_size: 32, split: {test: 0.2, validation: 0.2, teacher: 0.2}}
teacher: {model: lightnn}
student: {model: lightnn}
"""


@pytest.fixture
def prepared(tmp_path: Path) -> Prepared:
    planted(tmp_path, COPIES["half as large"])
    (tmp_path / "bing" / "cat" / "0.img").write_bytes(b"no picture")
    return prepare(plan.make(load(STUDY, [f"data.root={tmp_path}"])), lambda text: None)


def test_images_are_counted_by_source_and_class_and_every_oddity_is_told(prepared: Prepared, tmp_path: Path) -> None:
    first, room, *notes = image_words(load(STUDY, [f"data.root={tmp_path}"]), prepared)
    students = sum(map(len, prepared.splits.student.values()))
    assert first.startswith("Images: 12 for tests, 12 for validation, 12 for the teacher; for students bing ")
    assert 36 + students <= 60
    assert room == f"Decoded, 60 images of 32 x 32 pixels take 0.2 MB in {tmp_path / '.tune_kd'}."
    assert "1 of 61 files" in notes[0]
    assert "bing/cat/0.img (no image format that Pillow reads)" in notes[0]
    assert notes[1].startswith(
        "20 images are near-duplicates (saved again, or resized), 10 pictures in all, between bing"
    )
    assert prepared.sources == {"bing": (15, 15), "google": (15, 15)}


def test_images_for_a_teacher_that_is_loaded_can_be_given_to_the_students(prepared: Prepared, tmp_path: Path) -> None:
    def said(*settings: str) -> bool:
        study = load(STUDY, [f"data.root={tmp_path}", *settings])
        return sum("nothing from the 12 images" in line for line in image_words(study, prepared)) == 1

    loaded = "teacher.checkpoint=weights.pt"
    assert said(loaded)
    assert not said()
    assert not said(loaded, "data.overlap=true")
    assert not said(loaded, "teacher.through=[lightnn]")
    assert not said(loaded, "teachers=[{model: lightnn}]")
    given = [f"data.root={tmp_path}", "data.split.teacher=0"]
    after = prepare(plan.make(load(STUDY, given)), lambda text: None)
    students = [sum(map(len, each.splits.student.values())) for each in (prepared, after)]
    assert students[1] >= students[0] + 12  # and near-duplicates of those
    assert not any("set aside for it" in line for line in image_words(load(STUDY, [*given, loaded]), after))


def test_of_many_classes_the_rarest_and_the_most_frequent_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    many = Prepared.__new__(Prepared)
    names = tuple(f"a class with a long name {number}" for number in range(5))
    object.__setattr__(many, "splits", type("Named", (), {"classes": names}))
    object.__setattr__(many, "sources", {"google": (7, 3, 9, 5, 4)})
    Console(width=200).print(sources_table(many))
    said = capsys.readouterr().out
    for word in ("google", "28", f"{names[1]} 3", f"{names[2]} 9"):
        assert word in said
    assert names[0] not in said


def test_where_some_classes_are_rarer_it_says_who_learns_from_which_mix(tmp_path: Path) -> None:
    """In a search the report says the same, from the same figures."""
    for name, count in (("cat", 60), ("dog", 20)):
        for number in range(count):
            place = tmp_path / "web" / name / f"{number}.png"
            place.parent.mkdir(parents=True, exist_ok=True)
            noise = np.random.default_rng([number, count]).integers(0, 256, (32, 32, 3), dtype=np.uint8)
            Image.fromarray(noise).save(place)
    study = load(STUDY, [f"data.root={tmp_path}", "conditions.data.size=[12, all]"])
    found = prepare(plan.make(study), lambda text: None)
    assert found.per_class == ([12, 4], {"web": [8, 24]})
    said = "\n".join(image_words(study, found))
    assert "Classes are tested as they come, with 4 to 12 test images each." in said
    assert "(web has 8 to 24 of a class)" in said
    assert "A limited data.size is balanced over classes as far as the images go" in said
    few = student_indices(found.splits, "web", 12, None)
    assert np.bincount(found.splits.labels[few]).tolist() == [6, 6]
    whole = student_indices(found.splits, "web", "all", None)
    assert np.bincount(found.splits.labels[whole]).tolist() == [24, 8]

"""Near-duplicates: planted ones are found, look-alikes are not, and none is held out while its like is trained on."""

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tune_kd.data import digits, duplicates, folders, sources
from tune_kd.data.sources import Dataset, Source
from tune_kd.data.splits import Splits, split
from tune_kd.space.schema import Data, Split

WANTED = Data(dataset="folder", split=Split(test=0.2, validation=0.2, teacher=0.2))
Picture = np.ndarray


def photo(seed: int, side: int = 96) -> Picture:
    """Something like a photo: coarse shapes, finer ones on them, and a little noise; (height, width, 3)."""
    rng = np.random.default_rng([seed, 5])
    layers = [(5, 60), (13, 25), (40, 10)]
    picture = np.full((side, side, 3), rng.uniform(70, 180, 3))
    for cells, much in layers:
        noise = Image.fromarray(rng.uniform(0, 255, (cells, cells, 3)).astype(np.uint8))
        picture += (np.asarray(noise.resize((side, side), Image.Resampling.BICUBIC)) - 127.5) * (much / 60)
    return np.clip(picture + rng.normal(0, 3, picture.shape), 0, 255).astype(np.uint8)


def resized(picture: Picture, width: int, height: int) -> Picture:
    return np.asarray(Image.fromarray(picture).resize((width, height), Image.Resampling.BICUBIC))


def saved_again(picture: Picture, quality: int) -> bytes:
    target = io.BytesIO()
    Image.fromarray(picture).save(target, "JPEG", quality=quality)
    return target.getvalue()


def png(picture: Picture) -> bytes:
    target = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(picture)).save(target, "PNG")
    return target.getvalue()


COPIES: dict[str, Callable[[Picture], bytes]] = {
    "JPEG of good quality": lambda photo: saved_again(photo, 90),
    "JPEG of the usual quality": lambda photo: saved_again(photo, 75),
    "JPEG of poor quality": lambda photo: saved_again(photo, 40),
    "a pixel wider": lambda photo: png(resized(photo, 97, 96)),
    "half as large": lambda photo: png(resized(photo, 48, 48)),
    "darker": lambda photo: png((photo * 0.8).astype(np.uint8)),
}
OTHERS: dict[str, Callable[[Picture], bytes]] = {
    "flipped": lambda photo: png(photo[:, ::-1]),
    "turned": lambda photo: png(photo.transpose(1, 0, 2)),
    "in other colours": lambda photo: png(photo[:, :, ::-1]),
    "a part of it": lambda photo: png(photo[12:84, 12:84]),
}
EACH, PLANTED = 30, 10


def planted(root: Path, change: Callable[[Picture], bytes], size: int = 32) -> Dataset:
    """Two sources of two classes; ten pictures of the first source stand in the second as well, after a change."""
    for place, source in enumerate(("google", "bing")):
        for number in range(EACH):
            folder = root / source / ("cat" if number % 2 else "dog")
            folder.mkdir(parents=True, exist_ok=True)
            again = place == 1 and number < PLANTED
            own = change(photo(number)) if again else png(photo(1000 * place + number))
            (folder / f"{number}.img").write_bytes(own)
    return sources.load(folders.Settings(root=str(root), image_size=size))


def found(dataset: Dataset) -> duplicates.Alike:
    images = np.concatenate([source.images for source in dataset.sources.values()])
    return duplicates.find(images, np.array([hash(image.tobytes()) for image in images]))


@pytest.mark.parametrize("kind", COPIES)
def test_pictures_that_were_saved_again_or_resized_are_found_each_with_its_own(kind: str, tmp_path: Path) -> None:
    dataset = planted(tmp_path, COPIES[kind])
    alike = found(dataset)
    assert int(alike.near.sum()) == 2 * PLANTED
    assert sorted(np.bincount(alike.group[alike.near])[np.unique(alike.group[alike.near])]) == [2] * PLANTED
    names = np.array([name.partition("/")[2] for source in dataset.sources.values() for name in source.names])
    for group in np.unique(alike.group[alike.near]):
        assert len(set(names[alike.group == group])) == 1


@pytest.mark.parametrize("size", [32, 96])
@pytest.mark.parametrize("kind", OTHERS)
def test_other_pictures_of_the_same_are_none(kind: str, size: int, tmp_path: Path) -> None:
    assert not found(planted(tmp_path, OTHERS[kind], size)).near.any()


def test_large_pictures_are_told_apart_by_every_few_pixels(tmp_path: Path) -> None:
    alike = found(planted(tmp_path, COPIES["JPEG of the usual quality"], 200))
    assert int(alike.near.sum()) == 2 * PLANTED


def test_drawings_of_few_dots_and_even_pictures_are_left_alone() -> None:
    small = digits.scanned().images
    content = np.arange(len(small))
    assert not duplicates.find(small, content).near.any()
    even = np.full((40, 3, 32, 32), 200, np.uint8) - np.arange(40, dtype=np.uint8)[:, None, None, None]
    even[:, :, ::2] += 1  # less than what a JPEG's noise is
    assert not duplicates.find(even, np.arange(40)).near.any()


def test_a_thousand_of_a_kind_are_one_group() -> None:
    rng = np.random.default_rng(0)
    frame = photo(1, 32).transpose(2, 0, 1).astype(int)
    frames = np.clip(frame + rng.integers(-3, 4, (1000, 3, 32, 32)), 0, 255).astype(np.uint8)
    alike = duplicates.find(frames, np.arange(1000))
    assert alike.near.all()
    assert len(np.unique(alike.group)) == 1


# What becomes of them.


def made(pictures: dict[str, np.ndarray], classes: int = 2) -> Dataset:
    own = {name: Source(name, each, np.arange(len(each), dtype=np.int64) % classes) for name, each in pictures.items()}
    return Dataset("made", tuple("ab"[:classes]), own, None, ())


def pictures(first: int, count: int) -> np.ndarray:
    return np.ascontiguousarray(np.stack([photo(first + each, 32) for each in range(count)]).transpose(0, 3, 1, 2))


def noisy(images: np.ndarray) -> np.ndarray:
    """Nearly the same again."""
    noise = np.random.default_rng(1).integers(-2, 3, images.shape)
    return np.clip(images.astype(int) + noise, 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def with_copies() -> Dataset:
    first = pictures(0, 80)
    return made({"a": first, "b": np.concatenate([noisy(first[:24]), pictures(500, 56)])})


def sides(splits: Splits) -> list[set[int]]:
    return [set(splits.test.tolist()), set(splits.validation.tolist()), set(splits.teacher.tolist()),
            set(np.concatenate(list(splits.student.values())).tolist())]  # fmt: skip


def test_near_duplicates_are_on_one_side(with_copies: Dataset) -> None:
    for seed in range(5):
        splits = split(with_copies, WANTED, seed)
        parts = sides(splits)
        assert all(not one & other for place, one in enumerate(parts) for other in parts[place + 1 :])
        for number in range(24):
            held = [place for place, part in enumerate(parts) if part & {number, 80 + number}]
            assert len(held) == 1
        # Most pairs stay whole, as both are drawn by one chance.
        kept = sum(map(len, parts))
        assert kept >= 160 - 12
        left = f" {160 - kept} that fell on two sides are left out." if kept < 160 else ""
        assert splits.notes == (
            "48 images are near-duplicates (saved again, or resized), 24 pictures in all, between a and b 24. "
            f"Each picture is on one side of the splits.{left}",
        )


def test_they_may_be_kept_where_they_fall_and_are_told_of(with_copies: Dataset) -> None:
    splits = split(with_copies, WANTED.model_copy(update={"duplicates": "keep"}), 0)
    test, validation, teacher, student = sides(splits)
    assert len(test | validation | teacher | student) == 160
    trained = teacher | student
    held = sum(
        (one in test | validation and other in trained) for n in range(24) for one, other in ((n, 80 + n), (80 + n, n))
    )
    assert held > 0
    assert splits.notes[0].endswith(
        f"They stay where they fall (data.duplicates: keep): {held} images for validation or test have one among those "
        "that are trained on."
    )


def test_without_any_the_splits_are_what_they_are_with_each_by_itself() -> None:
    plain = made({"a": pictures(0, 60), "b": pictures(300, 40)})
    grouped, kept = (split(plain, WANTED.model_copy(update={"duplicates": each}), 3) for each in ("group", "keep"))
    assert sides(grouped) == sides(kept)
    assert grouped.digests == kept.digests
    assert grouped.notes == kept.notes == ()


def test_exact_copies_alone_change_nothing() -> None:
    first = pictures(0, 60)
    copied = made({"a": first, "b": np.concatenate([first[:10], pictures(300, 40)])})
    grouped, kept = (split(copied, WANTED.model_copy(update={"duplicates": each}), 3) for each in ("group", "keep"))
    assert grouped.digests == kept.digests
    assert grouped.notes == ()


def test_official_test_images_send_their_near_duplicates_away() -> None:
    first = pictures(0, 60)
    test = Source("test", noisy(first[:6]), np.arange(6, dtype=np.int64) % 2)
    official = Dataset("made", ("a", "b"), made({"a": first}).sources, test, ())
    wanted = WANTED.model_copy(update={"evaluate_on": ()})
    splits = split(official, wanted, 0)
    assert splits.test.tolist() == list(range(60, 66))
    assert not set(range(6)) & set.union(*sides(splits)[1:])
    assert splits.notes[0].startswith(
        "12 images are near-duplicates (saved again, or resized), 6 pictures in all, between a and the test images 6. "
    )

import os
import signal
import subprocess
import sys
import threading
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from tune_kd.data import decoding, folders, picture_cache, sources
from tune_kd.data.sources import Asked, Dataset, silent
from tune_kd.errors import InputError


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUNE_KD_CACHE", str(tmp_path / "cache"))


def png(colour: object, size: tuple[int, int] = (24, 16)) -> bytes:
    target = BytesIO()
    Image.new("RGB", size, colour).save(target, "PNG")
    return target.getvalue()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two sources of two classes with three images each, every image of its own grey."""
    root = tmp_path / "photos"
    for number, place in enumerate(["bing/cat", "bing/dog", "google/cat", "google/dog"]):
        (root / place).mkdir(parents=True)
        for image in range(3):
            grey = number * 10 + image
            (root / place / f"{image}.png").write_bytes(png((grey, grey, grey)))
    return root


def load(root: Path, said: list[str] | None = None, **keys: object) -> Dataset:
    data = folders.Settings(root=str(root), **keys)  # type: ignore[arg-type]
    return sources.load(data, Asked(0, silent if said is None else said.append))


def greys(dataset: Dataset, source: str) -> list[int]:
    return dataset.sources[source].images[:, 0, 5, 5].tolist()


def test_pictures_much_larger_than_they_are_shown_are_told(root: Path) -> None:
    """Also where they come out of the cache, and never where a size is asked for."""
    for file in root.glob("*/*/[01].png"):
        file.write_bytes(png((int(file.stem), 5, 5), (96, 60)))
    (told,) = [note for note in load(root).notes if "copies" not in note]
    assert told.startswith("Half of the pictures (of 12 looked at) have 60 pixels or more on their shorter side")
    assert "32 x 32. A larger data.image_size" in told
    assert told in load(root).notes
    assert not any("shorter side" in note for note in load(root, image_size=32).notes)


def test_folders_become_sources_and_classes(root: Path) -> None:
    said: list[str] = []
    dataset = load(root, said)
    assert dataset.classes == ("cat", "dog")
    assert list(dataset.sources) == ["bing", "google"]
    assert greys(dataset, "bing") == [0, 1, 2, 10, 11, 12]
    assert greys(dataset, "google") == [20, 21, 22, 30, 31, 32]
    google = dataset.sources["google"]
    assert google.images.shape == (6, 3, 32, 32)
    assert google.labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert google.names[0] == "google/cat/0.png"
    assert dataset.notes == ()
    assert said[-1].startswith("12 of 12 images read, 0.1 MB once decoded")


def test_what_cannot_be_read_is_listed_and_counted_but_not_fatal(root: Path) -> None:
    cat = root / "google" / "cat"
    (cat / "empty.jpg").write_bytes(b"")
    (cat / "notes.txt").write_text("cats!")
    (cat / "cut.png").write_bytes(png("red")[:45])
    (cat / "really.jpg").write_bytes(png("white"))  # a PNG by any other name
    (cat / ".hidden.png").write_bytes(b"")
    (cat / "broken link.png").symlink_to("nowhere.png")
    (cat / "round").symlink_to("round")
    (cat / "up").symlink_to("..")
    (cat / "größe 日本.png").write_bytes(png("white"))
    os.mkfifo(cat / "pipe.png")
    dataset = load(root)
    assert greys(dataset, "google")[:5] == [20, 21, 22, 255, 255]
    assert "google/cat/größe 日本.png" in dataset.sources["google"].names
    (note,) = dataset.notes[:1]
    assert note.startswith("7 of 21 files")
    for part in ("empty.jpg (the file is empty)", "notes.txt (no image", "cut.png (", "pipe.png"):
        assert part in note
    assert "exact copies" in dataset.notes[1]


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse such names")
def test_names_that_are_no_text_can_be_printed(root: Path) -> None:
    for place in ("bing", "google"):
        (root / place / os.fsdecode(b"odd\xff")).mkdir()
        (root / place / os.fsdecode(b"odd\xff/\xfe.png")).write_bytes(png("white"))
    (root / "google" / "cat" / os.fsdecode(b"\xfd.png")).write_bytes(b"")
    dataset = load(root)
    assert dataset.classes[-1] == "odd\\xff"
    assert "google/odd\\xff/\\xfe.png" in dataset.sources["google"].names
    assert "google/cat/\\xfd.png (the file is empty)" in dataset.notes[0]


def test_what_may_not_be_opened_is_a_note_or_names_the_folder(root: Path) -> None:
    (root / "google" / "cat" / "0.png").chmod(0)
    if os.access(root / "google" / "cat" / "0.png", os.R_OK):
        pytest.skip("this user may read anything")
    assert "0.png (cannot be opened: Permission denied)" in load(root).notes[0]
    (root / "google" / "cat").chmod(0)
    try:
        with pytest.raises(InputError, match="google/cat cannot be opened: Permission denied"):
            load(root)
    finally:
        (root / "google" / "cat").chmod(0o755)


def test_a_long_list_of_unreadable_files_is_cut(root: Path) -> None:
    for number in range(30):
        (root / "google" / "cat" / f"bad{number:02}.png").write_bytes(b"")
    (note,) = load(root).notes
    assert note.startswith("30 of 42 files")
    assert note.endswith("and 10 more.")


def test_links_to_folders_are_followed_but_not_upwards(root: Path) -> None:
    (root / "linked").symlink_to(root / "google")
    (root / "google" / "loop").symlink_to("..")
    (root / "loop").symlink_to("loop")
    dataset = load(root)
    assert list(dataset.sources) == ["bing", "google", "linked"]
    assert dataset.classes == ("cat", "dog")


def test_accents_compare_alike_however_they_are_stored(root: Path) -> None:
    (root / "bing" / "cat").rename(root / "bing" / "caf\u00e9")
    (root / "google" / "cat").rename(root / "google" / "cafe\u0301")
    assert load(root).classes == ("caf\u00e9", "dog")


def test_pictures_are_decoded_once_even_when_the_folder_moves(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = load(root)
    assert (root / ".tune_kd" / "images-32.npz").is_file()
    assert not list((root / ".tune_kd").glob("*.tmp"))
    moved = root.rename(root.with_name("moved"))
    for path in moved.rglob("*.png"):
        os.utime(path, (0, 0))
    (moved / "google" / "cat" / "new.png").write_bytes(png("white"))
    decoded: list[int] = []
    honest = decoding.decode
    monkeypatch.setattr(decoding, "decode", lambda raw, *kind: decoded.append(len(raw)) or honest(raw, *kind))
    second = load(moved)
    assert len(decoded) == 1
    assert greys(second, "google") == [20, 21, 22, 255, 30, 31, 32]
    np.testing.assert_array_equal(first.sources["bing"].images, second.sources["bing"].images)
    load(moved, image_size=16)
    assert len(decoded) == 1 + 13


def test_a_changed_file_of_the_same_size_and_date_is_seen(root: Path) -> None:
    path = root / "bing" / "cat" / "0.bmp"
    for grey in (66, 77):
        Image.new("RGB", (9, 9), (grey, grey, grey)).save(path)
        os.utime(path, (0, 0))
        assert greys(load(root), "bing")[0] == grey


def spoil_end(raw: bytes) -> bytes:
    return raw[:-100]


def spoil_pixel(raw: bytes) -> bytes:
    middle = len(raw) // 2
    return raw[:middle] + bytes([raw[middle] ^ 1]) + raw[middle + 1 :]


def foreign(raw: bytes) -> bytes:
    target = BytesIO()
    np.savez(target, about=np.array("something else"), images=np.zeros(3))
    return target.getvalue()


def pickled(raw: bytes) -> bytes:
    target = BytesIO()
    np.savez(target, about=np.array([{"a": 1}], dtype=object))
    return target.getvalue()


@pytest.mark.parametrize("spoil", [spoil_end, spoil_pixel, foreign, pickled, lambda raw: b""])
def test_a_damaged_or_foreign_cache_is_made_again(root: Path, spoil) -> None:  # type: ignore[no-untyped-def]
    first = load(root)
    cache = root / ".tune_kd" / "images-32.npz"
    whole = cache.read_bytes()
    cache.write_bytes(spoil(whole))
    again = load(root)
    for name, source in first.sources.items():
        np.testing.assert_array_equal(source.images, again.sources[name].images)
    assert len(cache.read_bytes()) == len(whole)


def test_a_root_that_cannot_be_written_uses_the_users_cache(root: Path, tmp_path: Path) -> None:
    (root / ".tune_kd").write_text("a file where the folder should be")
    first = load(root)
    assert first.notes == ()
    assert len(list((tmp_path / "cache").glob("images-*-32.npz"))) == 1
    np.testing.assert_array_equal(first.sources["bing"].images, load(root).sources["bing"].images)


def test_no_place_for_a_cache_is_only_a_note(root: Path, tmp_path: Path) -> None:
    (root / ".tune_kd").write_text("")
    (tmp_path / "cache").write_text("")
    dataset = load(root)
    assert greys(dataset, "bing") == [0, 1, 2, 10, 11, 12]
    assert "could not be kept" in dataset.notes[0]


def test_a_search_killed_while_writing_leaves_the_old_cache_whole(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    load(root)
    before = (root / ".tune_kd" / "images-32.npz").read_bytes()
    (root / "google" / "cat" / "new.png").write_bytes(png("white"))

    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(picture_cache.os, "fsync", killed)
    with pytest.raises(KeyboardInterrupt):
        load(root)
    assert (root / ".tune_kd" / "images-32.npz").read_bytes() == before
    assert not list((root / ".tune_kd").glob("*.tmp"))


def test_two_searches_at_once_do_not_disturb_each_other(root: Path) -> None:
    found: list[list[int]] = []
    threads = [threading.Thread(target=lambda: found.append(greys(load(root), "google"))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [[20, 21, 22, 30, 31, 32]] * 4


def test_a_class_that_runs_empty_names_source_class_and_reason(root: Path) -> None:
    for path in (root / "google" / "dog").iterdir():
        path.write_bytes(b"")
    with pytest.raises(InputError) as caught:
        load(root)
    for part in ("source 'google'", "class 'dog'", "3 files are left out; 0.png: the file is empty"):
        assert part in str(caught.value)


def test_a_class_that_only_one_source_has_is_named_with_its_nearest(root: Path) -> None:
    (root / "google" / "cat").rename(root / "google" / "cats")
    with pytest.raises(InputError, match=r"'bing' has no readable image of class 'cats'.*Did you mean 'cat'.*1 more"):
        load(root)


def test_an_empty_class_folder_is_not_passed_over(root: Path) -> None:
    (root / "bing" / "bird").mkdir()
    with pytest.raises(InputError, match="'bing' has no readable image of class 'bird'"):
        load(root)


def test_a_root_of_another_shape_is_explained(root: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for wrong, reason in (
        (root / "nowhere", "is not a folder"),
        (tmp_path / "empty", "no source folders"),
        (root / "google", "has no class folders"),
    ):
        with pytest.raises(InputError, match=f"data.root: .*{reason}.*<root>/<source>/<class>/"):
            load(wrong)


@pytest.mark.parametrize("name", ["all", "a+b", "a*2"])
def test_a_source_name_that_means_something_else_is_refused(root: Path, name: str) -> None:
    (root / "google").rename(root / name)
    with pytest.raises(InputError, match="cannot be called"):
        load(root)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.binary(max_size=60) | st.just(png("red")), min_size=1, max_size=4))
def test_any_files_load_or_are_the_users_to_mend(tmp_path: Path, contents: list[bytes]) -> None:
    folder = tmp_path / "fuzz" / "source" / "class"
    folder.mkdir(parents=True, exist_ok=True)
    for path in folder.iterdir():
        path.unlink()
    for number, raw in enumerate(contents):
        (folder / str(number)).write_bytes(raw)
    readable = contents.count(png("red"))
    if readable:
        assert len(load(tmp_path / "fuzz").sources["source"].labels) == readable
    else:
        with pytest.raises(InputError, match="'source' has no readable image of class 'class'"):
            load(tmp_path / "fuzz")


def test_a_changed_pixel_in_the_cache_is_found_out(root: Path) -> None:
    first = load(root).sources["google"].images.copy()
    pixels = root / ".tune_kd" / "images-32.npy"
    raw = bytearray(pixels.read_bytes())
    raw[-1] ^= 1
    pixels.write_bytes(raw)
    again = load(root)
    np.testing.assert_array_equal(first, again.sources["google"].images)


def test_decoded_images_are_mapped_and_not_written_again(root: Path) -> None:
    load(root)
    pixels = root / ".tune_kd" / "images-32.npy"
    before = pixels.stat().st_ino
    again = load(root)
    assert isinstance(again.whole, np.memmap)
    assert pixels.stat().st_ino == before


def test_an_interrupted_reading_goes_on_where_it_was(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    decoded: list[int] = []
    honest = decoding.decode

    def stopped(raw: bytes, *kind: Any) -> np.ndarray:
        if len(decoded) == 8:
            raise KeyboardInterrupt
        decoded.append(len(raw))
        return honest(raw, *kind)

    monkeypatch.setattr(decoding, "decode", stopped)
    monkeypatch.setattr(decoding.os, "cpu_count", lambda: 1)
    with pytest.raises(KeyboardInterrupt):
        load(root)
    monkeypatch.setattr(decoding, "decode", lambda raw, *kind: decoded.append(len(raw)) or honest(raw, *kind))
    assert len(load(root).sources["google"].labels) == 6
    assert len(decoded) == 12  # each image once


KILLED = """
import os, signal, sys
from tune_kd.data import decoding, folders, picture_cache, sources
picture_cache.NOTE_SECONDS = 0.0
decoding.os.cpu_count = lambda: 1
honest, seen = decoding.decode, []
def decode(raw, *kind):
    seen.append(raw)
    if len(seen) == 9:
        while not written():
            pass
        os.kill(os.getpid(), signal.SIGKILL)
    return honest(raw, *kind)
def written():
    import numpy
    found = [*folders.Path(sys.argv[1], ".tune_kd").glob("*.rows")]
    return found and len(numpy.load(found[0])["sums"]) >= 5
decoding.decode, decoding.AHEAD = decode, 2
sources.load(folders.Settings(root=sys.argv[1]))
"""


def test_what_a_killed_process_has_decoded_is_taken_over(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done = subprocess.run([sys.executable, "-c", KILLED, str(root)], capture_output=True, text=True, timeout=120)
    assert done.returncode == -signal.SIGKILL, done.stderr
    decoded: list[int] = []
    honest = decoding.decode
    monkeypatch.setattr(decoding, "decode", lambda raw, *kind: decoded.append(len(raw)) or honest(raw, *kind))
    again = load(root)
    assert greys(again, "bing") == [0, 1, 2, 10, 11, 12]
    assert greys(again, "google") == [20, 21, 22, 30, 31, 32]
    assert len(decoded) <= 7  # at least five were there
    assert sorted(each.name for each in (root / ".tune_kd").iterdir()) == ["images-32.npy", "images-32.npz"]


def test_what_another_process_still_writes_is_left_to_it(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(picture_cache, "NOTE_SECONDS", 0.0)
    mine = picture_cache.PictureCache(root, 32)
    pixels = mine.room(2)
    pixels[0] = 7
    mine.note([bytes(32)], pixels)
    other = picture_cache.PictureCache(root, 32)
    assert other.get(bytes(32)) is None
    assert len(list((root / ".tune_kd").glob("*.tmp"))) == 1
    assert mine.keep([bytes(32)], pixels) is None
    assert (picture_cache.PictureCache(root, 32).get(bytes(32)) == 7).all()


def test_what_no_disk_has_room_for_is_refused_with_what_it_needs(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = picture_cache.shutil.disk_usage(root)
    monkeypatch.setattr(picture_cache.shutil, "disk_usage", lambda place: usage._replace(free=1000))
    assert len(load(root).sources["google"].labels) == 6  # small enough for memory
    monkeypatch.setattr(picture_cache, "IN_MEMORY", 1000)
    with pytest.raises(InputError, match=r"12 images of 32 x 32 pixels take 0\.1 MB once.*TUNE_KD_CACHE"):
        load(root)
    assert not list((root / ".tune_kd").glob("*.tmp"))

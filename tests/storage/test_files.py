"""The one writer of whole files."""

from pathlib import Path

import pytest

from tune_kd.storage import files


def test_a_file_is_replaced_whole_or_stays(tmp_path: Path) -> None:
    path = tmp_path / "it"
    files.replace(path, b"old")
    with pytest.raises(TypeError), files.replacing(path) as file:
        file.write("no bytes")  # type: ignore[arg-type]
    assert path.read_bytes() == b"old"
    with path.open("rb") as reading:
        files.replace(path, b"new")
        assert reading.read() == b"old", "who reads it meanwhile has the old one whole"
    assert path.read_bytes() == b"new"
    assert [each.name for each in tmp_path.iterdir()] == ["it"]


def test_of_several_the_first_is_right(tmp_path: Path) -> None:
    path = tmp_path / "it"
    for content in (b"first", b"second"):
        files.write_once(path, content)
    assert path.read_bytes() == b"first"
    assert [each.name for each in tmp_path.iterdir()] == ["it"]


def test_where_there_are_no_links_a_rename_does_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(source: Path, target: Path) -> None:
        raise PermissionError("no links here")

    monkeypatch.setattr(files.os, "link", refuse)
    for content in (b"first", b"second"):
        files.write_once(tmp_path / "it", content)
    assert (tmp_path / "it").read_bytes() == b"first"


def test_nobody_else_writes_in_a_way_of_their_own() -> None:
    package = Path(files.__file__).parents[1]
    writers = {
        path.relative_to(package).as_posix()
        for path in package.rglob("*.py")
        if any(way in path.read_text() for way in ("os.link(", "os.replace(", "unfinished.replace("))
    }
    assert writers == {"storage/files.py"}

"""The typed verdict says what verdict.json says."""

import dataclasses
import json
from pathlib import Path

import pytest

from tests.summary import fronts, synthetic
from tune_kd import names
from tune_kd.errors import InputError
from tune_kd.summary import typed, write


def test_it_says_what_the_file_says(tmp_path: Path) -> None:
    raw = write(synthetic.write_folder(tmp_path))
    read = typed.read_verdict(tmp_path)
    assert [cell.word for cell in read.cells] == [cell["word"] for cell in raw["cells"]]
    for cell, stored in zip(read.cells, raw["cells"], strict=True):
        gain = dataclasses.asdict(cell.gain)
        assert json.loads(json.dumps(gain)) == stored["gain"]
        assert (cell.but, cell.failed) == (stored["but"], stored["failed"])
        for arm in (names.DISTILLED, names.SCRATCH):
            side = getattr(cell, arm)
            assert side.mean == stored[arm]["mean"]
            assert list(side.values) == stored[arm]["values"]
            assert side.measured[names.TEST_NLL] == stored[arm][names.TEST_NLL]
    assert read.teacher[names.TEST_ACCURACY] == raw["teacher"][names.TEST_ACCURACY]


def test_a_front_has_an_answer_for_each_model(tmp_path: Path) -> None:
    raw = write(fronts.write_folder(tmp_path))
    for cell, stored in zip(typed.read_verdict(tmp_path).cells, raw["cells"], strict=True):
        assert [(point.model, point.cost, point.word) for point in cell.front] == [
            (point["model"], point[names.COST], point["word"]) for point in stored["front"]
        ]


def test_what_another_version_wrote_more_or_less_is_no_obstacle(tmp_path: Path) -> None:
    raw = write(synthetic.write_folder(tmp_path))
    for cell in raw["cells"]:
        cell["gain"]["surprise"] = 1
        del cell["gain"]["p_uncorrected"], cell[names.DISTILLED]["optimism"]
    (tmp_path / names.VERDICT_FILE).write_text(json.dumps(raw))
    read = typed.read_verdict(tmp_path)
    assert read.cells[0].gain.mean == raw["cells"][0]["gain"]["mean"]
    assert read.cells[0].gain.p_uncorrected is None


@pytest.mark.parametrize(("content", "word"), [(None, "no verdict yet"), ("{", "cannot be read"), ("[]", "no verdict")])
def test_what_is_no_verdict_is_said(tmp_path: Path, content: str | None, word: str) -> None:
    if content is not None:
        (tmp_path / names.VERDICT_FILE).write_text(content)
    with pytest.raises(InputError, match=word):
        typed.read_verdict(tmp_path)

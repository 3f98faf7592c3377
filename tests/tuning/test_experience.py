"""What a search leaves for later ones, and what a later one makes of it."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from tests.tuning.played import Play
from tune_kd import experience as command
from tune_kd.errors import InputError
from tune_kd.remembering import Remembered, leave
from tune_kd.space.load import load
from tune_kd.space.stored import asked
from tune_kd.space.study import Study
from tune_kd.tuning import experience
from tune_kd.tuning.forecast import Past

SMALL = ("conditions=null", "first=[]", "budget.trials=9", "budget.epochs=9", "budget.experience=on")
WHOLE = (*SMALL, "budget.early_stopping=none", "budget.trials=24")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TUNE_KD_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "experience"


def searched(folder: Path, *settings: str) -> Play:
    """A search that has ended and left what it found."""
    play = Play(folder, *settings)
    play.run()
    assert leave(play.plan, play.ledger) == ""
    return play


def test_a_later_search_tries_the_best_first_as_many_in_each_arm(tmp_path: Path) -> None:
    before = searched(tmp_path / "before", *SMALL, "budget.trials=10")
    study = replaced_size(before)
    known = Remembered.of(study, tmp_path / "after", resume=False)
    assert known.searches == 1
    assert 1 <= len(known.first) <= experience.MOST
    best = before.ledger.best(before.plan.arms[0])
    assert best is not None
    assert any(point["train.lr"] == best[0].config["train.lr"] for point in known.first)
    after = Play(tmp_path / "after", *SMALL, f"first={json.dumps([dict(point) for point in known.first])}")
    after.run(legs=2 * len(known.first))
    for arm in after.plan.arms:
        tried = [entry.config["train.lr"] for entry, _ in after.ledger.entries(arm)]
        assert tried == [point["train.lr"] for point in known.first]


@pytest.mark.parametrize(("trials", "most"), [(4, 0), (5, 1), (9, 1), (10, 2), (40, 3)])
def test_of_few_trials_few_are_spent_on_what_was_best_elsewhere(trials: int, most: int) -> None:
    study = load("study: x\nsearch: {train.lr: {loguniform: [0.001, 0.1]}}\n", [f"budget.trials={trials}"])
    pasts = [Past(str(n), "scratch", 2, ({"train.lr": n / 100},), ((0.1, n / 10),)) for n in range(1, 6)]
    first = experience.best_settings(pasts, study)
    assert [point["train.lr"] for point in first] == [0.05, 0.04, 0.03][:most]


def replaced_size(play: Play) -> Study:
    data = play.plan.study.data
    return play.plan.study.model_copy(update={"data": data.model_copy(update={"size": 50})})


def test_strangers_are_not_asked(tmp_path: Path) -> None:
    study = searched(tmp_path / "before", *SMALL).plan.study
    other = study.model_copy(update={"student": study.student.model_copy(update={"model": "digits_student_tiny"})})
    assert Remembered.of(other, tmp_path, resume=False) == Remembered()
    off = study.model_copy(update={"budget": study.budget.model_copy(update={"experience": "off"})})
    assert Remembered.of(off, tmp_path, resume=False) == Remembered()


def test_without_it_nothing_is_left(tmp_path: Path, cache: Path) -> None:
    searched(tmp_path / "one", *SMALL[:-1])
    assert not cache.exists()


def test_a_search_that_goes_on_knows_what_it_knew(tmp_path: Path) -> None:
    study = searched(tmp_path / "one", *WHOLE).plan.study
    folder = tmp_path / "two"
    folder.mkdir()
    known = Remembered.of(study, folder, resume=False)
    known.write(folder)
    searched(tmp_path / "three", *WHOLE)
    assert Remembered.of(study, folder, resume=True) == known
    assert Remembered.of(study, folder, resume=False).searches == 2
    assert Remembered.of(study, tmp_path / "moved", resume=True) == Remembered()


def test_only_what_ran_through_teaches_a_forecast(tmp_path: Path) -> None:
    stopped = searched(tmp_path / "one", *SMALL, "budget.early_stopping=auto").plan.study
    assert Remembered.of(stopped, tmp_path, resume=False).forecast(stopped) is None
    searched(tmp_path / "two", *WHOLE)
    assert Remembered.of(stopped, tmp_path, resume=False).forecast(stopped) is not None


def test_it_says_what_it_changed(tmp_path: Path) -> None:
    plan = searched(tmp_path / "one", *SMALL, "budget.trials=10").plan
    known = Remembered.of(plan.study, tmp_path, resume=False)
    assert Remembered().changed(plan, 0) == []
    assert known.changed(plan, 5) == [
        f"{len(known.first)} settings of 1 earlier search were tried first in each arm",
        "5 of 20 trainings were stopped by a forecast learned from 1 earlier search",
    ]
    assert "nothing to say" in replace(known, first=()).changed(plan, 0)[0]


def test_of_one_it_speaks_as_of_one(tmp_path: Path) -> None:
    plan = searched(tmp_path / "one", *SMALL).plan
    known = replace(Remembered.of(plan.study, tmp_path, resume=False), first=({"train.lr": 0.1},))
    assert known.changed(plan, 1) == [
        "1 setting of 1 earlier search was tried first in each arm",
        "1 of 18 trainings was stopped by a forecast learned from 1 earlier search",
    ]


@pytest.mark.parametrize("text", ["{", '{"ended": "2026", "arms": 3}', "\xff"])
def test_one_that_is_damaged_is_left_aside_and_named(tmp_path: Path, cache: Path, text: str) -> None:
    study = searched(tmp_path / "one", *SMALL).plan.study
    (whole,) = cache.rglob("*.json")
    damaged = whole.with_name("damaged.json")
    damaged.write_bytes(text.encode("latin-1"))
    said: list[str] = []
    known = Remembered.of(study, tmp_path, resume=False, noted=said.append)
    assert known.searches == 1
    assert known.first
    assert len(said) == 1
    assert str(damaged) in said[0]


def test_a_grid_is_tried_whole(tmp_path: Path) -> None:
    searched(tmp_path / "one", *SMALL)
    study = load(
        "study: played\nsearch: {train.lr: {grid: [0.001, 0.01]}}\nbudget: {experience: on}\n",
    )
    assert Remembered.of(study, tmp_path, resume=False).first == ()


def test_no_name_and_no_path_is_left(tmp_path: Path, cache: Path) -> None:
    play = searched(tmp_path / "one", *SMALL[1:])
    text = "".join(path.read_text() for path in cache.rglob("*.json"))
    assert text
    for told in (play.plan.study.study, "data.", str(tmp_path), *(str(arm.key) for arm in play.plan.arms if arm.cell)):
        assert told not in text


def test_a_search_that_went_on_counts_once(tmp_path: Path, cache: Path) -> None:
    searched(tmp_path / "one", *SMALL)
    searched(tmp_path / "one", *SMALL, "budget.trials=12")
    (file,) = cache.rglob("*.json")
    assert experience.read(file).trainings == 24


def test_a_folder_of_ones_own(tmp_path: Path) -> None:
    study = asked("study: x\nbudget: {experience: ./shared}\n")
    assert study.budget.experience == f"{Path.cwd() / 'shared'}/"
    with pytest.raises(InputError, match=r"budget.experience"):
        load("study: x\nbudget: {experience: onn}\n")


def test_the_command(tmp_path: Path, cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    play = searched(tmp_path / "one", *SMALL)
    out = tmp_path / "out"
    assert command.main(["list"]) == 0
    assert play.ledger.search_id in capsys.readouterr().out
    assert command.main(["export", str(out)]) == 0
    assert command.main(["forget", play.ledger.search_id]) == 0
    assert not list(cache.rglob("*.json"))
    assert command.main(["import", str(out)]) == 0
    assert len(list(cache.rglob("*.json"))) == 1
    assert command.main(["forget"]) == 0
    assert command.main(["list"]) == 0
    assert "0 searches" in capsys.readouterr().out.splitlines()[-1]


@pytest.mark.parametrize("text", ["no json", "{}", '{"ended": "now", "arms": [{"cell": "x"}]}'])
def test_what_is_no_experience_is_refused_whole(
    tmp_path: Path, cache: Path, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "bad" / "kind").mkdir(parents=True)
    (tmp_path / "bad" / "kind" / "search.json").write_text(text)
    assert command.main(["import", str(tmp_path / "bad")]) != 0
    assert "not what a search left" in capsys.readouterr().err
    assert not cache.exists()
    assert command.main(["forget", "unknown"]) != 0
    assert command.main(["import", str(tmp_path / "nowhere")]) != 0

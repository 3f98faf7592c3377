"""Finding, overriding and writing studies."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import tune_kd
from tune_kd.space.domains import Choice, Constant, Grid, Integer, LogUniform, Uniform
from tune_kd.space.load import dump, load, shipped

EXAMPLE = """\
study: example   # a comment
question: Does it help, "really"?
conditions:
  data.size: [100, all]
search:
  kd.alpha: {uniform: [0.1, 1]}
  kd: {temperature: {loguniform: [1, 16]}}
  train.lr: {loguniform: [1e-4, 1E-1]}
  kd.rest_weight: {uniform: [0.5, 8], when: {kd: {method: dkd}}}
first:
  - {kd.alpha: 0.9, kd.temperature: 4}
  - {kd: {alpha: 0.5}}
"""


def test_dotted_and_nested_keys_and_floats_without_a_point() -> None:
    study = load(EXAMPLE)
    assert list(study.search) == ["kd.alpha", "kd.temperature", "train.lr", "kd.rest_weight"]
    assert study.search["train.lr"] == LogUniform(1e-4, 0.1)
    assert study.search["kd.rest_weight"] == Uniform(0.5, 8, when={"kd.method": ("dkd",)})
    assert study.first == ({"kd.alpha": 0.9, "kd.temperature": 4.0}, {"kd.alpha": 0.5})
    assert load("study: x\ntrain: {lr: 1e-3, weight_decay: 5E-4}\n").train.weight_decay == 5e-4


def test_every_kind_of_domain() -> None:
    study = load(
        "study: x\nsearch:\n  train.batch_size: {int: [16, 64], step: 16}\n  data.size: {int: [10, 1000], log: true}\n"
        "  kd.method: {choice: [kd, dkd]}\n  kd.alpha: {grid: [0, 1]}\n  train.momentum: 0.5\n"
    )
    assert study.search == {
        "train.batch_size": Integer(16, 64, step=16),
        "data.size": Integer(10, 1000, log=True),
        "kd.method": Choice(("kd", "dkd")),
        "kd.alpha": Grid((0.0, 1.0)),
        "train.momentum": Constant(0.5),
    }


def test_words_mean_what_yaml_1_2_says() -> None:
    study = load(
        "study: x\nquestion: no\nseed: 010\ndata: {dataset: folder, root: 1:30, evaluate_on: [on, 2024-01-01]}\n"
    )
    assert (study.question, study.seed, study.data.root) == ("no", 10, "1:30")
    assert study.data.evaluate_on == ("on", "2024-01-01")


def test_a_key_with_nothing_after_it_is_absent() -> None:
    assert load("study: x\nsearch:\nconditions:\nfirst:\nkd:\nbudget:\n") == load("study: x\n")


@pytest.mark.parametrize(
    ("override", "path", "value"),
    [
        ("budget.trials=20", "budget.trials", 20),
        ("seed=3", "seed", 3),
        ("study=other", "study", "other"),
        ("control=false", "control", False),
        ("data.split.test=0.3", "data.split.test", 0.3),
        ("teacher.train.lr=1e-2", "teacher.train.lr", 0.01),
        ("train.milestones=[0.5, 0.9]", "train.milestones", (0.5, 0.9)),
        ("resources.gpu=auto", "resources.gpu", "auto"),
        ("question='is a=b?'", "question", "is a=b?"),
        ("kd={alpha: 0.2}", "kd.alpha", 0.2),
    ],
)
def test_set_reaches_every_section(override: str, path: str, value: object) -> None:
    found: object = load(EXAMPLE, [override])
    for name in path.split("."):
        found = getattr(found, name)
    assert found == value


def test_set_reaches_search_and_conditions() -> None:
    study = load(
        EXAMPLE,
        [
            "search.kd.alpha={uniform: [0, 1]}",
            "search.kd.temperature.uniform=[2, 8]",
            "search.kd.rest_weight.int=[1, 3]",
            "search.train.batch_size.choice=[32, 64]",
            "search.train.momentum.uniform=[0, 0.5]",
            "search.train.momentum.when.train.batch_size=32",
            "conditions.data.size=[100, 200]",
            "conditions.kd.method=[kd, dkd]",
        ],
    )
    assert study.search["kd.alpha"] == Uniform(0, 1)
    assert study.search["kd.temperature"] == Uniform(2, 8)
    assert study.search["kd.rest_weight"] == Integer(1, 3, when={"kd.method": ("dkd",)})
    assert study.search["train.momentum"] == Uniform(0, 0.5, when={"train.batch_size": (32,)})
    assert study.conditions == {"data.size": (100, 200), "kd.method": ("kd", "dkd")}
    assert next(iter(study.search)) == "kd.alpha"


def test_null_takes_out() -> None:
    study = load(EXAMPLE, ["conditions.data.size=null", "search.kd.alpha=null", "search.kd.rest_weight.when=null"])
    assert study.conditions == {}
    assert study.first == ({"kd.temperature": 4.0},)
    assert study.search["kd.rest_weight"] == Uniform(0.5, 8)
    assert load(EXAMPLE, ["search.kd=null"]).search == {"train.lr": LogUniform(1e-4, 0.1)}
    assert load(EXAMPLE, ["first=null"]).first == ()
    assert load(EXAMPLE, ["kd.alpha=0.2", "kd.alpha=null"]).kd.alpha == load("study: x\n").kd.alpha


def test_the_last_override_decides_where_a_key_stands() -> None:
    fixed = load(EXAMPLE, ["kd.alpha=0.5"])
    assert (fixed.kd.alpha, "kd.alpha" in fixed.search, fixed.first) == (0.5, False, ({"kd.temperature": 4.0},))
    assert "kd.alpha" not in load(EXAMPLE, ["kd={alpha: 0.5}"]).search
    answered = load(EXAMPLE, ["conditions.kd.alpha=[0.1, 0.9]"])
    assert answered.conditions["kd.alpha"] == (0.1, 0.9)
    assert "kd.alpha" not in answered.search
    searched = load(EXAMPLE, ["search.data.size={choice: [50, all]}"])
    assert (searched.conditions, searched.search["data.size"]) == ({}, Choice((50, "all")))


def test_dump_writes_every_default_and_loads_to_the_same() -> None:
    study = load(EXAMPLE)
    text = dump(study)
    assert load(text) == study
    assert list(load(text).search) == list(study.search)
    for line in ("study: example", "  data.size: [100, all]", "reduction: 3", "repeats: 5"):
        assert line in text


def test_path_name_and_text_load_alike(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("\ufeff" + EXAMPLE, encoding="utf-8")
    assert load(file) == load(str(file)) == load(EXAMPLE)


def test_every_shipped_study_loads_and_asks_a_question() -> None:
    for name, question in shipped():
        assert load(name).study == name
        assert question


def test_installed_as_a_wheel_the_studies_are_found_by_name(tmp_path: Path) -> None:
    package = tmp_path / "tune_kd"
    shutil.copytree(
        Path(tune_kd.__file__).parent, package, ignore=shutil.ignore_patterns("__pycache__", "search_spaces")
    )
    studies = package / "search_spaces"
    studies.mkdir()
    (studies / "first.yaml").write_text("study: first\nquestion: Why?\n")
    (studies / "second.yaml").write_text("study: second\nquestion: Whence?\n")
    code = (
        "from tune_kd.space.load import load, shipped; print(shipped(), load('second').question)\n"
        "try: load('secnd')\nexcept Exception as error: print(type(error).__name__, error)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env={"PYTHONPATH": str(tmp_path)}, capture_output=True, text=True
    )
    assert done.stdout.splitlines() == [
        "[('first', 'Why?'), ('second', 'Whence?')] Whence?",
        "InputError \"secnd\": no such study. Did you mean 'second'? "
        "Give the path of a YAML file, or one of: first, second.",
    ], done.stderr


def test_a_study_written_by_an_earlier_version_has_the_keys_of_all_data_sets() -> None:
    before = "data: {dataset: digits, root: null, missing: '', download: false, image_size: null, drawn: 300}"
    assert load(f"study: x\n{before}\n") == load("study: x\ndata: {drawn: 300}\n")

"""The door: a method is a class and a line, and a user's class is as good as ours."""

import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tune_kd import names
from tune_kd.distill.method import Given, Method, Seen, class_of, register
from tune_kd.errors import InputError
from tune_kd.names import DISTILLED
from tune_kd.space import methods
from tune_kd.space.load import dump, load
from tune_kd.space.study import constants, resolve, searched_keys, suggest
from tune_kd.training.images import Images
from tune_kd.training.train import Job, train


class Mine(Method):
    """Pulls the student's logits, through a layer of its own, towards the teacher's."""

    def __init__(self, given: Given, mine_power: float = 2.0, mine_scale: bool = True) -> None:
        super().__init__(given)
        self.power = mine_power
        self.own = nn.Linear(given.classes, given.classes, bias=mine_scale)

    def term(self, student: Seen, teacher: Seen, labels: Tensor, epoch: int) -> dict[str, Tensor]:
        apart = self.own(student.logits) - teacher.logits
        return {"near": apart.abs().pow(self.power).mean(), "small": 1e-3 * student.logits.square().mean()}


@pytest.fixture
def mine() -> Iterator[None]:
    register("mine", Mine)
    yield
    forget("mine")


def forget(name: str) -> None:
    """As if the method had never been registered in this process."""
    methods.METHODS.pop(name, None)
    for key in [key for key, owners in methods._OWNERS.items() if name in owners]:
        methods._OWNERS[key].discard(name)
        if not methods._OWNERS[key]:
            del methods._OWNERS[key], methods.FIELDS[key]


@pytest.mark.parametrize("name", methods.METHODS)
def test_a_line_says_what_its_class_takes(name: str) -> None:
    known, made = methods.METHODS[name], class_of(name)
    arguments = set(inspect.signature(made).parameters) - {"given"}
    assert arguments == {key for key in known.settings if key != f"{name}_weight"}
    assert all(getattr(known, each) == getattr(made, each) for each in methods.KINDS)


def test_a_method_of_the_users_is_searched_trained_and_kept(mine: None, tmp_path: Path) -> None:
    study = load(
        "study: s\nconditions: {kd.method: [kd, mine, kd+mine]}\nbudget: {trials: 2, epochs: 3}\nprecision: fp32\n"
        "search: {kd.mine_power: {uniform: [1, 3]}, kd.temperature: {uniform: [1, 4]}}\ntrain: {batch_size: 32}\n"
    )
    assert searched_keys(study, DISTILLED) == ("kd.mine_power", "kd.temperature")
    assert load(dump(study)) == study
    assert constants(study)["kd.mine_scale"] is True
    torch.manual_seed(0)
    images = Images(torch.randint(0, 256, (90, 1, 8, 8)).byte(), torch.arange(90) % 10, (0.5,), (0.3,), 10)
    logits = torch.randn(90, 10)
    rows: list[dict[str, float]] = []
    chosen = resolve(study, constants(study) | {"kd.method": "kd+mine", "kd.mine_weight": 0.5})
    job = Job(chosen, torch.arange(60), torch.arange(60, 90), 1, 2)
    train(job, images, lambda index, view, pictures: logits[index], rows.append, tmp_path / "s.pt")
    parts = {key: value for key, value in rows[-1].items() if key.startswith(names.LOSS_PART)}
    assert set(parts) == {"loss_kd_kd", "loss_kd_mine_near", "loss_kd_mine_small"}
    assert sum(parts.values()) == pytest.approx(rows[-1][names.LOSS_KD], rel=1e-6)
    state = torch.load(tmp_path / "s.pt", weights_only=True)
    assert set(state["method"]) == {"members.mine.own.weight", "members.mine.own.bias"}
    assert not any("mine" in key for key in [*state["model"], *state["best"]])


class Untyped(Method):
    def __init__(self, given: Given, untyped_weight=1.0) -> None:  # type: ignore[no-untyped-def]
        super().__init__(given)


class Taken(Method):
    def __init__(self, given: Given, rest_weight: float = 1.0) -> None:
        super().__init__(given)


@pytest.mark.parametrize(
    ("name", "made", "said"),
    [
        ("kd", Mine, "there already"),
        ("My method", Mine, "not a name"),
        ("other", int, "inherits from tune_kd.Method"),
        ("other", Untyped, "needs a type and a default"),
        ("other", Taken, "another method has kd.rest_weight"),
    ],
)
def test_what_is_no_method_is_refused_and_leaves_nothing(name: str, made: type[Method], said: str) -> None:
    before = dict(methods.METHODS), dict(methods.FIELDS)
    with pytest.raises(InputError, match=said):
        register(name, made)
    assert before == (methods.METHODS, methods.FIELDS)


def test_a_setting_of_another_method_is_not_asked_for() -> None:
    study = load(
        "study: s\nkd: {method: kd}\nsearch: {kd.temperature: {uniform: [1, 4]}, kd.alpha: {uniform: [0, 1]}}\n"
    )
    assert "kd.rest_weight" not in constants(study)
    # One that stands there all the same is kept, and counts where its method does.
    assert constants(load("study: s\nkd: {rest_weight: 3}\n"))["kd.rest_weight"] == 3.0
    assert load("study: s\nkd: {rest_weight: 8, target_weight: 1}\n") == load("study: s\n")


def test_only_settings_that_a_method_uses_are_searched() -> None:
    study = load(
        "study: s\nconditions: {kd.method: [kd, ctkd, at, kd+ctkd]}\nsearch: {kd.temperature: {uniform: [1, 4]}, "
        "kd.ctkd_span: {uniform: [4, 40]}, kd.standardize: {choice: [true, false]}}\n"
    )

    def asked(method: str) -> set[str]:
        trial = Lowest()
        suggest(study, DISTILLED, {"kd.method": method}, trial)
        return trial.asked

    own, shared = {"kd.temperature"}, {"kd.standardize"}
    assert asked("kd") == own | shared
    assert asked("ctkd") == {"kd.ctkd_span"} | shared
    assert asked("at") == set()
    assert asked("kd+ctkd") == own | shared | {"kd.ctkd_span"}


class Lowest:
    """A trial that takes the first value of whatever it is asked for."""

    def __init__(self) -> None:
        self.asked: set[str] = set()

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float:
        self.asked.add(name)
        return low

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1, log: bool = False) -> int:
        self.asked.add(name)
        return low

    def suggest_categorical(self, name: str, choices: Any) -> Any:
        self.asked.add(name)
        return choices[0]


def test_joined_methods_are_known_ones_each_once() -> None:
    assert load("study: s\nkd: {method: kd+dist}\n").kd.method == "kd+dist"
    for wrong in ("kd+kd", "kd+", "kd+dsit"):
        with pytest.raises(InputError, match=r"kd\.method = .*several joined by \+"):
            load(f"study: s\nkd: {{method: {wrong}}}\n")


ROOT = Path(__file__).parents[2]


def test_the_page_on_adding_a_method_is_right(tmp_path: Path) -> None:
    page = (ROOT / "docs/add/method.md").read_text(encoding="utf-8")
    code, study_text = (page.partition(f"```{kind}\n")[2].partition("```")[0] for kind in ("python", "yaml"))
    try:
        exec(compile(code, "docs/add/method.md", "exec"), {})
        study = load(f"study: translated\n{study_text}")
        assert searched_keys(study, DISTILLED) == ("kd.weight", "kd.translated_power", "train.lr")
        generator = torch.Generator().manual_seed(0)
        pixels = torch.randint(0, 256, (90, 1, 8, 8), generator=generator).byte()
        images = Images(pixels, torch.arange(90) % 10, (0.5,), (0.3,), 10)
        logits = torch.randn(90, 10, generator=generator)
        rows: list[dict[str, float]] = []
        config = constants(study) | {"kd.method": "translated", "kd.weight": 1.0, "train.lr": 0.01}
        job = Job(resolve(study, config), torch.arange(60), torch.arange(60, 90), 1, 8)
        train(job, images, lambda index, view, pictures: logits[index], rows.append, tmp_path / "s.pt")
        assert rows[-1][names.LOSS_KD] < rows[0][names.LOSS_KD]
    finally:
        forget("translated")


def test_the_page_of_the_methods_names_each_with_its_settings_and_defaults() -> None:
    page = (ROOT / "docs/reference/methods.md").read_text(encoding="utf-8")
    for name, known in methods.METHODS.items():
        rows = [line for line in page.splitlines() if line.startswith(f"| `{name}`")]
        assert rows, name
        for key, field in known.settings.items():
            assert f"`kd.{key}`" in rows[0], key
            assert (field.default if isinstance(field.default, str) else f"{field.default:g}") in rows[0], key

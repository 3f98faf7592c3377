"""The examples of docs/add: what is written there is a rule and an objective that a search can be run with."""

import re
import sys
from pathlib import Path

import pytest

from tests.tuning.played import MODELS, STUDY, Play
from tune_kd import names, plan
from tune_kd.space.load import load
from tune_kd.space.objectives import OBJECTIVES
from tune_kd.space.rules import RULES
from tune_kd.space.study import Study
from tune_kd.tuning.conductor import Conductor
from tune_kd.tuning.ledger import Ledger

PAGES = Path(__file__).parents[2] / "docs" / "add"
SEARCH = (STUDY, ["conditions=null", "first=[]", "budget.trials=12", "budget.epochs=27"])


def example(page: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[str, str]:
    """The page's class as a module of its own; its name in a study, and where it is found."""
    code, line = re.findall(r"```(?:python|text)\n(.*?)```", (PAGES / page).read_text(encoding="utf-8"), re.DOTALL)
    found = re.match(r'"(\w+)": "[\w.]+\.(\w+):(\w+)",\n$', line)
    assert found
    name, module, member = found.groups()
    (folder / f"{module}.py").write_text(code, encoding="utf-8")
    monkeypatch.syspath_prepend(folder)
    monkeypatch.delitem(sys.modules, module, raising=False)
    return name, f"{module}:{member}"


def play(study: Study, folder: Path) -> Play:
    """Its name is in the table, though the schema was made before."""
    made = Play(folder, *SEARCH[1])
    made.plan = plan.make(study)
    made.ledger = Ledger(folder / "own", made.plan)
    made.ledger.know_costs(lambda: {model: cost for model, (cost, _) in MODELS.items()})
    made.conductor = Conductor(made.plan, made.ledger, made.heard)
    made.run(slots=2)
    return made


def test_a_rule_of_ones_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name, place = example("rule.md", tmp_path, monkeypatch)
    monkeypatch.setitem(RULES, name, place)  # type: ignore[arg-type]
    study = load(*SEARCH)
    budget = study.budget.model_copy(update={"early_stopping": name})
    played = play(study.model_copy(update={"budget": budget}), tmp_path)
    # The made-up curves rise for ever, so nobody is on a plateau.
    assert {state for _, _, state in played.states()} == {names.COMPLETE}
    rule = played.ledger.rule(played.plan.arms[0])
    rule.asked(99)
    for epoch in range(1, 7):
        rule.reported(99, epoch, 0.5)
    assert rule.stops(99)


def test_an_objective_of_ones_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name, place = example("objective.md", tmp_path, monkeypatch)
    monkeypatch.setitem(OBJECTIVES, name, place)  # type: ignore[arg-type]
    settings = ["search.student.model={choice: [wasteful, large, tiny, small]}", "objectives=[accuracy,size]"]
    study = load(STUDY, [*SEARCH[1], *settings]).model_copy(update={"objectives": ("accuracy", name)})
    played = play(study, tmp_path)
    finals = list(played.ledger.all_finals())
    assert len(finals) == 2 * 2
    assert "wasteful" not in {entry.config[names.STUDENT_MODEL] for entry, _ in finals}

"""What must be true of a search after any kills, read from what it left behind."""

import json
import os
import shutil
import sqlite3
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import pandas as pd

from tests.chaos.kills import DRIVER, RAYLET, WORKER, Game
from tests.chaos.world import Failed, Search, Server
from tune_kd import names, plan
from tune_kd.space.load import load
from tune_kd.tuning.ledger import Ledger
from tune_kd.tuning.rules import GoOn, Rule

RESUME_SECONDS = 10.0
"""On a machine that is not overloaded; with twice as many wanting to run as there are processors, twice as long.
With two nodes as well: the processes of both start at once, on the processors of this one machine."""
STATUS = {names.COMPLETE: "FINISHED", names.PRUNED: "FINISHED", names.FAIL: "FAILED"}
REPORT = 7
"""Optuna's number for an intermediate value in its journal."""


def must(true: object, what: str) -> None:
    if not true:
        raise Failed(what)


class Left:
    """What a search left behind, read through a copy: opening a ledger may mend it."""

    def __init__(self, search: Search) -> None:
        self.folder = search.folder
        self.plan = plan.make(load(search.folder / names.STUDY_FILE))
        with tempfile.TemporaryDirectory() as copied:
            self.ledger = Ledger(Path(shutil.copy(search.ledger, copied)), self.plan)
            self.fresh = Ledger(Path(copied) / "fresh", self.plan)
            """Of the same plan, with nothing in it: its rules have seen nothing."""
        self.trials = [pair for arm in self.plan.arms for pair in self.ledger.entries(arm)]
        self.finals = list(self.ledger.all_finals())
        self.reports: dict[int, list[tuple[int, float]]] = defaultdict(list)
        self.order: list[int] = []
        """Optuna's number of the training of each report, as the file has them."""
        for line in search.ledger.read_bytes().splitlines():
            record = json.loads(line)
            if record["op_code"] == REPORT:
                self.reports[record["trial_id"]].append((record["step"], record["intermediate_value"]))
                self.order.append(record["trial_id"])


def ledger_is_whole(left: Left, kept: Sequence[bytes]) -> None:
    """Every value once and in order, what was there at each kill is there still, nothing is left open."""
    content = (left.folder / names.LEDGER_FILE).read_bytes()
    for before in kept:
        must(content.startswith(before[: before.rfind(b"\n") + 1]), "the ledger lost what it had at a kill")
    budget = left.plan.study.budget
    must(len(left.trials) == budget.trials * len(left.plan.arms), f"{len(left.trials)} trials were asked for")
    must(len(left.finals) == budget.repeats * len(left.plan.arms), f"{len(left.finals)} finals were begun")
    for entry, trial in [*left.trials, *left.finals]:
        raw = left.reports[entry.id]
        must([step for step, _ in raw] == [*range(1, len(raw) + 1)], f"{entry.key} reported {raw}")
        must(dict(raw) == trial.intermediate_values, f"Optuna reads other reports of {entry.key}")
        must(trial.state.name in (names.COMPLETE, names.PRUNED), f"{entry.key} is {trial.state.name}")
    asked = Counter((entry.arm.number, entry.number) for entry, _ in left.trials)
    must(set(asked.values()) == {1}, "a trial was asked for twice")


def mlflow_is_the_same(left: Left, server: Server, experiment: str) -> None:
    """One run a training under one parent, each as it ended, with each value that the ledger has exactly once."""
    of_search = "FROM runs JOIN tags USING (run_uuid) JOIN experiments USING (experiment_id)"
    where = "WHERE tags.key = 'tune_kd.key' AND runs.lifecycle_stage = 'active' AND experiments.name = ?"
    with sqlite3.connect(server.database) as store:
        runs = store.execute(f"SELECT tags.value, runs.status {of_search} {where}", [experiment]).fetchall()
        points = store.execute(
            f"SELECT tags.value, metrics.step, metrics.value {of_search} JOIN metrics USING (run_uuid) {where}"
            " AND metrics.key = 'val_accuracy'",
            [experiment],
        ).fetchall()
    trainings = [*left.trials, *left.finals]
    wanted = {"search": "FINISHED"} | {entry.key: STATUS[trial.state.name] for entry, trial in trainings}
    must(sorted(runs) == sorted(wanted.items()), f"MLflow's runs are {sorted(set(runs) ^ set(wanted.items()))}")
    reported = [(entry.key, step, value) for entry, _ in trainings for step, value in left.reports[entry.id]]
    must(sorted(points) == sorted(reported), f"MLflow's points differ: {sorted(set(points) ^ set(reported))}")


def little_is_redone(search: Search, game: Game) -> int:
    """A training never falls back behind the epoch that was under way. Returns how many epochs were begun again."""
    begun: dict[str, list[int]] = defaultdict(list)
    for line in search.audit.read_text().splitlines():
        kind, identity, epoch = line.split()
        begun[f"{kind} {identity}"].append(int(epoch))
    for training, epochs in begun.items():
        steps = [after - before for before, after in pairwise(epochs)]
        must(epochs[0] == 1 and set(steps) <= {0, 1}, f"{training} began the epochs {epochs}")
    left = Left(search)
    needed = sum(map(len, left.reports.values())) + left.plan.study.teacher.epochs
    again = sum(map(len, begun.values())) - needed
    deaths = sum(kill.victim in (DRIVER, WORKER, RAYLET) for kill in game.done)
    must(0 <= again <= deaths * (game.nodes + 1), f"{again} epochs were begun again after {deaths} deaths")
    return again


def rungs_follow(left: Left, one_at_a_time: bool) -> None:
    """The ledger's own reports lead to the same rungs; one at a time, also to the same decisions in the same order."""
    for arm in left.plan.arms:
        told = {entry.id: entry for entry, _ in left.trials if entry.arm == arm}
        states = {entry.number: trial for entry, trial in left.trials if entry.arm == arm}
        order = [told[number] for number in left.order if number in told]
        rebuilt, rule = left.ledger.rule(arm), left.fresh.rule(arm)
        must(rebuilt.next() == "done", f"{arm.key}: the rule still wants {rebuilt.next()}")
        if not one_at_a_time:
            continue
        for number, until in _decisions(rule, sorted(states)):
            trial = states[number]
            for epoch in range(rule.epochs[number] + 1, until + 1):
                entry = order.pop(0)
                must(entry.number == number, f"{arm.key}: trial {entry.number} was trained where {number} was due")
                rule.reported(number, epoch, trial.intermediate_values[epoch])
            if until == rule.last or rule.stops(number):
                rule.finished(number)
        must(not order, f"{arm.key}: {len(order)} reports that the rungs do not explain")
        must(rule.epochs == rebuilt.epochs, f"{arm.key}: {rule.epochs} by its rungs, {rebuilt.epochs} in the ledger")
        complete = {number for number, trial in states.items() if trial.state.name == names.COMPLETE}
        at_end = {number for number, epoch in rule.epochs.items() if epoch == rule.last}
        must(complete == at_end, f"{arm.key}: {complete} are complete, {at_end} reached the last rung")


def _decisions(rule: Rule, numbers: Sequence[int]) -> Iterator[tuple[int, int]]:
    """What one free slot is given after the other: a trial, and the epoch to train it to.

    The trials' `numbers` have a gap where a driver was killed before it had written down all of what it asked for.
    """
    while (step := rule.next()) != "done":
        if isinstance(step, GoOn):
            yield step.number, step.until
        else:
            must(step == "new", f"a rule of which nothing runs says {step}")
            number = numbers[len(rule.epochs)]
            rule.asked(number)
            yield number, rule.begin


def same_answer(one: Search, other: Search) -> None:
    """Suggestions, curves, stops, finals, and the verdict's words, gains and configurations."""
    told = ["arm", "state", "stop_reason", "seed", "value", "curve", "config.kd.alpha", "config.train.lr"]
    # In which order the arms take turns is left to chance: scratch trials may begin while the teacher is made.
    orders = [
        pd.read_parquet(search.folder / names.TRIALS_FILE).sort_values(["arm", "number"]) for search in (one, other)
    ]
    trials = [table[told].reset_index(drop=True) for table in orders]
    finals = [
        pd.read_parquet(search.folder / names.FINALS_FILE).sort_values(["arm", "seed"]) for search in (one, other)
    ]
    kept = ["arm", "seed", names.TEST_ACCURACY, names.TEST_NLL, "config.kd.alpha", "config.train.lr"]
    try:
        pd.testing.assert_frame_equal(*trials)
        pd.testing.assert_frame_equal(*[table[kept].reset_index(drop=True) for table in finals])
    except AssertionError as error:
        raise Failed(f"not the tables of an undisturbed search: {error}") from error
    cells = [json.loads((search.folder / names.VERDICT_FILE).read_text())["cells"] for search in (one, other)]
    judged = [[(cell["cell"], cell["word"], cell["gain"]) for cell in found] for found in cells]
    must(judged[0] == judged[1], f"the verdict is {judged[1]}, undisturbed {judged[0]}")


def resumes_soon(waits: Sequence[float], nodes: int) -> None:
    allowed = RESUME_SECONDS * max(nodes, os.getloadavg()[1] / (os.cpu_count() or 1))
    longest = max(waits, default=0.0)
    must(longest <= allowed, f"a resumed search took {longest:.1f} s to begin work, allowed are {allowed:.1f} s")


def nothing_unfinished(folder: Path) -> None:
    """Results are whole, and no temporary file of a killed process is taken for one."""
    for name in (names.VERDICT_FILE, names.REPORT_FILE, names.TRIALS_FILE, names.FINALS_FILE):
        must((folder / name).stat().st_size > 0, f"{name} is empty")
    must((folder / names.MODEL_DIR / "model.json").exists(), "there is no model/")

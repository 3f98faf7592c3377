"""Which leg is handed to Tune when: the searcher with a real conductor and ledger, machines of paper and no Ray."""

import json
from pathlib import Path
from typing import Any

from tests.tuning.played import Play, metrics
from tune_kd import names
from tune_kd.execution.resources import Node, Share, Shares, slots
from tune_kd.execution.searcher import PATIENCE_SECONDS, Floor, LegSearcher
from tune_kd.tuning.conductor import GPU_FULL, HOST_FULL, MESSAGE, MOST_ATTEMPTS, OK, OUTCOME
from tune_kd.tuning.entry import RESULT

SMALL, LARGE = "digits_student_tiny", "digits_student"
STUDENTS = ("conditions={student.model: [digits_student_tiny, digits_student]}",)


class Bench:
    """A searcher on machines that can be changed, with a clock that can be moved."""

    def __init__(self, folder: Path, gpus: dict[str, float], *nodes: Node, settings: tuple[str, ...] = STUDENTS):
        self.play = Play(folder, *settings)
        self.nodes = list(nodes)
        self.now = 0.0
        self.wishes: list[int] = []
        shares = Shares(1, {student: {"": gpu} for student, gpu in gpus.items()})
        self.searcher = LegSearcher(
            self.play.conductor,
            shares,
            Floor(lambda: self.nodes, clock=lambda: self.now),
            lambda live, more: slots(self.nodes, shares.smallest),
            lambda count: self.wishes.append(count()),
            lambda: None,
            lambda: None,
        )
        self.live: dict[str, Any] = {}
        self._asked = 0

    def ask(self) -> Any:
        """The next order, or None."""
        self._asked += 1
        order = self.searcher.suggest(f"t{self._asked}")
        if order:
            self.live[f"t{self._asked}"] = order
        return order

    def fill(self) -> list[Share]:
        found = []
        while order := self.ask():
            found.append(order.share)
        return found

    def end_all(self) -> None:
        for key in list(self.live):
            self.end(key)

    def end(self, key: str, outcome: str = OK, message: str = "") -> None:
        order = self.live.pop(key)
        if outcome == OK:
            leg = self.searcher._legs[key]
            for epoch in range(order.reported + 1, order.until + 1):
                self.searcher.on_trial_result(key, metrics(leg.entry, epoch))
        result = {RESULT: json.dumps({names.TEST_ACCURACY: 0.5})} if order.final else {}
        self.searcher.on_trial_complete(key, {OUTCOME: outcome, MESSAGE: message, **result})


def test_no_more_than_fit_are_handed_out_and_no_suggestion_is_made_before(tmp_path: Path) -> None:
    bench = Bench(tmp_path, {SMALL: 0.25, LARGE: 0.25}, Node("a", 8, 1), Node("b", 8, 1))
    assert bench.fill() == [Share(1, 0.25)] * 8
    assert len(bench.play.states()) == 8
    bench.end("t1")
    assert len(bench.fill()) == 1


def test_each_student_gets_its_own_share(tmp_path: Path) -> None:
    bench = Bench(tmp_path, {SMALL: 0.25, LARGE: 0.5}, Node("a", 8, 2), Node("b", 8, 2))
    given = bench.fill()
    assert sum(share.gpu for share in given) == 4
    for order in bench.live.values():
        assert order.share.gpu == {SMALL: 0.25, LARGE: 0.5}[order.config["student.model"]]


def test_a_large_one_waits_for_its_room_and_none_overtakes_it(tmp_path: Path) -> None:
    bench = Bench(tmp_path, {SMALL: 0.25, LARGE: 1.0}, Node("a", 8, 1))
    bench.fill()
    small = [key for key, order in bench.live.items() if order.share.gpu == 0.25]
    while not any(order.share.gpu == 1.0 for order in bench.live.values()):
        assert bench.live, "nothing runs and nothing is handed out"
        bench.end(next(iter(bench.live)))
        bench.fill()
    assert len(bench.live) == 1
    assert len(small) <= 4


def test_machines_that_join_are_used_and_ones_that_go_are_not(tmp_path: Path) -> None:
    bench = Bench(tmp_path, {SMALL: 0.5, LARGE: 0.5}, Node("a", 8, 1))
    assert len(bench.fill()) == 2
    bench.nodes.append(Node("b", 8, 2))
    assert len(bench.fill()) == 4
    del bench.nodes[0]
    for key in list(bench.live)[:2]:
        bench.searcher.on_trial_complete(key, error=True)
        del bench.live[key]
    assert bench.fill() == []


def test_a_large_one_that_ray_cannot_place_is_let_in_by_the_small_ones(tmp_path: Path) -> None:
    """There is room in all, but Ray has put the small ones so that it is on no card."""
    floor = Floor(lambda: [Node("a", 8, 2)], clock=lambda: now)
    now = 0.0
    floor.take("large", Share(1, 0.5))
    assert floor.place([Share(1, 0.25)])
    now = PATIENCE_SECONDS + 1
    assert floor.place([Share(1, 0.25)]) is None
    assert floor.place([Share(1, 0.5)])
    floor.started("large")
    assert floor.place([Share(1, 0.25)])


def test_a_student_goes_to_the_type_of_card_that_has_room(tmp_path: Path) -> None:
    floor = Floor(lambda: [Node("a", 8, 1, "A"), Node("b", 8, 1, "B")])
    options = [Share(1, 0.5, "A"), Share(1, 1, "B")]
    given = []
    while share := floor.place(options):
        floor.take(str(len(given)), share)
        given.append(share.kind)
    assert given == ["A", "A", "B"]


def test_out_of_memory_is_tried_again_with_twice_the_share_and_no_fault_of_the_settings(tmp_path: Path) -> None:
    bench = Bench(tmp_path, {SMALL: 0.25, LARGE: 0.25}, Node("a", 8, 1))
    first = bench.ask()
    bench.end("t1", GPU_FULL, "full")
    again = bench.ask()
    assert (again.config, again.saved, again.share.gpu) == (first.config, first.saved, 0.5)
    assert [state for _, _, state in bench.play.states()] == ["RUNNING"]
    bench.end("t2")
    assert bench.play.states()[0][1] == again.until


def test_a_second_time_out_of_memory_ends_the_trial_with_what_to_do(tmp_path: Path) -> None:
    bench = Bench(tmp_path, {SMALL: 0.25, LARGE: 0.25}, Node("a", 8, 1))
    for key in ("t1", "t2"):
        bench.ask()
        bench.end(key, GPU_FULL, "full. Use less.")
    assert [state for _, _, state in bench.play.states()] == [names.FAIL]
    assert bench.play.heard.events[-1][2] == (names.FAIL, "full. Use less.")


def test_the_doubled_share_is_kept_over_a_resume(tmp_path: Path) -> None:
    bench = Bench(tmp_path, {SMALL: 0.25, LARGE: 0.25}, Node("a", 8, 1))
    bench.ask()
    bench.end("t1", GPU_FULL, "full")
    assert Bench(tmp_path, {SMALL: 0.25, LARGE: 0.25}, Node("a", 8, 1)).ask().share.gpu == 0.5


def test_a_host_out_of_memory_counts_as_a_death_with_its_own_words(tmp_path: Path) -> None:
    bench = Bench(tmp_path, {SMALL: 0.25, LARGE: 0.25}, Node("a", 8, 1))
    for k in range(MOST_ATTEMPTS):
        bench.ask()
        if k % 2:  # Ray ended the process, or the process noticed itself
            bench.searcher.died(f"t{k + 1}", "the host is full")
        else:
            bench.end(f"t{k + 1}", HOST_FULL, "the host is full")
    assert [state for _, _, state in bench.play.states()] == [names.FAIL]
    assert "(the host is full)" in bench.play.heard.events[-1][2][1]


def test_a_death_that_is_heard_of_twice_counts_once(tmp_path: Path) -> None:
    bench = Bench(tmp_path, {SMALL: 0.25, LARGE: 0.25}, Node("a", 8, 1))
    bench.ask()
    bench.searcher.died("t1")
    bench.searcher.on_trial_complete("t1", error=True)
    assert bench.play.conductor.live == 0
    assert len(bench.fill()) == 4


def test_what_could_run_is_what_the_autoscaler_is_told(tmp_path: Path) -> None:
    bench = Bench(tmp_path, {SMALL: 1.0, LARGE: 1.0}, Node("a", 8, 1))
    bench.fill()
    arms = len(bench.play.plan.arms)
    assert bench.wishes[0] == bench.play.plan.trials == 9 * arms
    while bench.live:
        assert bench.play.conductor.could_run >= 1
        bench.end_all()
        bench.fill()
    assert bench.play.conductor.could_run == 0
    assert max(bench.wishes) == bench.wishes[0]

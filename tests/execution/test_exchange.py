"""Logits between two machines of one Ray, each with a cache folder of its own."""

import os
import signal
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import ray
import torch
from ray.cluster_utils import Cluster
from ray.exceptions import GetTimeoutError, RayError
from ray.experimental import get_object_locations
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from tests.patience import PATIENCE, wait_for
from tune_kd.data.sources import user_cache
from tune_kd.data.splits import Splits
from tune_kd.data.views import Views
from tune_kd.execution import exchange
from tune_kd.execution.exchange import Depot, Exchange
from tune_kd.execution.workbench import Material, guided_by
from tune_kd.models import build
from tune_kd.space.load import load
from tune_kd.space.schema import Augment
from tune_kd.storage.stores import Storage
from tune_kd.teacher.ensemble import Ensemble
from tune_kd.teacher.guide import key_of
from tune_kd.teacher.making import Teacher

IMAGES = 150
VIEWS = Views.of(Augment(kind="crop_flip"), 0)
STUDY = """
study: shared
question: Who has run the teacher?
precision: fp32
search: {kd.alpha: {uniform: [0.1, 1.0]}}
"""


@dataclass(frozen=True)
class Search:
    """What the workers of one search are given."""

    material: ray.ObjectRef[Any]
    teacher: ray.ObjectRef[Any]


class Worker:
    """A process on one of the machines, which trains for one search after the other."""

    def folder(self) -> str:
        return str(user_cache())

    def look(self, search: Search, view: int) -> tuple[np.ndarray, int]:
        """The logits of one view of every image, and for how many the teacher was run."""
        guide: Any = guided_by(search.material, 0, search.teacher, VIEWS)
        guide._neighbours._rests_until = 0  # as if it had trained for a while since it asked last
        before = guide.images_run
        index, images = torch.arange(IMAGES), torch.from_numpy(pixels())
        return guide(index, torch.full_like(index, view), images).numpy(), guide.images_run - before

    def hears_of(self, search: Search) -> int:
        """How many blocks there are for it; it does not fetch them yet."""
        guide: Any = guided_by(search.material, 0, search.teacher, VIEWS)
        neighbours, cache = guide._neighbours, guide._cache.name
        answer = neighbours._depot.others.remote(cache, here(), None)
        neighbours._read[cache], neighbours._coming[cache] = ray.get(answer)
        return len(neighbours._coming[cache])

    def told(self, search: Search) -> int:
        """Of how many logits it hears when it knows of none."""
        guide: Any = guided_by(search.material, 0, search.teacher, VIEWS)
        return sum(len(images) for images, _, _ in guide._neighbours.ask(guide._cache.name))


@dataclass(frozen=True)
class Machines:
    here: Any
    there: Any


@pytest.fixture(scope="module")
def machines(ray_address: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machines]:
    """The machine that begins the search, and another one, with a worker on each."""
    # Joined to the Ray of the other tests: to start a second one takes longer than all of this.
    cluster = Cluster(shutdown_at_exit=True)
    cluster.head_node = ray._private.worker._global_node
    node = cluster.add_node(env_vars={"TUNE_KD_CACHE": str(tmp_path_factory.mktemp("there"))})
    try:
        wait_for(lambda: node.node_id in alive())
        found = Machines(worker(here()), worker(node.node_id))
        folders = ray.get([each.folder.remote() for each in (found.here, found.there)])
        assert len(set(folders)) == 2
        yield found
    finally:
        cluster.remove_node(node)
        wait_for(lambda: alive() == {here()})


def here() -> str:
    return str(ray.get_runtime_context().get_node_id())


def alive() -> set[str]:
    return {node["NodeID"] for node in ray.nodes() if node["Alive"]}


def worker(node: str) -> Any:
    strategy = NodeAffinitySchedulingStrategy(node, soft=False)
    return ray.remote(Worker).options(num_cpus=0, scheduling_strategy=strategy).remote()


def pixels() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (IMAGES, 3, 32, 32), dtype=np.uint8)


class Begun:
    """A search with images of its own, so that every cache is empty."""

    def __init__(self) -> None:
        model = build("resnet8", classes=10, in_shape=(3, 32, 32))
        teacher = Teacher("resnet8", model.state_dict(), (0.5,) * 3, (0.25,) * 3, (3, 32, 32), 10)
        none, images = np.empty(0, dtype=np.int64), uuid.uuid4().hex
        splits = Splits(
            pixels(), np.zeros(IMAGES, np.int64), tuple("abcdefghij"), none, none, none, {}, {"images": images}
        )
        self.exchange = Exchange.begun()
        material = Material(load(STUDY), splits, teacher.mean, teacher.std, Storage.at("."), None, self.exchange)
        self.given = Search(ray.put(material), ray.put(Ensemble((teacher,), (0.1,))))
        self.cache = f"{key_of(teacher, images, VIEWS).digest}-{IMAGES}x{VIEWS.count}x10"

    def look(self, worker: Any, view: int) -> tuple[np.ndarray, int]:
        found: tuple[np.ndarray, int] = ray.get(worker.look.remote(self.given, view), timeout=PATIENCE)
        return found

    def depot(self) -> tuple[str, list[Any]]:
        """Which it is, and its blocks."""
        (life, _), blocks = ray.get(self.exchange._depot.others.remote(self.cache, "nobody", None))
        return life, blocks

    def stores(self, block: ray.ObjectRef[Any]) -> set[str]:
        """The machines which have it, as its owner knows."""
        return set(get_object_locations([block])[block]["node_ids"])

    def start_again(self) -> None:
        """The depot dies, and Ray brings another one."""
        before, _ = self.depot()

        def another() -> bool:
            try:
                return self.depot()[0] != before
            except RayError:
                return False

        ray.kill(self.exchange._depot, no_restart=False)
        wait_for(another)

    def computed(self, worker: Any, view: int) -> np.ndarray:
        """By the teacher on that machine, and the depot has heard of it."""
        before = self.heard()
        logits, run = self.look(worker, view)
        assert run == IMAGES
        wait_for(lambda: self.heard() == before + IMAGES)
        return logits

    def heard(self) -> int:
        return sum(len(images) for images, _, _ in ray.get(self.depot()[1]))


def test_what_one_machine_has_computed_the_teacher_of_another_is_not_run_for(machines: Machines) -> None:
    search = Begun()
    views = [search.computed(machines.here, view) for view in (0, 1)]
    for view in (0, 1):
        logits, run = search.look(machines.there, view)
        assert run == 0
        assert np.array_equal(logits, views[view])
    # And the other way.
    back = search.computed(machines.there, 2)
    logits, run = search.look(machines.here, 2)
    assert run == 0
    assert np.array_equal(logits, back)


def test_a_machine_is_never_told_of_its_own(machines: Machines) -> None:
    search = Begun()
    search.computed(machines.here, 0)
    # This process is on the same machine as the worker that has run the teacher.
    assert list(search.exchange.ask(search.cache)) == []
    assert ray.get(machines.there.told.remote(search.given)) == IMAGES


def test_a_block_stays_in_the_store_of_a_machine_for_the_next_who_asks_there(machines: Machines) -> None:
    search = Begun()
    search.computed(machines.here, 0)
    _, blocks = search.depot()
    assert [search.stores(each) for each in blocks] == [{here()}]
    assert search.look(machines.there, 0)[1] == 0
    wait_for(lambda: [search.stores(each) for each in blocks] == [alive()])


def test_blocks_that_are_lost_on_their_way_keep_no_others_from_arriving(machines: Machines) -> None:
    search = Begun()
    lost = search.computed(machines.here, 0)
    assert ray.get(machines.there.hears_of.remote(search.given)) == 1
    search.start_again()
    found = search.computed(machines.here, 1)
    for view, wanted, expected in ((1, found, 0), (0, lost, IMAGES)):
        logits, run = search.look(machines.there, view)
        assert run == expected
        assert np.array_equal(logits, wanted)


def test_a_depot_that_is_started_again_begins_anew_and_a_dead_one_is_done_without(machines: Machines) -> None:
    search = Begun()
    for view in (0, 1, 2):
        search.computed(machines.here, view)
        assert search.look(machines.there, view)[1] == 0
    search.start_again()
    assert search.heard() == 0
    # It counts from one again, and whoever had read three hears of it nevertheless.
    again = search.computed(machines.here, 3)
    logits, run = search.look(machines.there, 3)
    assert run == 0
    assert np.array_equal(logits, again)
    ray.kill(search.exchange._depot)
    alone, run = search.look(machines.here, 4)
    assert run == IMAGES
    began = time.monotonic()
    logits, run = search.look(machines.there, 4)
    assert run == IMAGES
    assert time.monotonic() - began < 2 * exchange.ANSWER_SECONDS
    assert np.array_equal(logits, alone)


def test_a_depot_that_does_not_answer_holds_a_training_up_for_a_tenth_of_its_time(
    ray_address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = exchange.ANSWER_SECONDS
    monkeypatch.setattr(exchange, "ANSWER_SECONDS", 0.2)
    asked = Exchange.begun()
    process = ray.get(asked._depot.__ray_call__.remote(lambda depot: os.getpid()))
    os.kill(process, signal.SIGSTOP)
    try:
        began = time.monotonic()
        with pytest.raises(GetTimeoutError):
            list(asked.ask("cache"))
        took = time.monotonic() - began
        assert 0.2 <= took < 2
        # Nine tenths of the time nobody is asked, so nothing is waited for.
        assert asked._rests_until - began == pytest.approx(10 * took, rel=0.2)
        assert list(asked.ask("cache")) == []
    finally:
        os.kill(process, signal.SIGCONT)
    monkeypatch.setattr(exchange, "ANSWER_SECONDS", usual)
    wait_for(lambda: time.monotonic() > asked._rests_until)
    assert list(asked.ask("cache")) == []


def test_blocks_stay_few_and_hold_everything(ray_address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two machines fill a cache for an hour, two batches a second each, and ask as often."""
    now = 0.0
    monkeypatch.setattr(exchange, "time", SimpleNamespace(monotonic=lambda: now))
    depot, read, told = Depot(), None, 0
    for number in range(7_200):
        now = number / 2
        for node in ("one", "other"):
            depot.offer("cache", node, (np.array([number]), np.array([0]), np.zeros((1, 10), np.float16)))
        read, new = depot.others("cache", "one", read)
        told += sum(len(images) for images, _, _ in ray.get(new))
    _, of_one = depot.others("cache", "other", None)
    _, of_other = depot.others("cache", "one", None)
    assert len(of_one) == len(of_other) < 2_000
    # What is not packed yet is younger than a two-hundredth of the hour.
    assert 7_200 - 36 <= told <= 7_200


def test_what_nobody_asks_for_is_packed_too_and_has_an_end(ray_address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    block = (np.arange(1000), np.zeros(1000, np.int64), np.zeros((1000, 10), np.float16))
    size = sum(part.nbytes for part in block)
    monkeypatch.setattr(exchange, "LOOSE_BYTES", 5 * size)
    monkeypatch.setattr(exchange, "KEPT_BYTES", 20 * size)
    depot = Depot()
    for _ in range(100):
        depot.offer("cache", "one", block)
    packed = depot._shelves["cache"].blocks
    assert [len(ray.get(reference)[0]) for _, reference in packed] == [5000] * 4

"""Memory and shares of a real card."""

import gc
from collections.abc import Iterator

import pytest
import torch

from tests.gpu.setting import GPU
from tune_kd import plan
from tune_kd.execution import gauge, memory, probe
from tune_kd.execution.resources import CONTEXT_BYTES, memory_fraction
from tune_kd.preparation import Prepared, prepare
from tune_kd.space.load import load
from tune_kd.training import precision
from tune_kd.tuning.conductor import GPU_FULL

STUDY = """
study: gauged
question: How many?
data: {dataset: digits, drawn: 100, evaluate_on: [scanned], teacher_on: [scanned]}
teacher: {model: digits_student}
student: {model: digits_student_tiny}
train: {batch_size: 16}
search: {train.lr: {loguniform: [0.001, 0.1]}}
"""


@pytest.fixture
def a_hundredth() -> Iterator[float]:
    """Of the card, for this process."""
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(0.01)
    yield 0.01
    torch.cuda.set_per_process_memory_fraction(1.0)


def test_a_share_is_enforced_and_a_full_one_is_known_and_let_go(a_hundredth: float) -> None:
    total = torch.cuda.get_device_properties(0).total_memory

    def hungry() -> None:
        held = [torch.empty(int(a_hundredth * total / 4), dtype=torch.uint8, device=GPU) for _ in range(6)]
        raise AssertionError(f"{len(held)} quarters of the share fitted")

    gc.collect()
    before = torch.cuda.memory_allocated()
    with pytest.raises(torch.OutOfMemoryError) as caught:
        hungry()
    assert memory.what_is_full(caught.value) == GPU_FULL
    memory.let_go(caught.value)
    assert torch.cuda.memory_allocated() == before
    assert torch.cuda.memory_reserved() < a_hundredth * total


def test_what_cuda_itself_holds_is_what_shares_leave_for_it() -> None:
    torch.zeros(1, device=GPU) @ torch.zeros(1, device=GPU)
    total = torch.cuda.get_device_properties(0).total_memory
    assert memory_fraction(1 / 16, total) * total == pytest.approx(total / 16 - CONTEXT_BYTES)


def test_the_card_is_known() -> None:
    seen = probe.facts()
    print(seen)
    assert seen["gpu"] == torch.cuda.get_device_name(0)
    assert seen["driver"]
    used = probe.usage()
    assert 0 <= used["own"] < used["taken"] < used["total"]
    assert precision.capable(GPU) == torch.cuda.is_bf16_supported(including_emulation=False)


@pytest.fixture(scope="module")
def prepared() -> Prepared:
    return prepare(plan.make(load(STUDY)), lambda text: None)


def test_trainings_beside_each_other_are_measured(prepared: Prepared) -> None:
    found = gauge._measure(gauge.question(load(STUDY), prepared, "digits_student_tiny"), [1, 2], 0.5)
    print(found)
    assert [each.at_once for each in found] == [1, 2]
    for each in found:
        assert not each.failed
        assert each.rate > 0
        assert each.own < each.taken < each.total

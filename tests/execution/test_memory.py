"""Running out of memory is told from other failures."""

import pytest
import torch

from tune_kd.execution.memory import HOST_ADVICE, cause_of_death, ends_its_process, what_is_full
from tune_kd.tuning.conductor import GPU_FULL, HOST_FULL


@pytest.mark.parametrize(
    ("error", "full"),
    [
        (torch.OutOfMemoryError("Tried to allocate 2.00 GiB"), GPU_FULL),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), GPU_FULL),
        (RuntimeError("CUDA out of memory. Tried to allocate 20.00 MiB"), GPU_FULL),
        (torch.AcceleratorError("CUDA error: out of memory\nCompile with TORCH_USE_CUDA_DSA"), GPU_FULL),
        (MemoryError(), HOST_FULL),
        (RuntimeError("std::bad_alloc"), HOST_FULL),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), ""),
    ],
)
def test_by_whatever_name(error: Exception, full: str) -> None:
    assert what_is_full(error) == full
    assert not ends_its_process(error)


def test_as_torch_itself_says_it() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**60, dtype=torch.uint8)
    assert what_is_full(caught.value) == HOST_FULL


def test_rays_memory_monitor_is_named() -> None:
    from ray.exceptions import ActorDiedError, OutOfMemoryError

    killed = OutOfMemoryError("Task was killed due to the node running low on memory.")
    assert cause_of_death(str(killed)) == HOST_ADVICE
    assert cause_of_death(str(ActorDiedError())) == ""


def test_a_gpu_that_has_failed_is_known_and_named() -> None:
    failed = torch.AcceleratorError("CUDA error: device-side assert triggered\nFor debugging consider …")
    assert what_is_full(failed) == ""
    assert ends_its_process(failed)
    text = f"ray::ImplicitFunc.train() (pid=1)\ntorch.{type(failed).__name__}: {failed}"
    assert cause_of_death(text) == "the GPU said: CUDA error: device-side assert triggered"

"""Tells running out of memory, on a GPU or on the host, and a GPU that has failed from other failures of a training."""

import gc
import re
import traceback
from typing import Final

import torch

from tune_kd.tuning.conductor import GPU_FULL, HOST_FULL

GPU_WORDS: Final = (
    "CUDA out of memory",
    "CUDA error: out of memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_ALLOC_FAILED",
    "MPS backend out of",
)
HOST_WORDS: Final = ("std::bad_alloc", "can't allocate memory", "Cannot allocate memory", "Unable to allocate")

GPU_ADVICE: Final = (
    "out of memory on the GPU, twice, the second time with a share of {share}. Give each trial more of it (--set "
    "resources.gpu=0.5, or 1), or train with a smaller train.batch_size or student.model"
)
HOST_ADVICE: Final = (
    "out of memory on the host. Let fewer trials run at once there (--set resources.cpu=2, or a larger resources.gpu), "
    "or use a machine with more memory"
)

MONITOR_WORDS: Final = ("memory monitor", "OutOfMemoryError", "running low on memory")
"""Of Ray's message when it has ended a process so that its machine has memory left."""


def what_is_full(error: BaseException) -> str:
    """GPU_FULL, HOST_FULL, or nothing where the error is another one."""
    text = str(error)
    if isinstance(error, torch.OutOfMemoryError) or any(words in text for words in GPU_WORDS):
        return GPU_FULL
    if isinstance(error, MemoryError) or any(words in text for words in HOST_WORDS):
        return HOST_FULL
    return ""


def ends_its_process(error: BaseException) -> bool:
    """After an error of the GPU itself (a broken assertion in a kernel, an illegal address) every call to it fails as
    well, so whatever else this process trained would fail through no fault of its own."""
    return isinstance(error, torch.AcceleratorError) and not what_is_full(error)


def cause_of_death(text: str) -> str:
    """Why a process went away, from what Ray says of it: memory, or the GPU."""
    if any(words in text for words in MONITOR_WORDS):
        return HOST_ADVICE
    said = re.search(r"AcceleratorError: (.+)", text)
    return f"the GPU said: {said[1].strip()}" if said else ""


def let_go(error: BaseException) -> None:
    """The failed training's tensors hang on its frames; the next one in this process needs their room."""
    traceback.clear_frames(error.__traceback__)
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()

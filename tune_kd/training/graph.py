"""On a CUDA GPU a step is recorded once a leg and then replayed whole.

A small student's step is a hundred short kernels, and calling them takes longer than computing them. A recorded step is
one call. It reads its batch from the same place in memory each time, and so do the weights that it changes.
"""

import contextlib
import functools
import logging
import random
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Final, Protocol

import torch
from torch import Tensor

from tune_kd.training.precision import Precision
from tune_kd.training.step import Batch, Step

LEAST_STEPS = 100
"""Of a leg, for recording to pay: it takes as long as some dozens of steps."""

WARM_STEPS: Final = 3
"""Ordinary ones before recording: libraries choose their kernels, and the optimizer makes its state."""

MOST_OFF: Final = 0.1
"""How far what a replay changes may be from what an ordinary step changes, relative to that change. Sums on a GPU are
not made in the same order twice."""

_unrecordable: set[tuple[str, str, Precision]] = set()
"""Models and methods that this process need not try again."""


class Recorder(Protocol):
    """What records on a device; another one in tests, as few machines have a GPU."""

    def aside(self) -> AbstractContextManager[object]:
        """Ordinary steps run in here before one of their kind is recorded."""

    def watched(self) -> AbstractContextManager[object]:
        """An ordinary step in here fails where it waits for the device. Recorded, it would fail as well, and could
        leave the device's memory and chance in disorder."""

    def record(self, body: Callable[[], Tensor]) -> Callable[[], Tensor]:
        """Runs nothing now. What it returns repeats what `body` did to the memory it touched."""


class CudaRecorder:
    @contextlib.contextmanager
    def aside(self) -> Iterator[None]:
        stream = _stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            yield
        torch.cuda.current_stream().wait_stream(stream)

    @contextlib.contextmanager
    def watched(self) -> Iterator[None]:
        with self.aside(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that PyTorch does not know of every wait
            torch.cuda.set_sync_debug_mode("error")
            try:
                yield
            finally:
                torch.cuda.set_sync_debug_mode("default")

    def record(self, body: Callable[[], Tensor]) -> Callable[[], Tensor]:
        graph = torch.cuda.CUDAGraph()
        try:
            # Twice, as the inner one is not left where recording fails.
            with torch.cuda.stream(_stream()), torch.cuda.graph(graph, stream=_stream()):
                told = body()
        except RuntimeError:
            # Chance would believe for ever that it is being recorded.
            chance = torch.cuda.default_generators[torch.cuda.current_device()]
            chance.graphsafe_set_state(chance.clone_state())
            raise

        def replay() -> Tensor:
            graph.replay()
            return told

        return replay


@functools.cache
def _stream() -> torch.cuda.Stream:
    """Never the one that all else is on: gradients would remember that one, and it cannot be recorded. One for all
    legs, as libraries keep room for each."""
    return torch.cuda.Stream()


class Before:
    """The state that a training was in, to go back to."""

    def __init__(self, ordinary: Step) -> None:
        self._live = ordinary.state()
        self.values = _copied(self._live)
        self._chance = _chance()
        self._on_gpu = torch.cuda.get_rng_state() if self._live["weights"][0].is_cuda else None

    @torch.no_grad()
    def restore(self) -> None:
        for name, tensors in self._live.items():
            for tensor, value in zip(tensors, self.values[name], strict=True):
                tensor.copy_(value)
        random.setstate(self._chance[0])
        torch.set_rng_state(self._chance[1])
        if self._on_gpu is not None:
            torch.cuda.set_rng_state(self._on_gpu)

    def drew(self) -> bool:
        """Whether chance on the CPU was used since: a recording would draw the same for ever."""
        python, ours = _chance()
        return python != self._chance[0] or not torch.equal(ours, self._chance[1])


def _chance() -> tuple[tuple[Any, ...], Tensor]:
    return random.getstate(), torch.get_rng_state()


def _copied(state: Mapping[str, Sequence[Tensor]]) -> dict[str, list[Tensor]]:
    return {name: [tensor.clone() for tensor in tensors] for name, tensors in state.items()}


@dataclass(frozen=True)
class Recording:
    """A step that reads its batch from `room`."""

    room: Batch
    replay: Callable[[], Tensor]

    def __call__(self, batch: Batch) -> Tensor:
        self.room.take(batch)
        return self.replay().clone()  # the next replay writes to the same place


class RecordedStep:
    """Ordinary steps until one is recorded, and again wherever the recording does not fit or turned out wrong."""

    def __init__(self, ordinary: Step, recorder: Recorder) -> None:
        self._step = ordinary
        self._recorder = recorder
        self._recording: Recording | None = None
        self._warm = 0
        self.given_up = ""
        self.replayed = 0

    def __call__(self, batch: Batch) -> Tensor:
        settings = self._step.settings
        # The weights of the losses are part of a recording, and grow from epoch to epoch in a warm-up.
        fits = len(batch.labels) == settings.train.batch_size and batch.epoch >= self._step.steady
        if self.given_up or not fits:
            return self._step(batch)
        if self._warm < WARM_STEPS:
            self._warm += 1
            with self._recorder.aside():
                return self._step(batch)
        if self._recording is None:
            return self._begin(batch)
        self.replayed += 1
        return self._recording(batch)

    def _begin(self, batch: Batch) -> Tensor:
        """Records this step. If its replay does not come to what an ordinary step does, it never was."""
        before = None
        try:
            before = Before(self._step)
            losses = self._recorded(batch, before)
            if losses is not None:
                return losses
            self.given_up = "a replay does not do what a step does"
            _unrecordable.add(self._step.name)
        except torch.OutOfMemoryError:
            self.given_up = "there is no room for it"
        except RuntimeError as error:  # a model that waits for the device
            self.given_up = str(error).partition("\n")[0]
            _unrecordable.add(self._step.name)
        # Here nothing holds the recording's memory any more.
        self._recording = None
        logging.getLogger(__name__).warning("steps are not recorded: %s", self.given_up)
        if before is not None:
            before.restore()
        return self._step(batch)

    def _recorded(self, batch: Batch, before: Before) -> Tensor | None:
        """The losses of this step, done; None where the recording is not to be trusted."""
        with self._recorder.watched():
            losses = self._step(batch)
        ordinary = _copied(self._step.state())
        before.restore()
        room = batch.like()
        recording = Recording(room, self._recorder.record(lambda: self._step(room)))
        if before.drew():
            return None
        told = recording(batch)
        if not torch.allclose(told, losses, rtol=MOST_OFF, atol=1e-3):
            return None
        if not all(
            _alike(before.values[name], ordinary[name], replayed) for name, replayed in self._step.state().items()
        ):
            return None
        self._recording = recording
        return told


def _alike(before: Sequence[Tensor], ordinary: Sequence[Tensor], replayed: Sequence[Tensor]) -> bool:
    return not ordinary or _distance(ordinary, replayed) <= MOST_OFF * _distance(ordinary, before)


def _distance(some: Sequence[Tensor], others: Sequence[Tensor]) -> float:
    apart = torch._foreach_sub([each.float() for each in some], [each.float() for each in others])
    return float(torch.stack(torch._foreach_norm(apart)).norm())


def make_step(ordinary: Step, device: torch.device, steps: int) -> Callable[[Batch], Tensor]:
    """What a leg of so many steps uses on that device."""
    if device.type == "cuda" and steps >= LEAST_STEPS and ordinary.name not in _unrecordable:
        return RecordedStep(ordinary, CudaRecorder())
    return ordinary

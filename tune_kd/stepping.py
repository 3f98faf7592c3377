"""One step of a training; on a CUDA GPU it is recorded once and then replayed whole.

A small student's step is a hundred short kernels, and calling them takes longer than computing them. A recorded step is
one call. It reads its batch from the same place in memory each time, and so do the weights that it changes.
"""

import contextlib
import logging
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Final, Protocol

import torch
from torch import Tensor, nn

from tune_kd import precision
from tune_kd.distill.logits import loss_parts, loss_weights
from tune_kd.optimizing import step
from tune_kd.precision import Precision
from tune_kd.space.study import Study

LEAST_STEPS = 100
"""Of a leg, for recording to pay: it takes as long as some dozens of steps."""

WARM_STEPS: Final = 3
"""Ordinary ones before recording: libraries choose their kernels, and the optimizer makes its state."""

MOST_OFF: Final = 0.1
"""How far a recorded step's change of the weights may be from an ordinary one's, relative to that change. Sums on a GPU
are not made in the same order twice; a recording that leaves something out is off by about 1."""


class Recorder(Protocol):
    """What records on a device; another one in tests, as few machines have a GPU."""

    def aside(self) -> AbstractContextManager[object]:
        """What is to be recorded later runs in here before."""

    def record(self, body: Callable[[], Tensor]) -> Callable[[], Tensor]:
        """Runs nothing now. What it returns repeats what `body` did to the memory it touched."""


class CudaRecorder:
    def __init__(self) -> None:
        # Never the stream that all else is on: gradients would remember that one, and it cannot be recorded.
        self._stream = torch.cuda.Stream()

    @contextlib.contextmanager
    def aside(self) -> Iterator[None]:
        self._stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self._stream):
            yield
        torch.cuda.current_stream().wait_stream(self._stream)

    def record(self, body: Callable[[], Tensor]) -> Callable[[], Tensor]:
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=self._stream):
            told = body()

        def replay() -> Tensor:
            graph.replay()
            return told

        return replay


@dataclass(frozen=True)
class Batch:
    inputs: Tensor
    labels: Tensor
    guide: Tensor | None
    epoch: int

    def like(self) -> "Batch":
        """Room for others of its kind."""
        return Batch(
            torch.empty_like(self.inputs),
            torch.empty_like(self.labels),
            None if self.guide is None else torch.empty_like(self.guide),
            self.epoch,
        )

    def take(self, other: "Batch") -> None:
        self.inputs.copy_(other.inputs)
        self.labels.copy_(other.labels)
        if self.guide is not None and other.guide is not None:
            self.guide.copy_(other.guide)


@dataclass(frozen=True)
class Step:
    """The ordinary one. Returns the losses (cross-entropy, teacher's term) without waiting for the device."""

    model: nn.Module
    optimizer: torch.optim.Optimizer
    settings: Study
    used: Precision

    def __call__(self, batch: Batch) -> Tensor:
        with precision.autocast(batch.inputs.device, self.used):
            logits = self.model(batch.inputs)
        smoothing = self.settings.train.label_smoothing
        parts = loss_parts(logits, batch.labels, batch.guide, self.settings.kd, smoothing, batch.epoch)
        self.optimizer.zero_grad(set_to_none=True)
        parts.total.backward()
        step(self.optimizer)
        return torch.stack([parts.ce, parts.kd])


@dataclass(frozen=True)
class Recording:
    """A step that reads its batch from `room`, with these weights of the losses."""

    room: Batch
    weights: tuple[float, float]
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
        if self.given_up or len(batch.labels) != self._step.settings.train.batch_size:
            return self._step(batch)
        if self._warm < WARM_STEPS:
            self._warm += 1
            with self._recorder.aside():
                return self._step(batch)
        # They are part of a recording, and grow from epoch to epoch in a warm-up.
        weights = loss_weights(self._step.settings.kd, batch.epoch, batch.guide is not None)
        if self._recording is None or weights != self._recording.weights:
            return self._begin(batch, weights)
        self.replayed += 1
        return self._recording(batch)

    def _begin(self, batch: Batch, weights: tuple[float, float]) -> Tensor:
        """Records this step, and compares its replay with what an ordinary one does."""
        try:
            room = batch.like()
            self._recording = Recording(room, weights, self._recorder.record(lambda: self._step(room)))
            losses, right = self._compared(batch, self._recording)
            if right:
                return losses
            self.given_up = "its replay changed the weights differently"
        except RuntimeError as error:  # a model that waits for the device, or no room
            self.given_up = str(error).partition("\n")[0]
            losses = self._step(batch)
        self._recording = None
        logging.getLogger(__name__).warning("steps are not recorded: %s", self.given_up)
        return losses

    def _compared(self, batch: Batch, recording: "Recording") -> tuple[Tensor, bool]:
        """Both from the same state; the ordinary one last, so that it is the one that counts."""
        state = self._state()
        before = [tensor.clone() for tensor in state]
        seed = torch.get_rng_state(), [torch.cuda.get_rng_state()] if batch.inputs.is_cuda else []
        told = recording(batch)
        replayed = self._parameters()
        with torch.no_grad():
            for tensor, value in zip(state, before, strict=True):
                tensor.copy_(value)
        torch.set_rng_state(seed[0])
        for cuda in seed[1]:
            torch.cuda.set_rng_state(cuda)
        start = self._parameters()
        losses = self._step(batch)
        ordinary = self._parameters()
        off, moved = float((replayed - ordinary).norm()), float((ordinary - start).norm())
        alike = bool(torch.allclose(told, losses, rtol=MOST_OFF, atol=1e-3))
        return losses, alike and off <= MOST_OFF * moved

    def _state(self) -> list[Tensor]:
        kept = (value for values in self._step.optimizer.state.values() for value in values.values())
        return [*self._step.model.state_dict().values(), *(value for value in kept if isinstance(value, Tensor))]

    def _parameters(self) -> Tensor:
        return torch.cat([p.detach().double().flatten() for p in self._step.model.parameters()])


def make_step(ordinary: Step, device: torch.device, steps: int) -> Callable[[Batch], Tensor]:
    """What a leg of so many steps uses on that device."""
    if device.type == "cuda" and steps >= LEAST_STEPS:
        return RecordedStep(ordinary, CudaRecorder())
    return ordinary

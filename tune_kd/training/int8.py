"""The winner in int8, where the `int8` extra is installed: quantized by torchao (PyTorch's own), run by ONNX Runtime.

torchao's quantized programs run slowly, or with a compiler, in PyTorch itself; ONNX Runtime has kernels for them.
"""

import importlib.util
import logging
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, Final

import torch
from torch import Tensor, nn

from tune_kd.data.pool import Indices
from tune_kd.names import Interpolation
from tune_kd.training.images import resized

INT8: Final = "model.int8.onnx"
NEEDED: Final = ("onnx", "onnxscript", "onnxruntime", "torchao")
CALIBRATION: Final = 512
"""Training images from which the ranges of activations are read."""
BATCH: Final = 64
LOG: Final = logging.getLogger(__name__)


@dataclass(frozen=True)
class Probe:
    """All images, and which of them a model is calibrated by and tested on, as numbers into them."""

    images: Tensor
    labels: Tensor
    training: Indices
    test: Indices
    side: int | None = None
    interpolation: Interpolation = "bilinear"

    def pixels(self, index: Indices) -> Iterator[tuple[Tensor, Tensor]]:
        """Batches as an exported program takes them, with their labels."""
        for rows in torch.from_numpy(index).split(BATCH):
            shown = resized(self.images[rows], self.side, self.interpolation)
            yield shown.round().clamp(0, 255).to(torch.uint8), self.labels[rows]


def quantize(folder: Path, ready: nn.Module, plain: Path, probe: Probe) -> dict[str, Any]:
    """Writes the model; its accuracy, size and time, and those of `plain`, the same in 32 bits. Empty: none."""
    if not plain.exists() or any(importlib.util.find_spec(name) is None for name in NEEDED):
        return {}
    file = folder / INT8
    try:
        with _quiet():
            _write(file, ready, probe)
        return _measured(file, plain, probe)
    except Exception as error:  # quantizers and exporters raise many kinds for a user's own model
        file.unlink(missing_ok=True)
        LOG.warning("there is no %s: %s", INT8, str(error).strip().partition("\n")[0])
        return {}


def exported(model: nn.Module, file: Path, example: Tensor) -> None:
    """As ONNX, for any number of pictures; without traces, which are large and name this machine's paths."""
    import onnx

    torch.onnx.export(model, (example,), str(file), dynamo=True, dynamic_shapes=({0: torch.export.Dim("batch")},),
                      external_data=False, input_names=["pixels"], output_names=["logits"], verbose=False)  # fmt: skip
    known = onnx.load(file)
    for one in (known, known.graph, *known.graph.node, *known.graph.value_info, *known.functions):
        one.ClearField("metadata_props")
    onnx.save(known, file)


def _write(file: Path, ready: nn.Module, probe: Probe) -> None:
    from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e
    from torchao.quantization.pt2e.quantizer import x86_inductor_quantizer as x86

    chosen = probe.training[:: max(1, len(probe.training) // CALIBRATION)][:CALIBRATION]
    example = next(probe.pixels(chosen[:2]))[0]
    graph = torch.export.export(ready, (example,), dynamic_shapes=({0: torch.export.Dim("batch")},)).module()
    # Activations of 7 bits: with 8, processors without VNNI add up too much, and the accuracy would be this machine's.
    quantizer = x86.X86InductorQuantizer()
    quantizer.set_global(x86.get_default_x86_inductor_quantization_config(reduce_range=True))
    prepared = prepare_pt2e(graph, quantizer)
    with torch.inference_mode():
        for pixels, _ in probe.pixels(chosen):
            prepared(pixels)
    exported(convert_pt2e(prepared), file, example)


def _measured(file: Path, plain: Path, probe: Probe) -> dict[str, Any]:
    """On the very images that the winner was tested on. It is told beside the winner, and chosen by nothing."""
    run, run_plain = _session(file), _session(plain)
    right = sum(int((run(pixels).argmax(1) == labels).sum()) for pixels, labels in probe.pixels(probe.test))
    one = next(probe.pixels(probe.test[:1]))[0]
    return {
        "test_accuracy": right / len(probe.test),
        "bytes": file.stat().st_size,
        "bytes_fp32": plain.stat().st_size,
        "milliseconds": _milliseconds(run, one),
        "milliseconds_fp32": _milliseconds(run_plain, one),
    }


def _session(file: Path) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(file), options)
    return lambda pixels: torch.from_numpy(session.run(None, {"pixels": pixels.numpy()})[0])


def _milliseconds(run: Any, pixels: Tensor) -> float:
    """The median of 30 after 5 that do not count."""
    taken = []
    for _ in range(35):
        started = time.perf_counter()
        run(pixels)
        taken.append(1000 * (time.perf_counter() - started))
    return median(taken[5:])


@contextmanager
def _quiet() -> Iterator[None]:
    """What torchao and PyTorch tell each other about coming releases is nothing for whoever runs a search."""
    log = logging.getLogger("torch.utils._pytree")
    before = log.level
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        log.setLevel(before)

"""What makes of `model/` a folder to hand on: safetensors, a model card, ONNX and int8 where packages are installed."""

import importlib.util
import json
import logging
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import torch
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from torch import Tensor, nn

from tune_kd.training import int8

SAFETENSORS, CARD, ONNX = "model.safetensors", "README.md", "model.onnx"
TEMPLATE: Final = "card.md"
DTYPES: Final = {torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16", torch.int64: "I64",
                 torch.int32: "I32", torch.uint8: "U8", torch.bool: "BOOL", torch.float64: "F64"}  # fmt: skip
PARITY_IMAGES: Final = 100
PARITY: Final = 1e-3
"""How far logits of the ONNX model may lie from the exported program's."""
LOG: Final = logging.getLogger(__name__)


def release(
    folder: Path, model: nn.Module, ready: nn.Module, facts: Mapping[str, Any], probe: int8.Probe | None = None
) -> dict[str, Any]:
    """Beside the exported program, which `ready` is: takes pixels and normalises them. All facts, old and new."""
    (folder / SAFETENSORS).write_bytes(safetensors(model.state_dict(), {"architecture": str(facts["architecture"])}))
    onnx = onnx_model(folder / ONNX, ready, facts["in_shape"])
    smaller = int8.quantize(folder, ready, folder / ONNX, probe) if probe is not None else {}
    known = {**facts, "int8": smaller} if smaller else dict(facts)
    (folder / CARD).write_text(card(known, onnx), encoding="utf-8")
    return known


def safetensors(tensors: Mapping[str, Tensor], about: Mapping[str, str]) -> bytes:
    """A length, a header of JSON, and bytes; https://huggingface.co/docs/safetensors describes it in full."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt", **about}}
    parts, place = [], 0
    for name, tensor in tensors.items():
        plain = tensor.detach().cpu().contiguous()
        raw = plain.reshape(-1).view(torch.uint8).numpy().tobytes() if plain.numel() else b""
        header[name] = {"dtype": DTYPES[plain.dtype], "shape": list(plain.shape),
                        "data_offsets": [place, place + len(raw)]}  # fmt: skip
        parts.append(raw)
        place += len(raw)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + b"".join(parts)


def onnx_model(file: Path, ready: nn.Module, in_shape: list[int]) -> bool:
    """Written where the `onnx` extra is installed, and kept only if it says what the program says on 100 pictures."""
    if any(importlib.util.find_spec(name) is None for name in ("onnx", "onnxscript", "onnxruntime")):
        return False
    import onnxruntime

    try:
        int8.exported(ready, file, torch.zeros(2, *in_shape, dtype=torch.uint8))
        images = torch.randint(0, 256, (PARITY_IMAGES, *in_shape), dtype=torch.uint8)
        found = onnxruntime.InferenceSession(str(file)).run(None, {"pixels": images.numpy()})[0]
        with torch.inference_mode():
            apart = float((torch.from_numpy(found) - ready(images)).abs().max())
        if not apart <= PARITY:
            raise ValueError(f"its logits are {apart:.2g} from the program's")
    except Exception as error:  # exporters raise many kinds for a user's own model
        file.unlink(missing_ok=True)
        LOG.warning("there is no %s: %s", file.name, str(error).strip().partition("\n")[0])
        return False
    return True


def card(facts: Mapping[str, Any], onnx: bool) -> str:
    """The model card, with a licence field that its owner has to fill in."""
    right, images = float(facts["test_accuracy"]), int(facts["test_images"])
    low, high = wilson(right, images)
    here = FileSystemLoader(Path(__file__).parent)
    templates = Environment(loader=here, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True,
                            keep_trailing_newline=True)  # fmt: skip
    return templates.get_template(TEMPLATE).render(
        facts=facts, low=low, high=high, right=right, images=images, onnx=onnx, int8=facts.get("int8")
    )


def wilson(share: float, count: int) -> tuple[float, float]:
    """The 95 % interval of a share seen in so many: what other test images of the same kind would change."""
    z = 1.959964
    middle = (share + z * z / (2 * count)) / (1 + z * z / count)
    half = z / (1 + z * z / count) * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    return max(0.0, middle - half), min(1.0, middle + half)

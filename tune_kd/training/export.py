"""The winner as a folder that works without this package: an exported program, its weights, and how to use them."""

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tune_kd.errors import TuneKDError
from tune_kd.training import checkpoint
from tune_kd.training.images import scale_and_offset
from tune_kd.training.release import release

PROGRAM, WEIGHTS, FACTS, EXAMPLE = "model.pt2", "weights.pt", "model.json", "predict.py"


class FromPixels(nn.Module):
    """A classifier that takes uint8 pixels, so that nobody has to know how it was normalised."""

    scale: Tensor
    offset: Tensor

    def __init__(self, model: nn.Module, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        super().__init__()
        self.model = model
        # Part of the program, as whoever traces it cannot see through a function that remembers its constants.
        scale, offset = scale_and_offset(mean, std, torch.device("cpu"))
        self.register_buffer("scale", scale.clone(), persistent=False)
        self.register_buffer("offset", offset.clone(), persistent=False)

    def forward(self, pixels: Tensor) -> Tensor:
        logits: Tensor = self.model(torch.addcmul(self.offset, pixels.float(), self.scale))
        return logits


def export(
    folder: Path, model: nn.Module, mean: tuple[float, ...], std: tuple[float, ...], facts: Mapping[str, Any]
) -> FromPixels:
    """Writes the folder; `facts` says what the model is, with at least `in_shape` and `classes`."""
    folder.mkdir(parents=True, exist_ok=True)
    # With its normalisation, so that it can be the teacher of another search.
    checkpoint.save(folder / WEIGHTS, {"state_dict": dict(model.state_dict()), "mean": mean, "std": std})
    (folder / FACTS).write_text(json.dumps(dict(facts), indent=2) + "\n")
    shutil.copyfile(Path(__file__).with_name(EXAMPLE), folder / EXAMPLE)
    ready = FromPixels(model.cpu().eval(), mean, std).eval()
    try:
        torch.export.save(program(ready, facts["in_shape"]), folder / PROGRAM)
    except Exception as error:  # torch.export raises many kinds for a user's own model
        reason = str(error).strip().partition("\n")[0]
        raise TuneKDError(f"the winner cannot be exported as a program (torch.export): {reason}") from error
    release(folder, model, ready, facts)
    return ready


def program(model: nn.Module, in_shape: Sequence[int]) -> torch.export.ExportedProgram:
    """The model as a graph that takes any number of pictures."""
    example = torch.zeros(2, *in_shape, dtype=torch.uint8)
    return torch.export.export(model, (example,), dynamic_shapes=({0: torch.export.Dim("batch")},))

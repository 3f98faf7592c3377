"""The winner as a folder that works without this package: an exported program, its weights, and how to use them."""

import json
import shutil
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tune_kd.errors import InputError, TuneKDError
from tune_kd.models import build
from tune_kd.training import checkpoint
from tune_kd.training.images import scale_and_offset
from tune_kd.training.int8 import Probe
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


class Exported(nn.Module):
    """The exported program as a module, for a network that only the process which made it can build."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self._run = torch.export.load(file).module()

    def forward(self, pixels: Tensor) -> Tensor:
        logits: Tensor = self._run(pixels)
        return logits

    def train(self, mode: bool = True) -> "Exported":
        """A program has one mode, that of use."""
        self.training = False
        return self


def export(
    folder: Path,
    model: nn.Module,
    mean: tuple[float, ...],
    std: tuple[float, ...],
    facts: Mapping[str, Any],
    probe: Probe | None = None,
) -> FromPixels:
    """Writes the folder; `facts` says what the model is: see `champion.export_winner`. With `probe`, int8 as well."""
    folder.mkdir(parents=True, exist_ok=True)
    # With its normalisation and classes, so that it can be the teacher of another search.
    brought = {"mean": mean, "std": std, "classes": list(facts["classes"])}
    checkpoint.save(folder / WEIGHTS, {"state_dict": dict(model.state_dict()), **brought})
    shutil.copyfile(Path(__file__).with_name(EXAMPLE), folder / EXAMPLE)
    ready = FromPixels(model.cpu().eval(), mean, std).eval()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # about what some versions of torch.export do themselves
            torch.export.save(program(ready, facts["in_shape"]), folder / PROGRAM)
    except Exception as error:  # torch.export raises many kinds for a user's own model
        reason = str(error).strip().partition("\n")[0]
        raise TuneKDError(f"the winner cannot be exported as a program (torch.export): {reason}") from error
    known = release(folder, model, ready, facts, probe)
    (folder / FACTS).write_text(json.dumps(known, indent=2) + "\n")
    return ready


def read(folder: Path) -> nn.Module:
    """What `export` wrote, as a module of its own: in eval mode, on the CPU, taking pixels."""
    if not (folder / FACTS).is_file():
        raise InputError(f"{folder}: no search has put its winner there. Go on with the search, or look at its notes.")
    facts = json.loads((folder / FACTS).read_text(encoding="utf-8"))
    # What a method has made of the network by that name is here only as a program.
    if "rebuilt_by" in facts:
        return Exported(folder / PROGRAM).eval()
    try:
        model = build(facts["architecture"], classes=len(facts["classes"]), in_shape=tuple(facts["in_shape"]))
    except InputError:  # it was made from an object, or a module, that is not here
        return Exported(folder / PROGRAM).eval()
    checkpoint.load_weights(model, folder / WEIGHTS)
    return FromPixels(model, tuple(facts["mean"]), tuple(facts["std"])).eval()


def program(model: nn.Module, in_shape: Sequence[int]) -> torch.export.ExportedProgram:
    """The model as a graph that takes any number of pictures."""
    example = torch.zeros(2, *in_shape, dtype=torch.uint8)
    return torch.export.export(model, (example,), dynamic_shapes=({0: torch.export.Dim("batch")},))

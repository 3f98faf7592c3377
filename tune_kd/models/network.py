"""What a network brings along besides its layers: weights to begin with, and how those want their pictures."""

from dataclasses import dataclass

from torch import nn

from tune_kd import names
from tune_kd.models.weight_files import Weights


@dataclass(frozen=True)
class Inputs:
    """How pictures were made ready for the training that weights come from."""

    mean: tuple[float, ...]
    std: tuple[float, ...]
    size: int
    interpolation: str = "bicubic"

    @property
    def filter(self) -> names.Interpolation:
        """The nearest one that there is here, where theirs is another (lanczos, or a random one of two)."""
        return "bilinear" if self.interpolation == "bilinear" else "bicubic"


@dataclass(frozen=True)
class Pretrained:
    """Weights as their source has them, and where that is, in words."""

    weights: Weights
    inputs: Inputs | None
    where: str


@dataclass(frozen=True)
class Start:
    """What a training begins with: weights that fit the network, less those of a head that is new."""

    weights: Weights
    inputs: Inputs | None
    head: tuple[str, ...]
    """The names of the last layer's weights."""
    new_head: bool
    told: str = ""
    """Where the weights are from, in words, and whether the head is new."""

    def put_into(self, model: nn.Module) -> None:
        model.load_state_dict(self.weights, strict=False)


def head_of(model: nn.Module, classes: int) -> tuple[str, ...]:
    """The names of the weights of the last layer that has an output for each class."""
    found: tuple[str, ...] = ()
    for name, layer in model.named_modules():
        outputs = getattr(layer, "out_features", getattr(layer, "out_channels", None))
        if isinstance(layer, nn.Linear | nn.Conv2d) and outputs == classes:
            found = tuple(f"{name}.{own}" if name else own for own, _ in layer.named_parameters())
    return found


def interpolation(inputs: Inputs | None) -> names.Interpolation:
    """By what a network sees pictures at a smaller size than they are kept at."""
    return inputs.filter if inputs else "bilinear"


def normalisation(
    start: Start | None, mean: tuple[float, ...], std: tuple[float, ...]
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """That of the weights a network begins with, where they want one for as many channels, else the one given."""
    own = start.inputs if start else None
    return (own.mean, own.std) if own and len(own.mean) == len(mean) else (mean, std)

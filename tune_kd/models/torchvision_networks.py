"""torchvision's classifiers by name. It is imported by those who name it alone: that takes seconds."""

from pathlib import Path
from typing import Any, Final

import torch
from torch import nn

from tune_kd.errors import InputError, did_you_mean
from tune_kd.models import ours, weight_files
from tune_kd.models.layout import ImageShape
from tune_kd.models.network import Inputs, Pretrained

PREFIX: Final = "torchvision."


def build(name: str, classes: int, in_shape: ImageShape) -> nn.Module:
    from torchvision import models

    wanted = _known(name)
    if in_shape[0] != 3:
        raise InputError(
            f"model '{name}' takes images of 3 channels; these are {ours.shown(in_shape)}. "
            f"Choose another model, for example one of: {', '.join(ours.MODELS)}."
        )
    extra = {"aux_logits": False, "init_weights": True} if wanted in ("googlenet", "inception_v3") else {}
    model: nn.Module = models.get_model(wanted, weights=None, num_classes=classes, **extra)
    return model


def inputs(name: str) -> Inputs | None:
    """As the default weights have them."""
    return _inputs(_weights(name, True))


def pretrained(name: str, wanted: bool | str) -> Pretrained:
    """Weights of torchvision's by name, `true` for its best; from torch's cache, or fetched into it."""
    chosen = _weights(name, wanted)
    file = Path(torch.hub.get_dir()) / "checkpoints" / chosen.url.rpartition("/")[2]
    if not file.is_file():
        _fetch(name, chosen.url, file)
    content = weight_files.read(file)
    return Pretrained(weight_files.weights_of(content, file), _inputs(chosen), str(file))


def _known(name: str) -> str:
    from torchvision import models

    wanted = name.removeprefix(PREFIX)
    known = models.list_models(module=models)
    if wanted not in known:
        raise InputError(
            f"unknown torchvision classifier '{wanted}' in model '{name}'.{did_you_mean(wanted, known)} "
            f"Allowed: {', '.join(known)}."
        )
    return wanted


def _weights(name: str, wanted: bool | str) -> Any:
    from torchvision import models

    kinds = models.get_model_weights(_known(name))
    if wanted is True:
        return kinds.DEFAULT
    names = [each.name for each in kinds]
    if wanted not in names:
        raise InputError(
            f"model '{name}' has no weights '{wanted}'.{did_you_mean(wanted, names)} Allowed: true, "
            f"{', '.join(names)}, or a file such as weights.safetensors."
        )
    return kinds[str(wanted)]


def _inputs(chosen: Any) -> Inputs:
    how = chosen.transforms()
    return Inputs(tuple(how.mean), tuple(how.std), int(how.crop_size[0]), how.interpolation.value)


def _fetch(name: str, url: str, file: Path) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(url, str(file), progress=False)
    except Exception as error:  # no network, a full disk: whatever it is, the file is not here
        raise InputError(
            f"model '{name}': its weights cannot be fetched ({type(error).__name__}: {error}). Without a network, put "
            f"the file {file.name} into {file.parent}, or name a file of weights with `pretrained: FILE`."
        ) from error

"""timm's networks by name, and those of the hub that are made for it. Needs the extra tune_kd[timm]."""

from pathlib import Path
from types import ModuleType
from typing import Any, Final

from torch import nn

from tune_kd.errors import InputError, did_you_mean
from tune_kd.models.layout import ImageShape
from tune_kd.models.network import Inputs, Pretrained
from tune_kd.models.ours import shown

PREFIX: Final = "timm."
HUB: Final = "hf-hub:"


def build(name: str, classes: int, in_shape: ImageShape) -> nn.Module:
    return _create(name, classes, in_shape, pretrained=False)


def inputs(name: str) -> Inputs | None:
    """As the network's default weights have them."""
    return _inputs(_config(name))


def pretrained(name: str, wanted: bool | str) -> Pretrained:
    """Weights of timm's: `true` for the network's default ones, or another tag of them; from the hub or its cache."""
    full = name if wanted is True else f"{name.partition('.')[0]}.{_plain(name).partition('.')[0]}.{wanted}"
    config = _config(full)
    channels, side, _ = config.input_size
    model = _create(full, config.num_classes, (channels, side, side), pretrained=True)
    return Pretrained(dict(model.state_dict()), _inputs(config), f"timm's {_plain(full)}")


def _timm(name: str) -> ModuleType:
    try:
        import timm
    except ImportError as error:
        raise InputError(
            f"model '{name}' needs timm, which is not installed. Install it with: pip install 'tune_kd[timm]'."
        ) from error
    library: ModuleType = timm
    return library


def _plain(name: str) -> str:
    """`resnet50.a1_in1k` of `timm.resnet50.a1_in1k`; a name of the hub stays as it is."""
    return name.removeprefix(PREFIX)


def _config(name: str) -> Any:
    timm = _timm(name)
    plain = _plain(name)
    if plain.startswith(HUB):
        try:
            config, _, _ = timm.models.load_model_config_from_hf(plain.removeprefix(HUB))
        except Exception as error:
            raise _not_here(name, error) from error
        return timm.models.PretrainedCfg(**config)
    _check_known(name, plain)
    config = timm.get_pretrained_cfg(plain)
    if config is None:
        tags = [each.partition(".")[2] for each in timm.list_pretrained(f"{plain.partition('.')[0]}.*")]
        raise InputError(
            f"model '{name}': timm has no such weights of {plain.partition('.')[0]}. Allowed: {', '.join(tags)}, or a "
            "file such as weights.safetensors."
        )
    return config


def _check_known(name: str, plain: str) -> None:
    timm = _timm(name)
    if not timm.is_model(plain):
        known = timm.list_models()
        raise InputError(
            f"unknown network '{plain}' in model '{name}': timm has none of that name."
            f"{did_you_mean(plain.partition('.')[0], known)} Its {len(known)} names: python -c 'import timm; "
            "print(*timm.list_models())'."
        )


def _create(name: str, classes: int, in_shape: ImageShape, *, pretrained: bool) -> nn.Module:
    timm = _timm(name)
    plain = _plain(name)
    if not plain.startswith(HUB):
        _check_known(name, plain)
    given = {"pretrained": pretrained, "num_classes": classes, "in_chans": in_shape[0]}
    try:
        try:
            # Networks with a place for each patch must know the size; the others do not take it.
            made: nn.Module = timm.create_model(plain, img_size=in_shape[1:], **given)
        except TypeError:
            made = timm.create_model(plain, **given)
    except Exception as error:
        if pretrained or plain.startswith(HUB):
            raise _not_here(name, error) from error
        raise InputError(
            f"model '{name}' cannot be made for images of shape {shown(in_shape)}: {error}. "
            "Choose another data.image_size or another model."
        ) from error
    return made


def _inputs(config: Any) -> Inputs:
    return Inputs(tuple(config.mean), tuple(config.std), int(config.input_size[1]), config.interpolation)


def _not_here(name: str, error: Exception) -> InputError:
    """What to put where, for whoever has no network."""
    plain = _plain(name)
    owner = plain.removeprefix(HUB)
    if not plain.startswith(HUB):
        config = _timm(name).get_pretrained_cfg(plain)
        hub = str(getattr(config, "hf_hub_id", None) or "timm/")
        owner = f"{hub}{config.architecture}.{config.tag}" if hub.endswith("/") else hub
    try:
        from huggingface_hub.constants import HF_HUB_CACHE as cache
    except ImportError:
        cache = str(Path("~/.cache/huggingface/hub").expanduser())
    reason = f"{type(error).__name__}: {' '.join(str(error).split())[:120]}"
    return InputError(
        f"model '{name}': it cannot be fetched from the hub and is not in its cache ({reason}). Without a network, "
        f"fetch the repository {owner} into {cache} elsewhere and copy it, or name a file of weights: "
        "`pretrained: model.safetensors`."
    )

"""Weights of a file into a network: whatever stands before their names, and what to say where they do not fit."""

import difflib
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any, Final

from torch import Tensor, nn

from tune_kd.errors import InputError
from tune_kd.models.weight_files import Weights, few

Networks = Mapping[str, Mapping[str, Tensor]]
"""The states of networks by name; shapes are enough."""

PREFIXES: Final = ("module.", "_orig_mod.", "model.", "backbone.", "net.", "network.", "encoder.", "student.")
"""What wrappers put before every name, in any order and number; the first of two that fit alike is taken."""

HEADS: Final = ("fc.", "classifier.", "head.", "heads.", "linear.", "last_linear.")
"""What networks call their last layers, which the weights of another network's head may be passed over by."""

COUNTER: Final = "num_batches_tracked"  # absent from old files, and no weight


def load_into(
    model: nn.Module, weights: Mapping[str, Tensor], path: str | Path, known: Callable[[], Networks] = dict
) -> None:
    """Every weight must fit, or nothing is changed; then those of the networks `known` are named that they do fit."""
    fitting, problems = fitted(model.state_dict(), weights)
    if problems:
        raise InputError(
            f"checkpoint {path} is of another architecture than the model it is loaded into: "
            f"{'; '.join(problems)}.{it_fits(weights, known())} Name the model it was trained as (for a teacher: "
            "teacher.model), with the same classes and image shape."
        )
    model.load_state_dict(fitting, strict=False)


def it_fits(weights: Mapping[str, Tensor], known: Networks) -> str:
    """A sentence that names the networks that a file fits whole; nothing where there is none."""
    found = [name for name, own in known.items() if not fitted(own, weights)[1]]
    return f" It fits {' and '.join(found)}." if found else ""


def fitted(
    own: Mapping[str, Tensor], weights: Mapping[str, Tensor], new: Collection[str] = ()
) -> tuple[Weights, list[str]]:
    """The weights under a model's own names, and what of them does not fit; those of a `new` head are left out."""
    prefix = _prefix(own, weights)
    named = {key.removeprefix(prefix): value for key, value in weights.items() if key.startswith(prefix)}
    others = {key: value for key, value in weights.items() if not key.startswith(prefix)}
    for key in own.keys() - named.keys():
        # A head may stand beside the prefixed body.
        if (found := _alone(key, others)) is not None:
            named[key] = others[found]
    if new:
        named = {key: value for key, value in named.items() if key in own or not key.startswith(HEADS)}
    kept = {key: value for key, value in named.items() if key not in new}
    return kept, _problems({key: value for key, value in own.items() if key not in new}, kept)


def _prefix(own: Mapping[str, Any], weights: Mapping[str, Any]) -> str:
    """What stands before most of the model's names in the file; of two alike the one known first, then the shorter."""
    found = Counter[str]()
    for key in weights:
        for cut in _cuts(key):
            if cut[1] in own:
                found[cut[0]] += 1
    if not found:
        return ""
    most = max(found.values())
    return min((prefix for prefix, count in found.items() if count == most), key=_rank)


def _cuts(key: str) -> list[tuple[str, str]]:
    """A name as every prefix and what is left of it."""
    parts = key.split(".")
    return [
        ("".join(f"{part}." for part in parts[:count]), ".".join(parts[count:])) for count in range(min(6, len(parts)))
    ]


def _rank(prefix: str) -> tuple[int, int]:
    known = [PREFIXES.index(f"{part}.") if f"{part}." in PREFIXES else 99 for part in prefix.split(".")[:-1]]
    return max(known, default=-1), len(prefix)


def _alone(key: str, others: Mapping[str, Any]) -> str | None:
    """The one other name that ends in a key."""
    found = [name for name in others if name == key or name.endswith(f".{key}")]
    return found[0] if len(found) == 1 else None


def _problems(own: Mapping[str, Tensor], weights: Mapping[str, Any]) -> list[str]:
    missing = [key for key in own if key not in weights and not key.endswith(COUNTER)]
    unexpected = [key for key in weights if key not in own]
    misshapen = [
        f"{key} {tuple(weights[key].shape)} instead of {tuple(own[key].shape)}"
        for key in own
        if key in weights and weights[key].shape != own[key].shape
    ]
    lacking = [f"{key}{_nearest(key, own[key], unexpected, weights)}" for key in missing[:3]]
    found = {"missing": lacking + missing[3:], "unexpected": unexpected, "of another shape": misshapen}
    return [f"{len(keys)} {what}: {few(keys)}" for what, keys in found.items() if keys]


def _nearest(key: str, wanted: Tensor, names: list[str], weights: Mapping[str, Any]) -> str:
    """The name in the file that would fit best, among those of the same shape."""
    alike = [name for name in names if weights[name].shape == wanted.shape]
    near = difflib.get_close_matches(key, alike, n=1, cutoff=0.0)
    return f" (the nearest of its shape is {near[0]})" if near else ""

"""How training images may vary, by name (`augment.kind`), in the order in which they are applied: a line each.

Functions are named, not imported: deciding what to try needs no torch.
"""

from collections.abc import Mapping
from typing import Final

NONE: Final = "none"

LISTED: Final = ("flip", "crop", "crop_flip")
"""Those with a complete list of views."""

BANKED: Final[Mapping[str, str]] = {
    "resized_crop": "geometry:resized_crop",
    "rotation": "geometry:rotation",
    "colour": "colours:colour",
    "trivialaugment": "policies:trivialaugment",
    "randaugment": "policies:randaugment",
    "erasing": "geometry:erasing",
}
"""Those with more views than can be listed: each image gets a bank of them, drawn once from the seed."""

MIXED: Final[Mapping[str, str]] = {
    "mixup": "mixing:mixup",
    "cutmix": "mixing:cutmix",
}
"""Those that make one image of two. Their pictures are never the same again, so nothing of them can be cached."""

AUGMENTATIONS: Final = (*LISTED, *BANKED, *MIXED)


def parts(kind: str) -> tuple[str, ...]:
    return tuple(kind.replace(" ", "").split("+"))


def is_kind(kind: str) -> bool:
    found = parts(kind)
    return kind == NONE or (set(found) <= set(AUGMENTATIONS) and len(set(found)) == len(found))


def mixes(kind: str) -> bool:
    return not set(MIXED).isdisjoint(parts(kind))

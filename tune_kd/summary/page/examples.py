"""Images of each source, as the search left them in its folder: a picture for each source and each way of showing."""

import re
from collections.abc import Mapping
from typing import Any

from tune_kd.summary.page.markup import Markup, el, join

MOST_BYTES = 80_000
"""Of the text of all pictures: what is longer was not written by a search."""


def examples(found: Mapping[str, Any]) -> Markup:
    """Nothing where the file is missing or holds something else."""
    try:
        sources = [_source(each, str(found["augmentation"])) for each in found["sources"]]
        if not sources or sum(len(strip) for each in found["sources"] for strip in each["strips"]) > MOST_BYTES:
            return Markup()
        left = int(found["left_out"])
    except (KeyError, TypeError, ValueError):
        return Markup()
    more = [el("p", f"{left} more sources are not shown.")] if left else []
    return join([el("div", *sources, class_="examples"), *more])


def intro(found: Mapping[str, Any]) -> str:
    side, kind = str(found.get("side", "")), str(found.get("augmentation", "none"))
    varied = "" if kind == "none" else f", and below them as the first epoch shows them ({kind})"
    return (
        f"Some images of each source after they were decoded and brought to {side} pixels{varied}. A picture that lies "
        "on its side, is too dark or cut in the wrong place would have been learned from like this."
    )


def _source(source: Mapping[str, Any], kind: str) -> Markup:
    name, classes = str(source["name"]), [str(each) for each in source["classes"]]
    shown = f"{len(classes)} images of {name}: {', '.join(classes)}"
    ways = [shown, f"{shown}; varied by {kind}"]
    pictures = [_picture(strip, alt) for strip, alt in zip(source["strips"], ways, strict=False)]
    return el("figure", el("figcaption", el("strong", name), f" {', '.join(dict.fromkeys(classes))}"), *pictures)


def _picture(strip: str, alt: str) -> Markup:
    if not re.fullmatch(r"[A-Za-z0-9+/]+=*", strip):
        raise ValueError("no base64")
    return el("img", src=f"data:image/webp;base64,{strip}", alt=alt, width=540, height=64)

"""One self-contained HTML page: nothing is loaded from anywhere, and the browser is told to refuse it."""

import base64
import hashlib
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from tune_kd.summary.page import svg
from tune_kd.summary.page.markup import Markup, el


@cache
def _templates() -> Environment:
    return Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def page(template: str, **values: Any) -> str:
    """A whole document from a template beside this file; what is not `Markup` is escaped."""
    style, script = (_text(f"page.{kind}") for kind in ("css", "js"))
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return _templates().get_template(template).render(style=style, script=script, digest=digest, **values)


def _text(name: str) -> Markup:
    return Markup(Path(__file__).with_name(name).read_text(encoding="utf-8"))


def section(name: str, heading: str, intro: str, *content: object) -> Markup:
    """A part of the report; it is left out where it has no content."""
    shown = [one for one in content if one]
    if not shown:
        return Markup()
    return el(
        "section",
        el("h2", heading, id=f"{name}-heading"),
        el("p", intro) if intro else "",
        *shown,
        id=name,
        aria_labelledby=f"{name}-heading",
    )


def grid(kind: str, panels: list[Markup], shown: int = 12) -> Markup:
    """Panels side by side, those beyond `shown` folded away; `two` or `many` a row."""
    if not panels:
        return Markup()
    kind = "two" if svg.panel_width(len(panels)) == svg.HALF else kind
    first = el("div", *panels[:shown], class_=kind)
    if len(panels) <= shown:
        return first
    more = el("details", el("summary", f"{len(panels) - shown} more"), el("div", *panels[shown:], class_=kind))
    return Markup(first + more)

"""One self-contained HTML page: nothing is loaded from anywhere, and the browser is told to refuse it."""

import base64
import hashlib

from tune_kd.summary.page import svg
from tune_kd.summary.page.markup import Markup, el
from tune_kd.summary.page.script import SCRIPT
from tune_kd.summary.page.style import STYLE


def page(title: str, *body: object) -> str:
    """A whole document."""
    digest = base64.b64encode(hashlib.sha256(SCRIPT.encode()).digest()).decode()
    allowed = f"style-src 'unsafe-inline'; script-src 'sha256-{digest}'"
    policy = f"default-src 'none'; {allowed}; base-uri 'none'; form-action 'none'"
    head = el(
        "head",
        el("meta", charset="utf-8"),
        el("meta", http_equiv="Content-Security-Policy", content=policy),
        el("meta", name="viewport", content="width=device-width, initial-scale=1"),
        el("meta", name="color-scheme", content="light dark"),
        el("title", title),
        el("style", Markup(STYLE)),
    )
    return "<!doctype html>\n" + el("html", head, el("body", *body, el("script", Markup(SCRIPT))), lang="en")


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

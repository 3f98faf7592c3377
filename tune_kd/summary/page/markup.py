"""HTML and SVG elements from values: whatever is not `Markup` already is escaped."""

from collections.abc import Iterable
from html import escape
from typing import Final

VOID: Final = frozenset({"meta", "br", "hr", "col", "img"})

Attribute = str | int | float | bool | None


class Markup(str):
    """Text that is safe to put into a page as it stands."""

    __slots__ = ()

    def __html__(self) -> str:
        """What Jinja asks for: this text needs no escaping."""
        return self


def safe(value: object) -> Markup:
    """Anything as page text, escaped unless it is markup."""
    return value if isinstance(value, Markup) else Markup(escape(str(value), quote=True))


def join(parts: Iterable[object], between: str = "") -> Markup:
    """Several pieces as one."""
    return Markup(between.join(safe(part) for part in parts))


def el(tag: str, *children: object, **attributes: Attribute) -> Markup:
    """One element. `class_` stands for class, `_` in other names for `-`; None and False leave an attribute out."""
    named = "".join(_attribute(name, value) for name, value in attributes.items())
    if tag in VOID:
        return Markup(f"<{tag}{named}>")
    return Markup(f"<{tag}{named}>{join(children)}</{tag}>")


def _attribute(name: str, value: Attribute) -> str:
    if value is None or value is False:
        return ""
    name = "class" if name == "class_" else name if name == "viewBox" else name.replace("_", "-")
    if value is True:
        return f" {name}"
    text = f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)
    return f' {name}="{escape(text, quote=True)}"'

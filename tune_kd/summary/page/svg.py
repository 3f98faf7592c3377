"""The few things that every chart needs: scales, ticks, axes, marks and a figure around it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from tune_kd.names import DISTILLED, SCRATCH
from tune_kd.summary.page.markup import Markup, el, join

HALF: Final = 460
"""Width of a chart that stands beside one other; a unit is a pixel on a phone."""
THIRD: Final = 340
"""Width of a panel that stands beside two others."""
LOG_RATIO: Final = 12
"""A positive range wider than this is drawn on a logarithmic scale."""


@dataclass(frozen=True)
class Scale:
    """Values to places on the drawing."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def __call__(self, value: float) -> float:
        return self.start + (self.end - self.start) * self.share(value)

    def share(self, value: float) -> float:
        """Where a value lies between low (0) and high (1)."""
        low, high, at = (math.log(one) if self.log else one for one in (self.low, self.high, max(value, self._least)))
        return (at - low) / (high - low) if high > low else 0.5

    @property
    def _least(self) -> float:
        return self.low / 1e3 if self.log else -math.inf

    def ticks(self, count: int = 5) -> list[float]:
        """Round values within the scale."""
        if self.log:
            return self._log_ticks(count)
        step = _step((self.high - self.low) / max(count, 1))
        first = math.ceil(self.low / step - 1e-9)
        last = math.floor(self.high / step + 1e-9)
        return [round(place * step, 12) for place in range(first, last + 1)]

    def _log_ticks(self, count: int) -> list[float]:
        decades = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
        for steps in ((1, 2, 5), (1, 3), (1,)):
            found = [step * 10.0**power for power in decades for step in steps]
            inside = [value for value in found if self.low * (1 - 1e-9) <= value <= self.high * (1 + 1e-9)]
            if len(inside) <= count + 1:
                break
        return inside


def _step(rough: float) -> float:
    power = 10.0 ** math.floor(math.log10(rough)) if rough > 0 else 1.0
    return next(step * power for step in (1, 2, 2.5, 5, 10) if step * power >= rough * 0.999)


def scale(values: Sequence[float], start: float, end: float, *, pad: float = 0.06, log: bool | None = None) -> Scale:
    """A scale that holds all values with a little air around them."""
    low, high = min(values), max(values)
    if log is None:
        log = low > 0 and high / low >= LOG_RATIO
    if low == high:
        low, high = (low * 0.8, high * 1.25) if log or low > 0 else (low - 0.5, high + 0.5)
    if log:
        air = (high / low) ** pad
        return Scale(low / air, high * air, start, end, True)
    air = (high - low) * pad
    return Scale(low - air, high + air, start, end)


def number(value: float) -> str:
    """A tick's label."""
    if value == 0:
        return "0"
    size = abs(value)
    if size >= 1e9:
        return f"{value / 1e9:.3g}G"
    if size >= 1e6:
        return f"{value / 1e6:.3g}M"
    if size >= 1e4:
        return f"{value / 1e3:.3g}k"
    return (
        f"{value:.4g}".replace("-", "\N{MINUS SIGN}")
        if size >= 1e-3
        else f"{value:.0e}".replace("e-0", "e\N{MINUS SIGN}")
    )


def text(x: float, y: float, words: object, *, anchor: str = "start", class_: str = "label") -> Markup:
    """A line of text; `anchor` is start, middle or end."""
    return el("text", words, x=float(x), y=float(y), text_anchor=None if anchor == "start" else anchor, class_=class_)


def line(x1: float, y1: float, x2: float, y2: float, class_: str) -> Markup:
    """A straight line."""
    return el("line", x1=float(x1), y1=float(y1), x2=float(x2), y2=float(y2), class_=class_)


def rect(x: float, y: float, width: float, height: float, class_: str, rx: float = 2) -> Markup:
    """A box that is never thinner than nothing."""
    sizes = {"width": max(float(width), 0.0), "height": max(float(height), 0.0)}
    return el("rect", x=float(x), y=float(y), **sizes, rx=float(rx), class_=class_)


def bottom_axis(scale: Scale, y: float, top: float, title: str, *, count: int = 5, factor: float = 1.0) -> Markup:
    """Ticks below the plot, fine lines through it, and what the axis shows."""
    parts = [line(scale(tick), top, scale(tick), y, "grid") for tick in scale.ticks(count)]
    parts += [text(scale(t), y + 16, number(t * factor), anchor="middle", class_="tick") for t in scale.ticks(count)]
    parts += [line(scale.start, y, scale.end, y, "axis")]
    return join([*parts, text((scale.start + scale.end) / 2, y + 34, title, anchor="middle", class_="title")])


def left_axis(scale: Scale, x: float, right: float, title: str, *, count: int = 4, factor: float = 1.0) -> Markup:
    """Ticks left of the plot, fine lines through it, and what the axis shows, written above it."""
    parts = [line(x, scale(tick), right, scale(tick), "grid") for tick in scale.ticks(count)]
    parts += [text(x - 7, scale(t) + 4, number(t * factor), anchor="end", class_="tick") for t in scale.ticks(count)]
    return join([*parts, text(4, min(scale.start, scale.end) - 10, title, class_="title")])


def mark(arm: str, x: float, y: float, radius: float = 5, class_: str = "mark") -> Markup:
    """A point whose shape tells the arm as well as its colour does."""
    name = f"{class_} c-{arm}"
    if arm == DISTILLED:
        return el("circle", cx=float(x), cy=float(y), r=float(radius), class_=name)
    side = radius * 0.9
    if arm == SCRATCH:
        return rect(x - side, y - side, 2 * side, 2 * side, name, rx=1)
    wide = radius * 1.3
    return el(
        "path",
        d=f"M{x:.1f} {y - wide:.1f}l{wide:.1f} {wide:.1f}l-{wide:.1f} {wide:.1f}l-{wide:.1f} -{wide:.1f}z",
        class_=name,
    )


def point(tip: str, *shapes: Markup, class_: str = "pt") -> Markup:
    """Shapes that say more when they are hovered or reached with the arrow keys."""
    return el("g", *shapes, class_=class_, data_tip=tip)


def panel_width(count: int) -> int:
    """How wide each of some panels is: three stand in a row, but two by two look better where there are few."""
    return HALF if count in (1, 2, 4) else THIRD


def polyline(points: Sequence[tuple[float, float]], class_: str) -> Markup:
    """A line through points."""
    return el("polyline", points=" ".join(f"{x:.1f},{y:.1f}" for x, y in points), class_=class_)


def chart(name: str, title: str, description: str, width: float, height: float, *body: object) -> Markup:
    """An SVG with alternative text; the empty title inside keeps browsers from showing it as a tooltip."""
    ids = {"title": f"{name}-title", "desc": f"{name}-desc"}
    inside = el("g", el("title"), rect(0, 0, width, height, "ground", rx=0), *body)
    words = [el(tag, said, id=ids[tag]) for tag, said in (("title", title), ("desc", description))]
    labelled = {"aria_labelledby": ids["title"], "aria_describedby": ids["desc"]}
    drawing = el("svg", *words, inside, role="img", viewBox=f"0 0 {width:g} {height:g}", **labelled)
    if "data-tip=" not in inside:
        return el("div", drawing, class_=f"plot w{width:g}")
    reads = f"{title}. Arrow keys read its points."
    return el("div", drawing, class_=f"plot w{width:g}", tabindex=0, role="group", aria_label=reads)


def figure(drawing: Markup, heading: str, caption: str, *extra: object) -> Markup:
    """A chart with its heading above and what to know about it below."""
    return el("figure", el("h3", heading), drawing, el("figcaption", caption), *extra)


def legend(*entries: tuple[str, str]) -> Markup:
    """Swatches and words; an entry is (kind of mark, words)."""
    return el("ul", *(el("li", _swatch(kind), words) for kind, words in entries), class_="legend")


def _swatch(kind: str) -> Markup:
    shapes = {
        "winner": join([mark(DISTILLED, 8, 8, 3), el("circle", cx=8, cy=8, r=6.5, class_="ring")]),
        "stopped": cross(8, 8, "cross"),
        "finished": el("circle", cx=8, cy=8, r=4, class_="dot"),
        "hollow": el("circle", cx=8, cy=8, r=4.5, class_="hollow"),
        "line-distilled": line(0, 8, 16, 8, "curve c-distilled best"),
        "line-scratch": line(0, 8, 16, 8, "curve c-scratch best"),
        "dashed": line(0, 8, 16, 8, "reference"),
    }
    box = rect(2, 3, 12, 10, kind) if kind.startswith("b-") else None
    drawn = shapes.get(kind) or box or mark(kind, 8, 8, 5)
    return el("svg", drawn, viewBox="0 0 16 16", aria_hidden="true", class_="swatch")


def cross(x: float, y: float, class_: str, size: float = 3.5) -> Markup:
    """The sign for a training that was stopped."""
    ends = (
        f"M{x - size:.1f} {y - size:.1f}l{2 * size:.1f} {2 * size:.1f}m0 -{2 * size:.1f}l-{2 * size:.1f} {2 * size:.1f}"
    )
    return el("path", d=ends, class_=class_)

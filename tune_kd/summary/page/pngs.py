"""The main figures as PNG, for MLflow's artifact view."""

import contextlib
import importlib
import io
import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import pandas as pd

from tune_kd.names import CONFIG_PREFIX, DISTILLED, SCRATCH
from tune_kd.summary import cells, front, words
from tune_kd.summary.page import plots_cost
from tune_kd.summary.page.plots_response import axes_of
from tune_kd.summary.page.svg import LOG_RATIO
from tune_kd.summary.statistics import HELPS, HURTS
from tune_kd.summary.trials import Arm, arms_of, curve_of, is_chosen, records, scored

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS: Final = {DISTILLED: "#1f6fb2", SCRATCH: "#c4601a", "teacher": "#343a46"}
MARKS: Final = {DISTILLED: "o", SCRATCH: "s", "teacher": "D"}
GREY: Final = "#858b95"
MOST_PANELS: Final = 12
"""Panels of one figure."""


def figures(verdict: Mapping[str, Any], trials: pd.DataFrame) -> dict[str, bytes]:
    """File name to image, for those figures that have data."""
    arms, keys = arms_of(verdict, trials), verdict["searched"]
    verdict = front.by_point(verdict)
    drawn: dict[str, Figure | None] = {
        "gain.png": _gain(verdict),
        "accuracy.png": _accuracy(verdict),
        "response.png": _panels(_distilled(arms, keys), _response, keys),
        "curves.png": _panels(_by_cell(arms), _curves, keys),
        "front.png": _front(verdict),
    }
    return {name: _bytes(figure) for name, figure in drawn.items() if figure is not None}


def _new(width: float, height: float, rows: int = 1, columns: int = 1) -> "tuple[Figure, list[Axes]]":
    """A figure that no window system knows of."""
    # matplotlib looks into IPython where it is installed, and breaks on one that MLflow's thread has half imported.
    with contextlib.suppress(ImportError):
        importlib.import_module("IPython")
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=130, layout="constrained")
    FigureCanvasAgg(figure)
    axes = [figure.add_subplot(rows, columns, place + 1) for place in range(rows * columns)]
    for one in axes:
        one.spines[["top", "right"]].set_visible(False)
        one.tick_params(labelsize=8)
    return figure, axes


def _bytes(figure: "Figure") -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def _gain(verdict: Mapping[str, Any]) -> "Figure | None":
    shown = [cell for cell in verdict["cells"] if cell["gain"]["mean"] is not None][::-1]
    if not shown:
        return None
    figure, (axes,) = _new(7, 1.2 + 0.45 * len(shown))
    for y, cell in enumerate(shown):
        gain = cell["gain"]
        colour = {HELPS: COLOURS[DISTILLED], HURTS: COLOURS[SCRATCH]}.get(cell["word"], GREY)
        if gain["low"] is not None:
            axes.plot(
                [100 * gain["low"], 100 * gain["high"]], [y, y], color=colour, linewidth=3, solid_capstyle="round"
            )
        axes.plot(100 * gain["mean"], y, "o", color=colour, markersize=8)
    axes.axvline(0, color="black", linewidth=0.8)
    axes.set_yticks(range(len(shown)), [cells.label(cell["cell"]) for cell in shown])
    axes.set(xlabel="distilled minus scratch, points", title="Gain with its 95 % interval")
    return figure


def _accuracy(verdict: Mapping[str, Any]) -> "Figure | None":
    shown = [cell for cell in verdict["cells"] if cell[SCRATCH] or cell[DISTILLED]][::-1]
    if not shown:
        return None
    figure, (axes,) = _new(7, 1.4 + 0.6 * len(shown))
    for place, arm in enumerate((DISTILLED, SCRATCH)):
        bars = [(y + 0.38 * (place - 0.5), cell[arm]) for y, cell in enumerate(shown) if cell[arm]]
        means, spreads = ([100 * (one[key] or 0) for _, one in bars] for key in ("mean", "sd"))
        axes.barh([y for y, _ in bars], means, 0.34, xerr=spreads, color=COLOURS[arm], label=arm)
    teacher = words.teacher_accuracy(verdict)
    if teacher is not None:
        axes.axvline(100 * teacher, color=COLOURS["teacher"], linestyle="--", label="teacher")
    axes.set_yticks(range(len(shown)), [cells.label(cell["cell"]) for cell in shown])
    axes.set(xlabel=f"test {words.metric(verdict)}, %", title="Teacher, scratch, distilled", xlim=(0, 105))
    figure.legend(loc="outside lower center", ncols=3, frameon=False, fontsize=8)
    return figure


def _panels(
    groups: Sequence[Sequence[Arm]], draw: Callable[["Axes", Arm, Sequence[str]], None], keys: Sequence[str]
) -> "Figure | None":
    """A panel a group of arms, two in a row."""
    shown = groups[:MOST_PANELS]
    if not shown:
        return None
    columns = min(2, len(shown))
    rows = -(-len(shown) // columns)
    figure, axes = _new(4.4 * columns, 3 * rows, rows, columns)
    for panel, group in zip(axes, shown, strict=False):
        panel.set_title(cells.label(group[0][0]["cell"]), fontsize=9)
        for one in group:
            draw(panel, one, keys)
    for panel in axes[len(shown) :]:
        panel.set_axis_off()
    return figure


def _distilled(arms: Sequence[Arm], keys: Sequence[str]) -> list[list[Arm]]:
    """The distilled arms that have something to show over their settings."""
    found = [(cell, arm, scored(tried)) for cell, arm, tried in arms if arm == DISTILLED]
    return [[one] for one in found if axes_of(one[2], keys)]


def _by_cell(arms: Sequence[Arm]) -> list[list[Arm]]:
    """The arms that have learning curves, those of one cell together."""
    known = [one for one in arms if any(map(curve_of, records(one[2])))]
    return [list(group) for _, group in itertools.groupby(known, key=lambda one: cells.key_of(one[0]["cell"]))]


def _response(axes: "Axes", one: Arm, searched: Sequence[str]) -> None:
    tried = one[2]
    keys = axes_of(tried, searched)
    values = 100 * tried["value"].astype(float)
    up = tried[CONFIG_PREFIX + keys[1]].astype(float) if len(keys) > 1 else values
    across = tried[CONFIG_PREFIX + keys[0]].astype(float)
    for spread, stretch in ((across, axes.set_xscale), (up, axes.set_yscale)):
        if spread.min() > 0 and spread.max() / spread.min() >= LOG_RATIO:
            stretch("log")
    drawn = axes.scatter(across, up, c=values, cmap="Blues", edgecolors=GREY, linewidths=0.6)
    axes.set(xlabel=cells.name(keys[0]), ylabel=cells.name(keys[1]) if len(keys) > 1 else "on validation images, %")
    figure = axes.get_figure(root=True)
    if figure is not None:
        figure.colorbar(drawn, ax=axes).ax.tick_params(labelsize=7)


def _curves(axes: "Axes", one: Arm, _: Sequence[str]) -> None:
    cell, arm, tried = one
    for row in records(tried):
        curve = curve_of(row)
        width, alpha = (2.2, 1.0) if is_chosen(cell, arm, row) else (0.8, 0.5)
        axes.plot(
            [epoch for epoch, _ in curve],
            [100 * value for _, value in curve],
            color=COLOURS[arm],
            linewidth=width,
            alpha=alpha,
        )
    axes.set(xlabel="epoch", ylabel="on validation images, %")


def _front(verdict: Mapping[str, Any]) -> "Figure | None":
    found = plots_cost.models(verdict)
    costs = [cost for cost in plots_cost.COSTS if plots_cost.on_front(found, cost.key)]
    if not costs:
        return None
    figure, axes = _new(4.4 * len(costs), 3.4, 1, len(costs))
    for one, cost in zip(axes, costs, strict=True):
        for model in (model for model in found if model.measured.get(cost.key)):
            one.plot(model.measured[cost.key], 100 * model.accuracy, MARKS[model.arm], color=COLOURS[model.arm])
        best = [(model.measured[cost.key], 100 * model.accuracy) for model in plots_cost.on_front(found, cost.key)]
        one.step(*zip(*best, strict=True), where="post", color=GREY)
        one.set(xlabel=f"{cost.axis}, {cost.unit}", ylabel=f"test {words.metric(verdict)}, %", title=cost.heading)
    return figure

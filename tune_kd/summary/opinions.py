"""What stands beside each gain, for whoever asks how sure it is."""

from collections.abc import Mapping
from typing import Any

from tune_kd.names import DISTILLED, SCRATCH
from tune_kd.summary import cells, tables, words
from tune_kd.summary.page.markup import Markup

CAPTION = (
    "Beside each gain, in points: how far the two arms of a pair go up and down together (the nearer to 1, the more "
    "luck pairing takes out), the mean of the middle pairs, the interval over seeds and test images, and finals that "
    "failed or collapsed, with the share of all trainings that could (exact binomial bound, 95 %)"
)


def table(verdict: Mapping[str, Any]) -> Markup | None:
    """A row a cell that has an interval, or lost finals."""
    columns = ["cell", "pairs", "correlation", "middle pairs [95 %]", "seeds and test images [95 %]"]
    rows = [
        [
            cells.label(cell["cell"]),
            len(gain["pairs"]),
            words.DASH if gain["correlation"] is None else f"{gain['correlation']:+.2f}".replace("-", words.MINUS),
            words.interval(gain["trimmed"]) if gain["trimmed"] else words.DASH,
            words.interval(_wider(gain)) if gain["seeds_and_images"] else words.DASH,
            *(_lost(cell["lost"][arm]) for arm in (SCRATCH, DISTILLED)),
        ]
        for cell in verdict["cells"]
        if (gain := cell["gain"])["low"] is not None or any(one["failed"] for one in cell["failed"].values())
    ]
    return tables.table(CAPTION, [*columns, "lost, scratch", "lost, distilled"], rows, class_="stack") if rows else None


def _wider(gain: Mapping[str, Any]) -> dict[str, float]:
    low, high = gain["seeds_and_images"]
    return {"mean": gain["mean"], "low": low, "high": high}


def _lost(one: Mapping[str, Any] | None) -> str:
    return words.DASH if one is None else f"{one['lost']} of {one['of']}, at most {100 * one['at_most']:.0f} %"

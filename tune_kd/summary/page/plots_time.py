"""Where the time went: by phase on the clock, and by arm and outcome in training."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from tune_kd.names import COMPLETE, FAIL, PRUNED
from tune_kd.summary import cells, words
from tune_kd.summary.page import svg
from tune_kd.summary.page.markup import Markup, join
from tune_kd.summary.statistics import finite
from tune_kd.summary.trials import arms_of, once

OUTCOMES = {COMPLETE: "trained to the end", PRUNED: "stopped early", FAIL: "failed"}
MOST_ARMS = 24
LOOKS = {COMPLETE: "part-full", PRUNED: "part-pale", FAIL: "waste"}


def duration(seconds: float | None) -> str:
    """Seconds as people say them."""
    if seconds is None:
        return words.DASH
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"


def with_finals(spent: object, trials: pd.DataFrame, finals: pd.DataFrame) -> object:
    """The search's clock divided between trials and finals by the time that each of them trained.

    Finals of one arm begin while other arms still search, so no moment on the clock parts the two.
    """
    if not isinstance(spent, Mapping) or finite(spent.get("search")) is None:
        return spent
    tried, retrained = trained(trials), trained(once(finals))
    if not tried or not retrained or "finals" in spent:
        return spent
    share = retrained / (tried + retrained)
    parts = {"search": spent["search"] * (1 - share), "finals": spent["search"] * share}
    return {
        name: value for key, one in spent.items() for name, value in (parts if key == "search" else {key: one}).items()
    }


def trained(table: pd.DataFrame) -> float:
    """Seconds of training in a table."""
    return sum(value or 0.0 for value in map(finite, table["seconds"])) if "seconds" in table else 0.0


def phases(spent: object) -> Markup | None:
    """A bar a phase."""
    known = {str(key): finite(value) for key, value in spent.items()} if isinstance(spent, Mapping) else {}
    found = {key: value for key, value in known.items() if value}
    if not found:
        return None
    total = sum(found.values())
    scale = svg.Scale(0, max(found.values()), 10, svg.HALF - 10)
    body, y = [], 2.0
    for phase, seconds in found.items():
        body.append(svg.text(10, y + 12, phase))
        share = svg.text(
            svg.HALF - 10, y + 12, f"{duration(seconds)}, {seconds / total:.0%}", anchor="end", class_="value"
        )
        bar = svg.rect(10, y + 18, max(scale(seconds) - 10, 1), 11, "phase", rx=3)
        body += [share, svg.point(f"{phase}\n{duration(seconds)}, {seconds / total:.0%}", bar)]
        y += 40
    said = "; ".join(f"{phase}: {duration(seconds)}" for phase, seconds in found.items())
    beside = "Until the teacher is there, trials that need none are trained beside it. " if "teacher" in found else ""
    drawing = svg.chart("phases", "Time on the clock by phase", said, svg.HALF, y, *body)
    return svg.figure(
        drawing,
        "On the clock, by phase",
        f"Together {duration(total)}. {beside}"
        "What trials and finals trained side by side is divided by their training time.",
    )


def effort(verdict: Mapping[str, Any], trials: pd.DataFrame) -> Markup | None:
    """Training time of each arm's trials, split by how they ended; of many arms the table alone tells."""
    found = [(cell, arm, _by_outcome(tried)) for cell, arm, tried in arms_of(verdict, trials)]
    longest = max((sum(spent.values()) for *_, spent in found), default=0.0)
    if longest <= 0 or len(found) > MOST_ARMS:
        return None
    scale = svg.Scale(0, longest, 10, svg.HALF - 74)
    body, y, last = [], 2.0, None
    for cell, arm, spent in found:
        if cell is not last:
            body.append(svg.text(10, y + 12, cells.label(cell["cell"])))
            y, last = y + 18, cell
        body.append(_stack(cells.label(cell["cell"]), arm, spent, scale, y))
        y += 18
        y += 8 if arm == cells.ARMS[-1] else 0
    said = "; ".join(
        f"{cells.label(cell['cell'])}, {arm}: {duration(sum(spent.values()))}" for cell, arm, spent in found
    )
    drawing = svg.chart("effort", "Training time of each arm by how its trials ended", said, svg.HALF, y, *body)
    entries = svg.legend(("b-scratch", "without teacher"), ("b-distilled", "distilled"), ("b-full", "failed"))
    caption = "Full colour: trials that trained to the end; pale: trials that were stopped early."
    return svg.figure(join([entries, drawing]), "In training, by arm", caption)


def _by_outcome(tried: pd.DataFrame) -> dict[str, float]:
    if "seconds" not in tried:
        return {}
    pairs: Sequence[tuple[str, float | None]] = list(zip(tried["state"], map(finite, tried["seconds"]), strict=True))
    return {state: sum(seconds or 0.0 for one, seconds in pairs if one == state) for state in OUTCOMES}


def _stack(where: str, arm: str, spent: Mapping[str, float], scale: svg.Scale, y: float) -> Markup:
    x, parts = scale.start, []
    for state, seconds in spent.items():
        width = scale(seconds) - scale.start
        if seconds:
            bar = svg.rect(x, y, max(width - 1, 0.5), 13, f"{LOOKS[state]} c-{arm}")
            parts.append(svg.point(f"{where}, {arm}\n{OUTCOMES[state]}: {duration(seconds)}", bar))
        x += width
    return join([*parts, svg.text(x + 6, y + 11, duration(sum(spent.values())), class_="value")])

"""What a person sees while a search runs: a live table on a terminal, else a plain line now and then."""

import io
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from tune_kd import names
from tune_kd.plan import Plan, counted, label
from tune_kd.said import LINE_SECONDS
from tune_kd.tuning.entry import Entry
from tune_kd.tuning.ledger import Ledger

MOST_ROWS = 24
DRAW_SECONDS = 1.0
PACE_EPOCHS = 200
"""The pace is that of so many epochs: the first ones waited for processes to start."""


@dataclass
class Standing:
    """One arm as it is shown."""

    asked: int = 0
    finals: int = 0
    best: float = float("nan")

    def saw(self, value: float) -> None:
        if not value <= self.best:
            self.best = value


class Output:
    """A place below a notebook's cell that is drawn anew; rich's own needs a package of widgets."""

    def __init__(self) -> None:
        from IPython.display import HTML, display

        self._html: Any = HTML
        self._shown: Any = display(HTML(""), display_id=True)

    def draw(self, what: RenderableType) -> None:
        page = Console(record=True, file=io.StringIO(), width=100, force_jupyter=False)
        page.print(what)
        self._shown.update(self._html(page.export_html(inline_styles=True, code_format="<pre>{code}</pre>")))


class View:
    """Counts what it hears; the table is drawn from the counts when the screen wants it."""

    def __init__(self, plan: Plan, ledger: Ledger, console: Console, quiet: bool) -> None:
        self._plan = plan
        self._console = console
        self._arms = {arm.number: Standing() for arm in plan.arms}
        self._running: dict[int, tuple[Entry, int, float]] = {}
        self._started = time.monotonic()
        self._said = self._drawn = self._started
        self._epochs = self._before = 0
        self._latest: deque[float] = deque(maxlen=PACE_EPOCHS)
        for arm in plan.arms:
            standing = self._arms[arm.number]
            for _, trial in ledger.entries(arm):
                standing.asked += 1
                self._before += len(trial.intermediate_values)
                for value in trial.intermediate_values.values():
                    standing.saw(value)
        for entry, trial in ledger.all_again():
            self._arms[entry.arm.number].finals += entry.final and trial.state.is_finished()
            self._before += len(trial.intermediate_values)
        self._live = Live(get_renderable=self._draw, console=console, refresh_per_second=4, transient=True)
        self._quiet = quiet
        self._on_screen = console.is_terminal and not console.is_jupyter and not quiet
        self._output: Output | None = None

    def __enter__(self) -> "View":
        if self._on_screen:
            self._live.start()
        elif self._console.is_jupyter and not self._quiet:
            self._output = Output()
        return self

    def __exit__(self, *failure: object) -> None:
        if self._on_screen:
            self._live.stop()
        if self._output:
            self._output.draw(self._draw())

    def started(self, entry: Entry) -> None:
        if (
            entry.role == names.TRIAL
            and entry.id not in self._running
            and entry.number >= self._arms[entry.arm.number].asked
        ):
            self._arms[entry.arm.number].asked += 1
        self._running[entry.id] = (entry, 0, float("nan"))

    def reported(self, entry: Entry, metrics: Mapping[str, float]) -> None:
        self._epochs += 1
        self._latest.append(time.monotonic())
        value = metrics[names.validated(self._plan.study.objective.metric)]
        self._running[entry.id] = (entry, int(metrics[names.EPOCH]), value)
        if entry.role == names.TRIAL:
            self._arms[entry.arm.number].saw(value)
        self._line()

    def ended(self, entry: Entry, state: str, reason: str, results: Mapping[str, Any]) -> None:
        if entry.final:
            self._arms[entry.arm.number].finals += 1

    def paused(self, entry: Entry) -> None:
        self._running.pop(entry.id, None)

    @property
    def summary(self) -> str:
        """Where the search stands, in one line."""
        asked = sum(arm.asked for arm in self._arms.values())
        finals = sum(arm.finals for arm in self._arms.values())
        return (
            f"{asked} of {self._plan.trials} trials begun · {finals} of {self._plan.finals} finals · "
            f"{counted(self._before + self._epochs, 'epoch')} · {_clock(time.monotonic() - self._started)}"
            + (f", about {_clock(left)} to go" if (left := self._left()) is not None else "")
        )

    def _left(self) -> float | None:
        """Seconds to go, from the pace of late; the number of epochs is itself an estimate."""
        done, total = self._before + self._epochs, self._plan.epochs
        if len(self._latest) < 10 or done >= total:
            return None
        return (time.monotonic() - self._latest[0]) / len(self._latest) * (total - done)

    def _line(self) -> None:
        if self._output and time.monotonic() - self._drawn > DRAW_SECONDS:
            self._drawn = time.monotonic()
            self._output.draw(self._draw())
        silent = self._on_screen or self._quiet or self._output
        if silent or time.monotonic() - self._said < LINE_SECONDS:
            return
        self._said = time.monotonic()
        self._console.print(self.summary, highlight=False)

    def _draw(self) -> RenderableType:
        table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
        for title, side in (
            ("cell", "left"),
            ("arm", "left"),
            ("trials", "right"),
            ("best validation", "right"),
            ("finals", "right"),
        ):
            table.add_column(title, justify=side)  # type: ignore[arg-type]
        for arm in self._plan.arms[:MOST_ROWS]:
            standing = self._arms[arm.number]
            table.add_row(
                label(arm.cell) or "all",
                arm.name,
                f"{standing.asked}/{self._plan.trials_of(arm)}",
                f"{standing.best:.2%}" if standing.best == standing.best else "–",
                f"{standing.finals}/{self._plan.finals_of_arm}",
            )
        rest = len(self._plan.arms) - MOST_ROWS
        done = min(self._before + self._epochs, self._plan.epochs)
        return Group(
            ProgressBar(total=self._plan.epochs, completed=done, width=60),
            Text(),  # a bar does not end its line
            Text(self.summary),
            Text(),
            table,
            *([Text(f"… and {rest} arms more", style="dim")] if rest > 0 else []),
            Text(),
            *[self._running_line(*item) for item in list(self._running.values())[:8]],
        )

    def _running_line(self, entry: Entry, epoch: int, value: float) -> Text:
        shown = f"  {value:.2%}" if value == value else ""
        where = f"{label(entry.arm.cell)} · {entry.arm.name}".removeprefix(" · ")
        return Text(f"▸ {entry.key.replace('-', ' ')}  {where}  epoch {epoch}{shown}", style="dim")


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {rest:02} s" if minutes else f"{rest} s"

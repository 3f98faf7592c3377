"""What a search says to people: sentences while it runs, and the answer at its end."""

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tune_kd import names
from tune_kd.plan import Plan, counted
from tune_kd.request import Outcome
from tune_kd.space.designs import front_models

# What brings pandas and Optuna is imported where it is used: a search does not wait for them before Ray starts.
if TYPE_CHECKING:
    from tune_kd.live import View
    from tune_kd.tuning.ledger import Ledger

LINE_SECONDS = 15.0


class Spoken:
    """On a console; quietly means the answer alone, and on a console that is quiet itself nothing at all."""

    def __init__(self, console: Console, quiet: bool = False) -> None:
        self._console = console
        self._quiet = quiet
        self._lesson = time.monotonic()

    def begun(self, name: str, todo: Plan, folder: str) -> None:
        self._progress(f"[bold]{escape(name)}[/]  {escape(todo.study.question)}")
        counts = {"cell": len(todo.cells), "arm": len(todo.arms), "trial": todo.trials, "final": todo.finals}
        listed = " · ".join(counted(count, what) for what, count in counts.items())
        self.said(f"{listed} → {folder}")

    def said(self, sentence: str) -> None:
        self._progress(escape(sentence))

    def noted(self, sentence: str) -> None:
        self._progress(f"[yellow]note:[/] {escape(sentence)}")

    def lesson(self, whose: str, epochs: int, metrics: Mapping[str, float]) -> None:
        """How far a teacher is: five times, and where its epochs take long, after each."""
        epoch, now = int(metrics[names.EPOCH]), time.monotonic()
        if epoch % max(1, epochs // 5) == 0 or now - self._lesson >= LINE_SECONDS:
            self._lesson = now
            accuracy = metrics[names.VAL_ACCURACY]
            shown = f", validation accuracy {accuracy:.2%}" if accuracy == accuracy else ""
            self.said(f"{whose}: epoch {epoch} of {epochs}{shown}")

    def watch(self, todo: Plan, ledger: "Ledger") -> "View":
        from tune_kd.live import View

        return View(todo, ledger, self._console, self._quiet)

    def _progress(self, marked: str) -> None:
        if not self._quiet:
            self._console.print(marked)

    # The end.

    def ended(self, outcome: Outcome) -> None:
        """The answer, where there is one, and where everything is; else nothing: the error says it."""
        if outcome.verdict:
            self._answer(outcome.verdict)
            self._places(outcome)
        for note in outcome.notes:
            self._console.print(f"[yellow]note:[/] {escape(note)}")

    def _answer(self, verdict: Mapping[str, Any]) -> None:
        from tune_kd import summary

        self._table(*summary.terminal_table(verdict))
        if published := summary.published_table(verdict):
            self._console.print("beside the published figures:")
            self._table(*published)
            for note in summary.published_notes(verdict):
                self._console.print(f"  {escape(note)}", soft_wrap=False)
        for sentence in filter(None, (*summary.sentences(verdict), summary.caution(verdict))):
            self._console.print(f"• {escape(sentence)}", soft_wrap=False)
        self._console.print()

    def _places(self, outcome: Outcome) -> None:
        asked = outcome.request
        self._console.print(f"report      {escape(str(asked.folder / names.REPORT_FILE))}")
        if front_models(asked.study):
            finals = asked.folder / names.FINALS_FILE
            self._console.print(f"weights     of the front's models: column `{names.WEIGHTS}` of {escape(str(finals))}")
        for number, line in enumerate(filter(None, outcome.mlflow)):
            self._console.print(f"{'then' if number else 'MLflow':<12}{escape(line)}")
        self._console.print(f"run again   {escape(asked.repeat)}")

    def _table(self, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        table = Table(*map(escape, columns), header_style="bold", box=SIMPLE_HEAD, padding=0, show_edge=False)
        for row in rows:
            table.add_row(*map(escape, row))
        self._console.print(table)

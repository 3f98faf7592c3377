"""One search from its study to its report: loads, teaches, tunes, judges, and says how it went."""

import shlex
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from queue import SimpleQueue
from types import FrameType
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tune_kd import names, plan, results, summary, tracking
from tune_kd.cluster.seat import Seat
from tune_kd.errors import TuneKDError
from tune_kd.execution import reach, runner
from tune_kd.execution.agreement import Agreement
from tune_kd.execution.exchange import Exchange
from tune_kd.execution.teaching import Teaching
from tune_kd.execution.workbench import Material
from tune_kd.growing import Growing
from tune_kd.live import Lessons, View
from tune_kd.options import Options
from tune_kd.preparation import Prepared, prepare
from tune_kd.space.load import dump
from tune_kd.space.study import Study, front_models, searched_keys
from tune_kd.storage.files import replace
from tune_kd.storage.mirror import Mirror, chosen
from tune_kd.storage.stores import Storage
from tune_kd.teacher.taught import Taught
from tune_kd.tracking import Outcome, SearchInfo, SearchStatus, Tracker
from tune_kd.training import export
from tune_kd.training.costs import costs
from tune_kd.training.precision import Agree
from tune_kd.tuning.callbacks import Everyone, Tracked
from tune_kd.tuning.conductor import Conductor
from tune_kd.tuning.ledger import Ledger
from tune_kd.tuning.ranking import changes

RUN_ID_SECONDS = 15.0

HEAD_START_SECONDS = 10.0
"""Importing MLflow and opening its store takes seconds of the processors on which the first trials are to start."""

STOPS = (signal.SIGINT, signal.SIGTERM)


class Session:
    def __init__(self, study: Study, name: str, folder: Path, given: Options, console: Console) -> None:
        self._plan = plan.make(study)
        self._study = study
        self._name = name
        self._folder = folder
        self._given = given
        self._console = console
        self._storage = chosen(given.storage, folder, name)
        self._mirror = Mirror(self._storage, folder)
        self._phases: dict[str, float] = {}
        self._seat: Seat | None = None
        self._interrupted = False
        self._may_break = True

    def run(self) -> int:
        """The whole search; its exit code."""
        started = time.time()
        with self._ctrl_c():
            self._say(f"[bold]{escape(self._name)}[/]  {escape(self._study.question)}")
            self._say(
                f"{len(self._plan.cells)} cells · {len(self._plan.arms)} arms · {self._plan.trials} trials · "
                f"{self._plan.finals} finals → {escape(str(self._folder))}"
            )
            replace(self._folder / names.STUDY_FILE, dump(self._study).encode())
            try:
                return self._search(started)
            except KeyboardInterrupt:
                self._console.print(f"\n{escape(self._how_to_go_on())}")
                return names.INTERRUPTED
            finally:
                if note := self._mirror.end():
                    self._console.print(f"[yellow]note:[/] {escape(note)}")
                if self._seat:
                    self._seat.leave()

    def _search(self, started: float) -> int:
        with self._phase("start"):
            # Whatever the user may have got wrong shows here, before anything is begun under this name.
            tracking.resolve(self._given.tracking_uri)
            self._storage.check()
            self._mirror.adopt(self._given.resume)
            self._fetch_teacher()
            prepared = self._prepare()
            self._storage = self._mirror.mark()
            reach.check(self._storage)
            self._shares = runner.fitting_shares(self._study, prepared, self._say)
            if self._seat:
                self._seat.may_use(runner.slots_now(self._shares), live=0, more=False)
            self._mirror.begin()
        ledger = Ledger(self._folder / names.LEDGER_FILE, self._plan)
        if ledger.spent:
            self._phases[names.EARLIER] = ledger.spent
        if front_models(self._study):
            ledger.know_costs(lambda: costs(self._study, len(prepared.splits.classes), prepared.shape))
        run_ids: SimpleQueue[tuple[str, str]] = SimpleQueue()
        tracker = self._track(ledger, prepared, run_ids)
        status: SearchStatus = "FAILED"
        verdict: dict[str, Any] = {}
        try:
            with self._phase("search"):
                taught = self._conduct(ledger, prepared, Tracked(self._study, tracker, ledger, run_ids))
            with self._phase("report"):
                computed = results.decided(self._plan, self._storage, self._folder)
                facts = results.run_facts(self._plan, prepared, computed, started, self._phases, self._repeat_command())
                facts["mlflow"] = {"command": tracker.command, "page": tracker.page}
                verdict = results.write(self._folder, self._plan, ledger, prepared, self._storage, taught.facts, facts)
                self._champion(ledger, prepared, tracker)
            status = "FINISHED"
        except KeyboardInterrupt:
            ledger.note_spent(self._phases.get(names.EARLIER, 0.0) + time.time() - started)
            status = "KILLED"
            raise
        finally:
            outcome = tracker.finish(
                status=status,
                metrics=results.headline(verdict),
                tags=results.described(self._study, verdict),
                artifacts=results.artifacts(self._folder),
            )
            ledger.sync()
        self._show(verdict, tracker, outcome)
        return self._failures(ledger)

    # The steps.

    def _fetch_teacher(self) -> None:
        """A teacher in MLflow becomes a file, once; the stored study keeps saying where it came from."""
        address = self._study.teacher.checkpoint
        if address and address.startswith("models:/"):
            path = tracking.download_weights(address, self._given.tracking_uri, self._folder / names.TEACHER_DIR)
            teacher = self._study.teacher.model_copy(update={"checkpoint": str(path)})
            self._study = self._study.model_copy(update={"teacher": teacher})
            self._plan = plan.make(self._study)

    def _prepare(self) -> Prepared:
        if self._given.address:
            self._seat = Seat(self._folder, self._name, self._study.study, self._say)
        prepared = prepare(self._plan, self._say)
        for note in prepared.notes:
            self._say(f"[yellow]note:[/] {escape(note)}")
        return prepared

    def _track(self, ledger: Ledger, prepared: Prepared, run_ids: SimpleQueue[tuple[str, str]]) -> Tracker:
        study = self._study
        info = SearchInfo(
            id=ledger.search_id,
            name=self._name,
            params={"study": study.study, "seed": study.seed, **plan.constants_of(study)},
            tags={names.TAG_KIND: "search"},
            note=summary.description(study.question, dump(study)),
            dataset=study.data.dataset,
            digests=prepared.splits.digests,
            commit=results.git_commit(),
            settings=searched_keys(study, names.DISTILLED),
        )
        return Tracker.start(
            uri=self._given.tracking_uri,
            experiment=self._given.experiment,
            search=info,
            spool=self._folder / "mlflow",
            on_run_id=lambda key, run_id: run_ids.put((key, run_id)),
            say=self._say,
            head_start=HEAD_START_SECONDS,
        )

    def _teach(self, ledger: Ledger, prepared: Prepared, agree: Agree | None) -> Teaching:
        def made(taught: Taught) -> None:
            ledger.same_teacher(taught.teacher.digest)
            self._say(f"teacher: test accuracy [bold]{taught.facts[names.TEST_ACCURACY]:.2%}[/]")

        wanted, gpu = self._study.teacher, self._shares.on_gpu
        lessons = Lessons(wanted.epochs, self._say)
        teaching = Teaching(self._study, prepared, self._storage, agree, gpu, lessons.reported, made)
        if teaching.taught is None:
            what = "loading" if wanted.checkpoint else "training"
            self._say(f"teacher: {what} {escape(wanted.model)}, testing it on {len(prepared.splits.test):,} images")
        return teaching

    def _conduct(self, ledger: Ledger, prepared: Prepared, tracked: Tracked) -> Taught:
        """Every trial and final. Scratch trials do not wait for the teacher."""
        agree = None if self._storage.folder else Agreement(self._storage)
        # A Ray that was there before may have other machines, or get them; each has a cache of its own.
        neighbours = Exchange() if self._given.address else None
        shared = (self._study, prepared.splits, prepared.mean, prepared.std, self._storage, agree, neighbours)
        material = Material(*shared, prepared.students)
        teaching = self._teach(ledger, prepared, agree)
        tracked.catch_up(self._plan)
        report = self._folder / names.REPORT_FILE
        self._say(f"report: {escape(str(report))} grows while the search runs")
        with (
            View(self._plan, ledger, self._console, self._given.quiet) as view,
            Growing(self._plan, ledger, report, self._name, lambda: view.summary) as growing,
        ):
            conductor = Conductor(self._plan, ledger, Everyone([tracked, view, growing]), teaching.ready)
            self._may_break = False
            may_use: Callable[[int, int, bool], int] = runner.alone
            if self._seat:
                self._seat.progress, may_use = lambda: view.summary, self._seat.may_use
            try:
                runner.conduct(
                    conductor,
                    material,
                    self._shares,
                    teaching,
                    lambda: self._interrupted or self._mirror.taken or teaching.failed(),
                    may_use,
                )
            except runner.Interrupted:
                if teaching.error:
                    raise teaching.error from None
                raise
            self._may_break = True
        assert teaching.taught is not None  # no final is trained before
        self._phases["teacher"] = teaching.seconds
        for reason, times in conductor.unstored.items():
            self._say(f"[yellow]note:[/] {times} times a checkpoint could not be stored or read: {escape(reason)}")
        self._say(view.summary)
        for line in changes(ledger, self._plan):
            self._say(f"confirmed   {escape(line)}")
        tracked.wait_for_run_ids(RUN_ID_SECONDS)
        return teaching.taught

    def _champion(self, ledger: Ledger, prepared: Prepared, tracker: Tracker) -> None:
        best = results.winner(self._plan, ledger, self._storage, self._folder)
        if best is None:
            why = "no final has left its weights here" if len(prepared.splits.validation) else "nothing was validated"
            self._say(f"[yellow]note:[/] {why}, so there is no model/ and no champion.")
            return
        folder = self._folder / names.MODEL_DIR
        example = results.example(prepared)
        note = f"{self._study.question} Winner: {best.entry.arm.key}, test accuracy {best.test_accuracy:.2%}."
        try:
            module = results.export_winner(folder, self._plan, prepared, best)
            tracker.register_champion(
                module, name=self._study.study, example=example, weights=folder / export.WEIGHTS, note=note
            )
        except TuneKDError as error:
            # A student that torch cannot export is still a result: its weights lie among the checkpoints.
            self._console.print(
                f"[yellow]note:[/] {escape(str(error))}. Its weights are in {escape(str(best.weights))}."
            )

    # What is said.

    def _show(self, verdict: Mapping[str, Any], tracker: Tracker, outcome: Outcome) -> None:
        self._table(*summary.terminal_table(verdict))
        if published := summary.published_table(verdict):
            self._console.print("beside the published figures:")
            self._table(*published)
            for note in summary.published_notes(verdict):
                self._console.print(f"  {escape(note)}", soft_wrap=False)
        for sentence in summary.sentences(verdict):
            self._console.print(f"• {escape(sentence)}", soft_wrap=False)
        self._console.print()
        self._console.print(f"report      {escape(str(self._folder / names.REPORT_FILE))}")
        if front_models(self._study):
            finals = self._folder / names.FINALS_FILE
            self._console.print(f"weights     of the front's models: column `{names.WEIGHTS}` of {escape(str(finals))}")
        for number, line in enumerate(filter(None, (tracker.command, tracker.page))):
            self._console.print(f"{'then' if number else 'MLflow':<12}{escape(line)}")
        self._console.print(f"run again   {escape(self._repeat_command())}")
        if outcome.refused:
            self._console.print(f"[yellow]note:[/] MLflow refused {outcome.refused} records: {escape(outcome.reason)}")
        if outcome.waiting:
            self._console.print(
                f"[yellow]note:[/] MLflow has not taken {outcome.waiting} records ({escape(outcome.reason)}). "
                f"They wait on disk; this delivers them: {escape(outcome.command)}"
            )

    def _table(self, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        table = Table(*map(escape, columns), header_style="bold", box=SIMPLE_HEAD, padding=0, show_edge=False)
        for row in rows:
            table.add_row(*map(escape, row))
        self._console.print(table)

    def _failures(self, ledger: Ledger) -> int:
        """An arm of which nothing could be trained is a failure of the search, and its reasons are counted."""
        reasons = ledger.hopeless()
        if not reasons:
            return 0
        lines = "\n".join(f"  {arm}: {count} × {reason}" for (arm, reason), count in reasons.items())
        raise TuneKDError(f"every trial of an arm failed:\n{lines}\nThe results so far are in {self._folder}.")

    def _say(self, text: str) -> None:
        if not self._given.quiet:
            self._console.print(text)

    def _how_to_go_on(self) -> str:
        if not (self._folder / names.LEDGER_FILE).exists():
            return f"Stopped before anything was begun. To begin again:\n  {self._repeat_command()}"
        command = self._command("--out", str(self._folder), "--resume")
        return f"Stopped. Everything so far is kept. To go on:\n  {command}"

    def _repeat_command(self) -> str:
        given = self._given.storage
        storage = ("--storage", Storage.at(given).uri) if given and not Storage.at(given).secret else ()
        return self._command(str(self._folder / names.STUDY_FILE), *storage)

    def _command(self, *words: str) -> str:
        """A command that finds the same MLflow store and the same Ray from any folder; passwords are not shown."""
        address = tracking.resolve(self._given.tracking_uri)
        if address.shown == address.uri:
            words += ("--tracking-uri", address.uri)
        for flag in ("experiment", "address"):
            if value := getattr(self._given, flag):
                words += (f"--{flag}", value)
        return shlex.join(["python", "-m", "tune_kd.search", *words])

    @contextmanager
    def _phase(self, name: str) -> Iterator[None]:
        started = time.perf_counter()
        if self._seat:
            self._seat.tell(name)
        try:
            yield
        finally:
            self._phases[name] = time.perf_counter() - started

    @contextmanager
    def _ctrl_c(self) -> Iterator[None]:
        """Once: stop at the next event, with nothing half written. Twice: stop at once. A polite `kill` is the same."""
        before = {number: signal.getsignal(number) for number in STOPS}
        for number in STOPS:
            signal.signal(number, self._stop)
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _stop(self, number: int, frame: FrameType | None) -> None:
        if self._may_break or self._interrupted:
            raise KeyboardInterrupt
        self._interrupted = True

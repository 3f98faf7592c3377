"""One search from its study to its report: loads, teaches, tunes, judges. Prints nothing: whoever listens says it."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from functools import cached_property, partial
from queue import SimpleQueue
from typing import Any, Protocol

from tune_kd import champion, names, plan, results, summary
from tune_kd.cluster.seat import Alone, Seat
from tune_kd.energy import Meter
from tune_kd.errors import Interrupted, TakenOver, TeacherFailed, TuneKDError
from tune_kd.execution import reach, runner
from tune_kd.execution.agreement import Agreement
from tune_kd.execution.exchange import Exchange
from tune_kd.execution.resources import Shares
from tune_kd.execution.teaching import Teaching
from tune_kd.execution.workbench import Material
from tune_kd.growing import Growing
from tune_kd.plan import Plan
from tune_kd.preparation import Prepared, prepare
from tune_kd.remembering import Remembered, leave
from tune_kd.request import Outcome, Request
from tune_kd.space.designs import front_models
from tune_kd.space.load import dump
from tune_kd.space.study import TEACHER_EPOCHS, Study, by_teacher, searched_keys
from tune_kd.stopping import Stop
from tune_kd.storage.files import replace as write_whole
from tune_kd.storage.mirror import Mirror, chosen
from tune_kd.storage.stores import Storage
from tune_kd.teacher.earlier import TAKEN
from tune_kd.teacher.ensemble import BY_EPOCHS, long
from tune_kd.teacher.making import told
from tune_kd.teacher.taught import Taught
from tune_kd.teacher_files import fetched
from tune_kd.tracking import Delivery, SearchInfo, Tracker
from tune_kd.training.costs import costs
from tune_kd.tuning import given
from tune_kd.tuning.callbacks import Callback, Everyone, Tracked
from tune_kd.tuning.conductor import Conductor
from tune_kd.tuning.ledger import Ledger
from tune_kd.tuning.ranking import changes

RUN_ID_SECONDS = 15.0

HEAD_START_SECONDS = 10.0
"""Importing MLflow and opening its store takes seconds of the processors on which the first trials are to start."""


class Watch(Callback, Protocol):
    """A callback that also knows, in one line, where the search stands."""

    @property
    def summary(self) -> str: ...


class Listener(Protocol):
    """Whoever says what goes on, in whatever way."""

    def begun(self, name: str, todo: Plan, folder: str) -> None: ...
    def said(self, sentence: str) -> None: ...
    def noted(self, sentence: str) -> None:
        """Something that people should know, although the search goes on."""

    def lesson(self, whose: str, epochs: int, metrics: dict[str, float]) -> None:
        """An epoch of a teacher's."""

    def watch(self, todo: Plan, ledger: Ledger) -> AbstractContextManager[Watch]: ...


@dataclass(frozen=True)
class Ready:
    """All that a search needs before its ledger is opened; nothing of it changes any more."""

    plan: Plan
    prepared: Prepared
    storage: Storage
    shares: Shares
    seat: Alone

    @property
    def study(self) -> Study:
        return self.plan.study


class Session:
    """`shared` says whether the Ray that it is in was there before, and may have other machines and other searches."""

    def __init__(
        self, request: Request, listener: Listener, stop: Stop, callbacks: Sequence[Callback] = (), shared: bool = False
    ) -> None:
        self._request = request
        self._listener = listener
        self._stop = stop
        self._callbacks = callbacks
        self._shared = shared
        self._mirror = Mirror(chosen(request.storage, request.folder, request.name), request.folder)
        self._phases: dict[str, float] = {}
        self._meter = Meter()

    @cached_property
    def _remembered(self) -> Remembered:
        return Remembered.of(self._request.study, self._request.folder, self._request.resume, self._listener.noted)

    def run(self) -> Outcome:
        """The whole search. What cannot be begun is an error; what was begun has an outcome."""
        started, asked = time.time(), self._request
        self._listener.begun(asked.name, plan.make(asked.study), str(asked.folder))
        seat = Seat.taken(asked.folder, asked.name, asked.study.study, self._listener.said) if self._shared else Alone()
        try:
            with self._phase("start", seat):
                ready = self._make_ready(seat)
            with self._meter:
                outcome = self._search(ready, started)
        except BaseException:
            if note := self._let_go(seat):
                self._listener.noted(note)
            raise
        note = self._let_go(seat)
        return replace(outcome, notes=(*outcome.notes, note)) if note and not self._mirror.taken else outcome

    def _let_go(self, seat: Alone) -> str:
        """Of the storage and of the cluster; what is to be said about that."""
        note = self._mirror.end()
        seat.leave()
        return note

    def _make_ready(self, seat: Alone) -> Ready:
        """Whatever the user may have got wrong shows here, before anything is begun under this name."""
        asked, storage = self._request, self._mirror.storage
        storage.check()
        self._mirror.adopt(asked.resume)
        if asked.resume:
            given.check(asked.folder / names.LEDGER_FILE, asked.objects.digests)
        asked.objects.travelling.unpack()
        study = fetched(asked.study, asked.folder / names.TEACHER_DIR, asked.tracking_uri, asked.objects.teacher)
        todo = plan.make(self._remembered.warmed(study))
        prepared = prepare(todo, self._listener.said, asked.objects.dataset)
        for note in prepared.notes:
            self._listener.noted(note)
        own = self._mirror.mark()
        reach.check(own)
        shares = runner.fitting_shares(todo.study, prepared, self._listener.said)
        seat.may_use(runner.slots_now(shares), live=0, more=False)
        write_whole(asked.folder / names.STUDY_FILE, dump(asked.study).encode())
        self._remembered.write(asked.folder)
        self._mirror.begin()
        return Ready(todo, prepared, own, shares, seat)

    def _search(self, ready: Ready, started: float) -> Outcome:
        ledger = Ledger(self._request.folder / names.LEDGER_FILE, ready.plan)
        ledger.note_given(self._request.objects.digests)
        if ledger.spent:
            self._phases[names.EARLIER] = ledger.spent
        if front_models(ready.study):
            classes, shape_at = len(ready.prepared.splits.classes), ready.prepared.of
            ledger.know_costs(lambda: costs(ready.study, classes, shape_at))
        run_ids: SimpleQueue[tuple[str, str]] = SimpleQueue()
        tracker = self._track(ledger, ready, run_ids)
        over = partial(Outcome, self._request)
        try:
            taught, learned = self._conduct(ledger, ready, Tracked(ready.study, tracker, ledger, run_ids))
            verdict, notes = self._report(ledger, ready, tracker, taught, learned, started)
            hopeless = _hopeless(ledger, ready.study, str(self._request.folder))
            outcome = over("failed" if hopeless else "finished", hopeless, verdict, notes)
        except KeyboardInterrupt:
            ledger.note_spent(self._phases.get(names.EARLIER, 0.0) + time.time() - started)
            words = f"Stopped. Everything so far is kept. To go on:\n  {self._request.go_on}"
            outcome = over("interrupted", Interrupted(words))
        except TakenOver as error:
            outcome = over("taken over", error)
        except TeacherFailed as error:
            outcome = over("teacher failed", error)
        except BaseException:
            self._tell_the_end(tracker, over("failed"))
            raise
        finally:
            ledger.sync()
        delivery = self._tell_the_end(tracker, outcome)
        return replace(outcome, mlflow=(tracker.command, tracker.page), notes=(*outcome.notes, *delivery.notes))

    def _tell_the_end(self, tracker: Tracker, outcome: Outcome) -> Delivery:
        """To MLflow. What another machine goes on with is not ours to close."""
        if outcome.ending == "taken over":
            return tracker.leave()
        killed = outcome.ending == "interrupted"
        return tracker.finish(
            status="FINISHED" if outcome.ending == "finished" else "KILLED" if killed else "FAILED",
            metrics=results.headline(outcome.verdict),
            tags=results.described(self._request.study, outcome.verdict),
            artifacts=results.artifacts(self._request.folder),
        )

    # The steps.

    def _track(self, ledger: Ledger, ready: Ready, run_ids: SimpleQueue[tuple[str, str]]) -> Tracker:
        study = ready.study
        info = SearchInfo(
            id=ledger.search_id,
            name=self._request.name,
            params={"study": study.study, "seed": study.seed, **plan.constants_of(study)},
            tags={names.TAG_KIND: "search"},
            note=summary.description(study.question, dump(study)),
            dataset=study.data.dataset,
            digests=ready.prepared.splits.digests,
            commit=results.git_commit(),
            settings=searched_keys(study, names.DISTILLED),
            metric=study.objective.metric,
        )
        return Tracker.start(
            uri=self._request.tracking_uri,
            experiment=self._request.experiment,
            search=info,
            spool=self._request.folder / "mlflow",
            on_run_id=lambda key, run_id: run_ids.put((key, run_id)),
            say=self._listener.said,
            head_start=HEAD_START_SECONDS,
        )

    def _teach(self, ledger: Ledger, material: Material, ready: Ready) -> Teaching:
        def made(taught: Taught) -> None:
            ledger.same_teacher(taught.teachers.digest)
            if TAKEN in taught.facts:
                self._listener.said(f"taken from an earlier search: {taught.facts[TAKEN]}")
            accuracy = f"{taught.facts[names.TEST_ACCURACY]:.2%}"
            self._listener.said(f"teacher: test accuracy {taught.facts.get(BY_EPOCHS, accuracy)}")

        study = ready.study
        report = self._listener.lesson
        gpu, objects = ready.shares.on_gpu, material.objects
        teaching = Teaching(study, ready.prepared, ready.storage, material.agree, gpu, report, made, objects)
        teaching.begin()
        if teaching.taught is None:
            images = f"{len(ready.prepared.splits.test):,} images"
            for own, start in zip(by_teacher(study), ready.prepared.teachers, strict=True):
                what = told(own, start)
                until = f" for {long(own.teacher.epochs)}" if TEACHER_EPOCHS in study.conditions else ""
                self._listener.said(f"teacher: {what}{until}, testing it on {images}")
        return teaching

    def _conduct(self, ledger: Ledger, ready: Ready, tracked: Tracked) -> tuple[Taught, Sequence[str]]:
        """Every trial and final; scratch trials do not wait for the teacher. And what earlier searches changed."""
        with self._phase("search", ready.seat):
            splits, mean, std = ready.prepared.splits, ready.prepared.mean, ready.prepared.std
            agree = None if ready.storage.folder else Agreement.begun(ready.storage)
            # A Ray that was there before may have other machines, or get them; each has a cache of its own.
            neighbours = Exchange.begun() if self._shared else None
            shared = (ready.study, splits, mean, std, ready.storage, agree, neighbours)
            material = Material(*shared, ready.prepared.students, self._request.objects.travelling)
            teaching = self._teach(ledger, material, ready)
            tracked.catch_up(ready.plan)
            report = self._request.folder / names.REPORT_FILE
            self._listener.said(f"report: {report} grows while the search runs")
            with (
                self._listener.watch(ready.plan, ledger) as view,
                Growing(ready.plan, ledger, report, self._request.name, lambda: view.summary) as growing,
                self._stop.gently(),
            ):
                everyone = Everyone([tracked, view, growing, *self._callbacks])
                earlier = self._remembered.forecast(ready.study)
                conductor = Conductor(ready.plan, ledger, everyone, teaching.ready, forecast=earlier)
                ready.seat.progress = lambda: view.summary
                check = self._check(teaching)
                try:
                    runner.conduct(conductor, material, ready.shares, teaching, check, ready.seat.may_use)
                finally:
                    teaching.end()
            assert teaching.taught is not None  # no final is trained before
            self._phases["teacher"] = teaching.seconds
            for reason, times in conductor.unstored.items():
                self._listener.noted(f"{times} times a checkpoint could not be stored or read: {reason}")
            self._listener.said(view.summary)
            learned = self._remembered.changed(ready.plan, conductor.forecast_stopped)
            for word, lines in (("experience", learned), ("confirmed", changes(ledger, ready.plan))):
                for line in lines:
                    self._listener.said(f"{word}   {line}")
            tracked.wait_for_run_ids(RUN_ID_SECONDS)
            return teaching.taught, learned

    def _check(self, teaching: Teaching) -> Callable[[], None]:
        """Asked between any two events: why the search cannot go on, as the error that ends it."""

        def may_go_on() -> None:
            if self._stop.asked:
                raise Interrupted
            if self._mirror.taken:
                raise TakenOver(self._mirror.where_it_goes_on)
            if teaching.failed():
                raise TeacherFailed(str(teaching.error)) from teaching.error

        return may_go_on

    def _report(
        self,
        ledger: Ledger,
        ready: Ready,
        tracker: Tracker,
        taught: Taught,
        learned: Sequence[str],
        started: float,
    ) -> tuple[dict[str, Any], tuple[str, ...]]:
        """Tables, verdict, report and model; and what could not be made."""
        with self._phase("report", ready.seat):
            folder, prepared, storage = self._request.folder, ready.prepared, ready.storage
            computed = results.decided(ready.plan, storage, folder)
            facts = results.run_facts(ready.plan, prepared, computed, started, self._phases, self._request.repeat)
            facts["notes"] += learned
            facts["mlflow"] = {"command": tracker.command, "page": tracker.page}
            crowned = champion.crown(folder, ready.plan, prepared, ledger, storage, tracker)
            # Counters know neither other machines nor what was before.
            facts["energy"] = {} if self._shared or names.EARLIER in self._phases else self._meter.kwh
            facts["int8"] = champion.in_int8(folder)
            verdict = results.write(folder, ready.plan, ledger, prepared, storage, ready.shares, taught.facts, facts)
            return verdict, tuple(filter(None, (crowned, leave(ready.plan, ledger))))

    @contextmanager
    def _phase(self, name: str, seat: Alone) -> Iterator[None]:
        """What is noted within it is a phase of its own, so that all of them add up to the clock."""
        started, before = time.perf_counter(), sum(self._phases.values())
        seat.tell(name)
        try:
            yield
        finally:
            within = sum(self._phases.values()) - before
            self._phases[name] = time.perf_counter() - started - within


def _hopeless(ledger: Ledger, study: Study, folder: str) -> TuneKDError | None:
    """An arm of which nothing could be trained is a failure of the search, and its reasons are counted."""
    reasons = ledger.hopeless()
    if not reasons:
        return None
    lines = "\n".join(f"  {arm}: {count} × {reason}" for (arm, reason), count in reasons.items())
    return TuneKDError(f"every trial of an arm failed:\n{lines}\nThe results so far are in {folder}.")

"""`gpu: auto`: finds by measuring how many trainings a card takes best, and remembers it."""

import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from tune_kd import models
from tune_kd.data.sources import user_cache
from tune_kd.execution.probe import Question
from tune_kd.execution.resources import AUTO_SHARE, HEADROOM, Node, Shares
from tune_kd.preparation import Prepared
from tune_kd.space.designs import levels
from tune_kd.space.load import dump
from tune_kd.space.methods import METHODS, parts, settings_of
from tune_kd.space.study import Study, by_teacher, lessons, methods_of
from tune_kd.storage import files

AT_ONCE: Final = (1, 2, 4, 8, 16)
SECONDS: Final = 3.0
PROBE_SECONDS: Final = 300
"""One that has not answered by then never will."""

BETTER: Final = 1.05
"""More at once must be so much faster: each of them takes longer, so early stopping knows less when it decides."""


@dataclass(frozen=True)
class Measurement:
    """So many trainings at once on one card: images a second of all of them, and bytes."""

    at_once: int
    rate: float = 0.0
    own: float = 0.0
    """Of the hungriest of them, as PyTorch counts; for people."""
    taken: float = 0.0
    total: float = 1.0
    failed: str = ""

    @property
    def fits(self) -> bool:
        return not self.failed and self.taken <= HEADROOM * self.total


def choose(found: Sequence[Measurement]) -> int:
    """How many at once have the best total rate of those that fit; fewer where more are hardly faster."""
    best = None
    for each in sorted(found, key=lambda each: each.at_once):
        if each.fits and (best is None or each.rate > best.rate * BETTER):
            best = each
    return best.at_once if best else 1


def worth_more(found: Sequence[Measurement]) -> bool:
    """Whether twice as many may still be better: not once they do not fit, or the card has been full twice."""
    if not found:
        return True
    if not found[-1].fits:
        return False
    best = max(each.rate for each in found)
    return not all(each.rate < best for each in found[-2:])


def shares(
    study: Study, prepared: Prepared, students: Sequence[str], nodes: Sequence[Node], say: Callable[[str], None]
) -> Shares:
    """Every student's share on every type of GPU there is."""
    one_of_each = {node.kind: node for node in nodes if node.gpus}
    found: dict[str, dict[str, float]] = {student: {} for student in students}
    for kind, node in one_of_each.items():
        seen = facts(node)
        if not seen["gpu"]:
            say(
                f"[yellow]note:[/] PyTorch sees no GPU on a machine that has {node.gpus}, Ray says, so nothing can be "
                f"measured; a trial gets {AUTO_SHARE} of one. Choose with --set resources.gpu=…"
            )
        most = max(1, int(node.cpus / node.gpus / study.resources.cpu))
        for student in students:
            if seen["gpu"]:
                found[student][kind] = _share(question(study, prepared, student), node, seen, most, say)
            else:
                found[student][kind] = AUTO_SHARE
    return Shares(study.resources.cpu, found)


def _share(asked: Question, node: Node, seen: Mapping[str, str], most: int, say: Callable[[str], None]) -> float:
    """Measured, or read where this has been measured before."""
    path = user_cache() / "shares" / f"{key(asked, seen, most)}.json"
    known = _read(path)
    if known is None:
        say(f"measuring how many {asked.student} train best at once on one {seen['gpu']} (once; it is kept)")
        known = measure(asked, node, [n for n in AT_ONCE if n <= most], SECONDS)
        path.parent.mkdir(parents=True, exist_ok=True)
        files.replace(path, json.dumps({"facts": dict(seen), "found": [asdict(each) for each in known]}).encode())
    best = choose(known)
    rates = ", ".join(
        f"{each.at_once}: {each.rate:,.0f}" if each.fits else f"{each.at_once}: no room" for each in known
    )
    say(f"{asked.student} on {seen['gpu']}: {best} at once (images/s in all, by how many at once: {rates})")
    return 1 / best


def _read(path: Path) -> list[Measurement] | None:
    """A file that is not there, or not whole, is measured again."""
    try:
        return [Measurement(**each) for each in json.loads(path.read_text())["found"]]
    except (OSError, ValueError, KeyError, TypeError):
        return None


def key(asked: Question, seen: Mapping[str, str], most: int) -> str:
    """Names whatever the figures depend on; of the study only what makes a step slower or hungrier."""
    told = asdict(asked) | {"study": asked.cost} | dict(seen) | {"most": most, "python": sys.version_info[:2]}
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:20]


def question(study: Study, prepared: Prepared, student: str) -> Question:
    batch = max(int(size) for size in levels(study, "train.batch_size"))
    count = sum(
        p.numel()
        for p in models.build(student, classes=len(prepared.splits.classes), in_shape=prepared.shape).parameters()
    )
    train = study.train.model_dump(mode="json", exclude=set(CHEAP))
    taught = ", ".join(lessons(own)[-1].teacher.model for own in by_teacher(study))
    method = max(methods_of(study), key=_hunger)
    own = {key: getattr(study.kd, key.removeprefix("kd.")) for key in settings_of([method])}
    cost = json.dumps([taught, study.augment.model_dump(mode="json"), train, count, own], sort_keys=True)
    classes = len(prepared.splits.classes)
    return Question(dump(study), cost, student, method, batch, len(prepared.splits.images), prepared.shape, classes)


def _hunger(method: str) -> tuple[int, int]:
    """Of several, trainings are measured with the one that takes most: another network beside the student, and more
    parts of its own."""
    known = [METHODS[name] for name in parts(method)]
    return sum(each.features + each.rebuilds + each.peer for each in known), len(known)


CHEAP: Final = (
    *("lr", "weight_decay", "schedule", "step_epochs", "milestones", "gamma", "warmup_epochs"),
    *("batch_size", "epoch_images", "label_smoothing", "momentum", "nesterov"),
)
"""Settings of a training that a step costs the same with, or that stand in the question themselves."""


# On the machine itself.


def facts(node: Node) -> dict[str, str]:
    return dict(ray.get(_on(node, _facts).remote()))


def measure(asked: Question, node: Node, counts: Sequence[int], seconds: float) -> list[Measurement]:
    """On one whole card of that machine, which nobody else has meanwhile."""
    return list(ray.get(_on(node, _measure).remote(asked, counts, seconds)))


def _on(node: Node, function: Callable[..., Any]) -> Any:
    where = NodeAffinitySchedulingStrategy(node.id, soft=False)
    return ray.remote(function).options(num_cpus=1, num_gpus=1, scheduling_strategy=where, max_retries=0)


def _facts() -> dict[str, str]:
    with _Probe({}) as probe:
        return dict(probe.answer())


def _measure(asked: Question, counts: Sequence[int], seconds: float) -> list[Measurement]:
    found: list[Measurement] = []
    for count in counts:
        if not worth_more(found):
            break
        found.append(_together(asked, count, seconds))
    return found


def _together(asked: Question, count: int, seconds: float) -> Measurement:
    """So many processes, all warm before any is measured."""
    probes = [_Probe({"question": asdict(asked), "gpu": 1 / count}) for _ in range(count)]
    patience = threading.Timer(PROBE_SECONDS, _kill, [probes])
    patience.start()
    try:
        warm = [probe.ready() for probe in probes]
        if all(warm):
            for probe in probes:
                probe.go(seconds)
        answers = [probe.answer() for probe, ready in zip(probes, warm, strict=True) if all(warm) or not ready]
    finally:
        patience.cancel()
        for probe in probes:
            probe.end()
    failed = [each["failed"] for each in answers if "failed" in each]
    if failed:
        return Measurement(count, failed=failed[0])
    return Measurement(
        count,
        sum(each["rate"] for each in answers),
        max(each["own"] for each in answers),
        max(each["taken"] for each in answers),
        answers[0]["total"],
    )


def _kill(probes: Sequence["_Probe"]) -> None:
    for probe in probes:
        probe.kill()


class _Probe:
    """A process of its own on this machine's card; Ray has said which by the environment."""

    def __init__(self, asked: Mapping[str, Any]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tune_kd.execution.probe"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
        )
        self._last = ""
        self._tell(json.dumps(asked))

    def __enter__(self) -> "_Probe":
        return self

    def __exit__(self, *error: object) -> None:
        self.end()

    def ready(self) -> bool:
        self._last = self._line()
        return self._last == "ready"

    def go(self, seconds: float) -> None:
        self._tell(f"go {seconds}")

    def answer(self) -> dict[str, Any]:
        text = self._line() if self._last in ("", "ready") else self._last
        return dict(json.loads(text)) if text else {"failed": "the process died"}

    def kill(self) -> None:
        self._process.kill()

    def end(self) -> None:
        self.kill()
        self._process.communicate()

    def _tell(self, text: str) -> None:
        try:
            assert self._process.stdin is not None
            self._process.stdin.write(text + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # it is dead, which shows when it is asked

    def _line(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()

"""The Ray Tune trial function: takes one training up to its next rung, in a process that many trials use in turn.

Imports neither torchvision nor mlflow: they would cost every worker seconds.
"""

import json
import time
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import ray
from torch import Tensor, nn

from tune_kd import log, names
from tune_kd.data.splits import student_indices
from tune_kd.data.views import Program, Views
from tune_kd.errors import StorageError
from tune_kd.execution import memory
from tune_kd.execution.order import NOTES, Order
from tune_kd.execution.workbench import Workbench, guides_of, teacher_on_test, workbench
from tune_kd.space.study import Study, resolve, taught_by
from tune_kd.teacher import making as teacher
from tune_kd.teacher.shuffled import Shuffled
from tune_kd.training import checkpoint, measures, rates
from tune_kd.training.batches import TeacherLogits
from tune_kd.training.images import as_tensor
from tune_kd.training.train import Diverged, Job, test_scores, train
from tune_kd.tuning.conductor import DIVERGED, FAILED, GPU_FULL, MESSAGE, NOT_STORED, OK, OUT_OF_TIME, OUTCOME
from tune_kd.tuning.entry import RESULT, best_weights

Report = Callable[[dict[str, Any]], None]

REST_SECONDS = 10.0
"""A node that cannot use the storage is not to be the first that asks for the next leg."""


def run(config: Mapping[str, Any], material: ray.ObjectRef[Any], report: Report) -> dict[str, Any]:
    """One leg. Whatever goes wrong in the training comes back as words; only a dying process is Ray's to notice."""
    log.keep()
    found = _ended(config["order"], material, report)
    return found | {NOTES: notes} if (notes := log.taken()) else found


def _ended(order: Order, material: ray.ObjectRef[Any], report: Report) -> dict[str, Any]:
    try:
        return _leg(order, material, report)
    except Diverged as error:
        return {OUTCOME: DIVERGED, MESSAGE: str(error)}
    except StorageError as error:
        time.sleep(REST_SECONDS)
        return {OUTCOME: NOT_STORED, MESSAGE: str(error)}
    except Exception as error:
        if memory.ends_its_process(error):
            raise  # Tune ends this process then, and the leg goes on in another
        if full := memory.what_is_full(error):
            memory.let_go(error)
            words = memory.GPU_ADVICE if full == GPU_FULL else memory.HOST_ADVICE
            return {OUTCOME: full, MESSAGE: words.format(share=f"{order.share.gpu:g}")}
        place = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{Path(place.filename).name}:{place.lineno}"
        return {OUTCOME: FAILED, MESSAGE: f"{type(error).__name__} in {where}: {error}"}


def _leg(order: Order, reference: ray.ObjectRef[Any], tell: Report) -> dict[str, Any]:
    bench = workbench(reference, order.share.gpu)
    material = bench.material
    study = resolve(material.study, dict(order.config))
    data = bench.seen_by(study)
    chosen = student_indices(material.splits, study.data.source, study.data.size, study.data.weight)
    validation = as_tensor(material.splits.validation)
    # A final sees what all trainings see, in an order of its own: its luck differs, and the teacher need not run again.
    program = Program(study.seed, order.seed if order.final else None)
    job = Job(
        study, as_tensor(chosen), validation, order.seed, order.until, order.reported, order.deadline,
        material.agree, program, material.students.get(study.student.model),
    )  # fmt: skip
    # Nothing of the storage is used before it is known to be the search's own.
    with material.storage.training(order.saved, tell) as (saved, told):
        guide: TeacherLogits | None = None
        numbers = taught_by(material.study, study, order.arm)
        if order.arm in names.TAUGHT and order.teacher is not None and study.kd.teaches:
            views = Views.of(study.augment, study.seed)
            guide = guides_of(reference, order.share.gpu, order.teacher, views, numbers)
            if order.arm == names.RANDOM_TEACHER:
                guide = Shuffled(guide, bench.images.images, views, as_tensor(chosen), study.seed)
        heard: list[dict[str, float]] = []
        clock = rates.Clock(data.images.device)

        def report(metrics: dict[str, float]) -> None:
            heard.append(metrics)
            told(metrics)

        model = train(job, data, guide, report, saved)
    # The teacher's logits are in the time of the others' epochs. The first epoch of a process warms up.
    if guide is None and len(heard) > 1:
        asked = rates.Asked.of(study, data.shape, data.classes, data.images.device, 1)
        rates.note(asked, heard[-1], clock.lap()[0], study.train.epoch_images or len(chosen), len(validation))
    if model is None:
        return {OUTCOME: OUT_OF_TIME}
    if not order.final:
        return {OUTCOME: OK}
    # As text, because Tune flattens what is nested.
    guided = None
    if order.teacher is not None:
        guided = teacher_on_test(reference, order.share.gpu, order.teacher, study.kd, numbers)
    return {OUTCOME: OK, RESULT: json.dumps(_final_results(model, bench, guided, study, order.saved))}


def _final_results(
    model: nn.Module, bench: Workbench, teacher_logits: Tensor | None, study: Study, saved: str
) -> dict[str, Any]:
    """The one place where a student meets the test images."""
    data = bench.seen_by(study)
    scores = test_scores(model, data, as_tensor(bench.material.splits.test), teacher_logits)
    single, single_p95 = measures.latency_ms(model, data.shape, 1, repeats=teacher.LATENCY_REPEATS)
    many, many_p95 = measures.latency_ms(
        model, data.shape, study.train.batch_size, repeats=teacher.LATENCY_REPEATS // 5
    )
    bench.material.storage.write(best_weights(saved), checkpoint.packed(model.state_dict()))
    return dict(scores) | {
        names.PARAMETERS: measures.parameter_count(model),
        names.SIZE_MB: measures.size_mb(model),
        names.MACS: measures.macs(model, data.shape),
        names.LATENCY_1_MS: single,
        names.LATENCY_1_P95_MS: single_p95,
        names.LATENCY_N_MS: many,
        names.LATENCY_N_P95_MS: many_p95,
    }

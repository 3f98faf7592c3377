"""What a student costs, by the second objective of a study."""

from collections.abc import Callable

from tune_kd import names
from tune_kd.models import build
from tune_kd.models.layout import ImageShape
from tune_kd.space.designs import designs, front_models
from tune_kd.space.study import Study
from tune_kd.training import measures

LATENCY_ROUNDS, LATENCY_REPEATS = 5, 40


def costs(study: Study, classes: int, shape_at: Callable[[int | None], ImageShape]) -> dict[str, float]:
    """What each student costs that the front may have, by the study's second objective; `shape_at` is that of pictures
    of a size."""
    made = designs(study)
    sides = {name: made[name].get(names.STUDENT_SIDE, study.student.image_size) for name in front_models(study)}
    return {
        name: _cost(study.objectives[1], made[name][names.STUDENT_MODEL], classes, shape_at(side))
        for name, side in sides.items()
    }


def _cost(objective: str, name: str, classes: int, shape: ImageShape) -> float:
    model = build(name, classes=classes, in_shape=shape)
    if objective == "latency":
        # Whatever else the machine does only adds to it, and would change which models are on the front.
        return min(measures.latency_ms(model, shape, 1, repeats=LATENCY_REPEATS)[0] for _ in range(LATENCY_ROUNDS))
    return measures.size_mb(model) if objective == "size" else measures.macs(model, shape)

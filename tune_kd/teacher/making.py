"""The teacher: trained once per search or loaded, then frozen."""

import functools
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from tune_kd import names
from tune_kd.errors import InputError
from tune_kd.models import build, ours, registry, weight_files
from tune_kd.models.layout import ImageShape, lay_out
from tune_kd.models.network import Inputs, Start, head_of, interpolation
from tune_kd.names import Interpolation
from tune_kd.seeds import derive
from tune_kd.space import schema
from tune_kd.space.schema import Normalize, Student
from tune_kd.space.study import Study, lessons
from tune_kd.training import checkpoint, measures, precision
from tune_kd.training.batches import TeacherLogits
from tune_kd.training.fine_tuning import FineTuning
from tune_kd.training.images import IMAGENET, Images, normalise, resized
from tune_kd.training.train import Job, predict, train

Normalisation = tuple[tuple[float, ...], tuple[float, ...]]
LATENCY_REPEATS = 50


@dataclass(frozen=True)
class Teacher:
    """Weights and all that is needed to run them, small enough to send to every node."""

    model: str
    weights: Mapping[str, Tensor]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    shape: ImageShape
    classes: int
    interpolation: Interpolation = "bilinear"

    @functools.cached_property
    def digest(self) -> str:
        """Names these weights: the same ones give the same logits."""
        own = () if self.interpolation == "bilinear" else (self.interpolation,)
        state = hashlib.sha256(repr((self.model, self.mean, self.std, *own)).encode())
        for key, value in self.weights.items():
            state.update(key.encode())
            state.update(value.contiguous().cpu().numpy().tobytes())
        return state.hexdigest()[:20]

    def module(self, device: torch.device) -> nn.Module:
        # Chance is left as it was: whether a student finds its teacher's logits cached must not change its dropout.
        with torch.random.fork_rng(devices=[]):
            model = build(self.model, classes=self.classes, in_shape=self.shape)
        model.load_state_dict(dict(self.weights))
        return lay_out(model.to(device), self.shape).eval().requires_grad_(False)

    def read(self, data: Images) -> Images:
        """The same images, of the size and normalised as the teacher was trained to see them."""
        return data.seen(self.mean, self.std, self.shape[1], self.interpolation)

    def ready(self, pictures: Tensor, layout: torch.memory_format = torch.contiguous_format) -> Tensor:
        """The same of single pictures (0…255)."""
        return normalise(resized(pictures, self.shape[1], self.interpolation), self.mean, self.std, layout)


def load(study: Study, file: Path, data: Images, classes: tuple[str, ...] = ()) -> Teacher:
    """The study's teacher from its file, which only the machine that begins the search needs to have."""
    inputs = registry.inputs(study.teacher.model)
    data = data.seen(data.mean, data.std, side_of(study.teacher, data.images.shape[-1]), interpolation(inputs))
    model = build(study.teacher.model, classes=data.classes, in_shape=data.shape)
    known = functools.partial(ours.states, data.classes, data.shape)
    checkpoint.load_weights(model, file, study.teacher.ema, known)
    # A student exported by an earlier search brings its own normalisation, and the names of its classes.
    stored = weight_files.read(file)
    mean, std = _normalisation(study, data, inputs)
    own = all(_is_one(stored.get(key), len(mean)) for key in ("mean", "std"))
    if own and not isinstance(study.teacher.normalize, Normalize):
        mean, std = stored["mean"], stored["std"]
    if study.teacher.classes:
        _reorder(model, study.teacher.classes, classes)
    elif own and classes and "classes" in stored:
        _check_classes(file, stored["classes"], classes)
        _reorder(model, tuple(stored["classes"]), classes)
    return _frozen(study, model, data, mean, std)


def _check_classes(file: Path, own: Sequence[str], classes: tuple[str, ...]) -> None:
    if sorted(own) != sorted(classes):
        only, lacking = (", ".join(sorted(a - b)) for a, b in ((set(own), set(classes)), (set(classes), set(own))))
        raise InputError(
            f"teacher.checkpoint: {file} was trained for other classes than those of the images. Only it has: {only}; "
            f"only they have: {lacking}. Name another teacher; if these are the same classes under other names, name "
            f"the images' classes in the order of its outputs in teacher.classes. Its outputs are: {', '.join(own)}."
        )


def side_of(teacher: schema.Teacher, kept: int) -> int | None:
    """The size at which a teacher sees pictures that are kept at another: the one that is named, else that which its
    own weights want. Small pictures are not enlarged for it: that is for those who name a size."""
    own = None if teacher.image_size else own_inputs(teacher)
    return min(own.size, kept) if own else teacher.image_size


def own_inputs(teacher: schema.Teacher) -> Inputs | None:
    """How pictures are wanted by weights that a teacher comes with; None for one that begins from scratch."""
    given = teacher.checkpoint is not None or teacher.pretrained is not False
    return registry.inputs(teacher.model) if given else None


def _reorder(model: nn.Module, own: tuple[str, ...], classes: tuple[str, ...]) -> None:
    """Its outputs put into the order of the data's classes."""
    if sorted(own) != sorted(classes):
        raise InputError(
            f"teacher.classes: must name the classes of the images in the order of the teacher's outputs, each once: "
            f"{', '.join(classes)}."
        )
    order = torch.tensor([own.index(name) for name in classes])
    weights = model.state_dict()
    model.load_state_dict({key: weights[key][order] for key in head_of(model, len(classes))}, strict=False)


def _is_one(value: object, channels: int) -> bool:
    """Whether a file's value is a number for each channel; other projects keep other things under these names."""
    return isinstance(value, list | tuple) and len(value) == channels and all(isinstance(each, float) for each in value)


@dataclass(frozen=True)
class Order:
    """A teacher that is to be trained, and the images as it sees them."""

    study: Study
    job: Job
    data: Images


def order(
    study: Study,
    data: Images,
    images: Tensor,
    validation: Tensor,
    agree: precision.Agree | None = None,
    start: Start | None = None,
    which: tuple[int, ...] = (),
) -> Order:
    """The study's teacher, on the images numbered `images`, from scratch or from where `start` is. `which` tells one
    from others, so that chance is another for each."""
    wanted = study.teacher
    inputs = start.inputs if start else None
    mean, std = _normalisation(study, data, inputs)
    head_rate = 1.0 if wanted.head_lr is None else wanted.head_lr / wanted.train.lr
    tuning = FineTuning(start.head if start else (), wanted.tune, head_rate, wanted.patience)
    seed = derive(study.seed, "teacher", *which)
    job = Job(as_student(study), images, validation, seed, wanted.epochs, agree=agree, start=start, tuning=tuning)
    return Order(study, job, data.seen(mean, std, side_of(wanted, data.images.shape[-1]), interpolation(inputs)))


def told(study: Study, start: Start | None) -> str:
    """What is done for a teacher and its assistants, one after the other, in words."""
    own, *assistants = [lesson.teacher.model for lesson in lessons(study)]
    how = "loading" if study.teacher.checkpoint else "training"
    first = f"fine-tuning {own} from {start.told}" if start else f"{how} {own}"
    return " → ".join([first, *assistants])


def make(
    what: Order, saved: Path, report: Callable[[dict[str, float]], None], guide: TeacherLogits | None = None
) -> Teacher:
    """Trains it; an assistant is taught by a `guide` of its own."""
    model = train(what.job, what.data, guide, report, saved)
    assert model is not None  # no deadline was given
    return _frozen(what.study, model, what.data, what.data.mean, what.data.std)


def as_student(study: Study) -> Study:
    """A study whose student is this one's teacher, as it is trained; if it is taught, by plain kd."""
    wanted = study.teacher
    return study.model_copy(
        update={
            "student": Student(model=wanted.model),
            "train": wanted.train,
            "augment": wanted.augment,
            "kd": study.kd.model_copy(update={"method": "kd"}),
            "budget": study.budget.model_copy(update={"epochs": wanted.epochs}),
        }
    )


def _normalisation(study: Study, data: Images, inputs: Inputs | None) -> Normalisation:
    """As the study says, else as the weights want it, else by the data set's own statistics."""
    wanted = study.teacher.normalize
    if isinstance(wanted, Normalize):
        return wanted.mean, wanted.std
    if wanted == "imagenet":
        return IMAGENET
    if wanted is None and inputs is not None and len(inputs.mean) == len(data.mean):
        return inputs.mean, inputs.std
    return data.mean, data.std


def _frozen(study: Study, model: nn.Module, data: Images, mean: tuple[float, ...], std: tuple[float, ...]) -> Teacher:
    weights = {key: value.detach().cpu() for key, value in model.state_dict().items()}
    return Teacher(study.teacher.model, weights, tuple(mean), tuple(std), data.shape, data.classes, data.interpolation)


def facts(teacher: Teacher, data: Images, validation: Tensor, test: Tensor) -> dict[str, float | int | str]:
    """What the report says of the teacher."""
    model = teacher.module(data.images.device)
    val, tested = (
        measures.evaluate(predict(model, teacher.read(data), index), data.labels[index], data.classes)
        if len(index)
        else measures.NOTHING
        for index in (validation, test)
    )
    latency, latency_p95 = measures.latency_ms(model, teacher.shape, 1, repeats=LATENCY_REPEATS)
    return {
        names.LATENCY_1_MS: latency,
        names.LATENCY_1_P95_MS: latency_p95,
        "model": teacher.model,
        "digest": teacher.digest,
        names.VAL_ACCURACY: val.accuracy,
        names.VAL_BALANCED: val.balanced_accuracy,
        names.VAL_F1: val.macro_f1,
        **measures.tested(tested),
        names.PARAMETERS: measures.parameter_count(model),
        names.SIZE_MB: measures.size_mb(model),
        names.MACS: measures.macs(model, teacher.shape),
    }

"""The study file as frozen, typed objects. Each field is a key of the YAML; `SEARCHABLE` are those a trial may vary."""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from tune_kd import names
from tune_kd.names import Metric
from tune_kd.space import methods
from tune_kd.space.objectives import OBJECTIVES
from tune_kd.space.rules import RULES

Share = Annotated[float, Field(ge=0, lt=1)]
Positive = Annotated[int, Field(gt=0)]
Accuracy = Annotated[float, Field(ge=0, le=1)]

Course = Literal["constant", "linear", "cosine", "step"]
"""How a number goes from its value in the first epoch to its end in the last; a step is half-way."""

Side = Annotated[int, Field(ge=4, le=1024)]
Pretrained = Annotated[bool | str, Field(description="true, the name of weights such as IMAGENET1K_V1, or a file")]

ACCURACY: Final = "accuracy"
if TYPE_CHECKING:
    Objective = str
    RuleName = str
else:
    Objective = Literal[tuple(OBJECTIVES)]
    RuleName = Literal[tuple(RULES)]
_PAIRS = [f"[{ACCURACY}]", *(f"[{ACCURACY}, {cost}]" for cost in OBJECTIVES if cost != ACCURACY)]
ALLOWED_OBJECTIVES: Final = f"{', '.join(_PAIRS[:-1])} or {_PAIRS[-1]}"


CONFIRM_SEEDS: Final = 2
"""On how many other seeds a setting is confirmed."""


class Section(BaseModel):
    """A part of the study file: unknown keys are refused, values never change afterwards."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class OnDisk:
    """Marks a key whose value is a file or folder of the machine that begins the search."""


def paths(section: Section) -> dict[str, str]:
    """The keys of a section that name files or folders, and what they name."""
    fields = type(section).model_fields
    marked = [name for name, field in fields.items() if any(isinstance(each, OnDisk) for each in field.metadata)]
    return {name: getattr(section, name) for name in marked if getattr(section, name) is not None}


def names_a_file(pretrained: bool | str) -> bool:
    """Whether pretrained weights are a file's rather than weights by name."""
    suffixes = (".safetensors", ".pt", ".pth", ".th", ".bin", ".ckpt", ".tar")
    return isinstance(pretrained, str) and (pretrained.endswith(suffixes) or "/" in pretrained)


class Split(Section):
    """Shares of each source (fractions) or images (whole numbers) set aside; students get the rest."""

    test: Share | Annotated[int, Field(ge=1)] = 0.25
    validation: Share | Annotated[int, Field(ge=1)] = 0.2
    teacher: Share | Annotated[int, Field(ge=1)] = 0.3


class Data(Section):
    """What every data set has: which images a student sees, who is judged and taught on which. Each kind adds keys."""

    dataset: str
    source: str = "all"
    size: Positive | Literal["all"] = "all"
    weight: Annotated[float, Field(gt=0, lt=1)] | None = None
    normalize: Literal["dataset", "imagenet"] = "dataset"
    split: Split = Split()
    evaluate_on: tuple[str, ...] = ()
    test_on: tuple[str, ...] = ()
    validation_on: tuple[str, ...] = ()
    teacher_on: tuple[str, ...] = ()
    overlap: bool = False
    duplicates: Literal["group", "keep"] = "group"


class Pictures(Data):
    """Data sets whose images come in any size and shape and are made square."""

    image_size: Side | None = None
    fit: Literal["crop", "pad", "squash"] = "crop"


class Augment(Section):
    """How training images vary. crop and flip have an exact list of views, the others a seeded bank."""

    kind: str = "none"
    pad: Annotated[int, Field(ge=1, le=16)] = 4
    area: Annotated[float, Field(gt=0, le=1)] = 0.08
    bank: Positive = 64
    strong: str | None = None


class Train(Section):
    """Optimizer and schedule of one training."""

    optimizer: Literal["sgd", "adam", "adamw"] = "adam"
    lr: Annotated[float, Field(gt=0)] = 1e-3
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    decay: Literal["all", "convolutions"] = "all"
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    nesterov: bool = False
    schedule: Literal["constant", "cosine", "step", "milestones", "plateau"] = "constant"
    step_epochs: Positive = 30
    milestones: tuple[Annotated[float, Field(gt=0, lt=1)], ...] = (0.625, 0.75, 0.875)
    gamma: Annotated[float, Field(gt=0, le=1)] = 0.1
    patience: Positive = 10
    warmup_epochs: Annotated[int, Field(ge=0)] = 0
    batch_size: Annotated[int, Field(ge=2)] = 128
    epoch_images: Positive | None = None
    label_smoothing: Share = 0.0
    keep: Literal["best", "last"] = "best"


class Normalize(Section):
    """Mean and standard deviation of each channel, for pixels from 0 to 1."""

    mean: tuple[float, ...]
    std: tuple[Annotated[float, Field(gt=0)], ...]


class Teacher(Section):
    """A model trained once per search, or loaded: a file of weights or an MLflow `models:/` address.

    `missing` is said to whoever lacks the file. `pretrained` weights are where its training begins. `normalize` is for
    those who know better than its weights. `through` names assistants: each is taught by the one before it, and the
    last of them teaches the students.
    """

    model: str = "digits_teacher"
    checkpoint: str | None = None
    missing: str = ""
    ema: bool = False
    classes: tuple[str, ...] = ()
    pretrained: Pretrained = False
    image_size: Side | None = None
    normalize: Normalize | Literal["dataset", "imagenet"] | None = None
    epochs: Annotated[int, Field(ge=0)] = 20
    tune: Literal["all", "head", "head_then_all"] = "all"
    head_lr: Annotated[float, Field(gt=0)] | None = None
    patience: Positive | None = None
    through: tuple[str, ...] = ()
    train: Train = Train()
    augment: Augment = Augment()


class Student(Section):
    """`pretrained` weights are where both arms begin; their normalisation comes with them."""

    model: str = "digits_student"
    pretrained: Pretrained = False
    image_size: Side | None = None


class Distillation(Section):
    """The teacher's term of the loss: (1-alpha)*CE + alpha*T^2*KL for method kd. Settings of single methods stand
    here as well, by the names in `methods`."""

    model_config = ConfigDict(extra="allow", frozen=True, allow_inf_nan=False)

    method: str = "kd"
    alpha: Annotated[float, Field(ge=0, le=1)] = 0.5
    temperature: Annotated[float, Field(gt=0)] = 4.0
    standardize: bool = False
    warmup_epochs: Annotated[int, Field(ge=0)] = 0

    layers: str = "auto"
    teachers: Positive | Literal["all"] = "all"
    teachers_mean: Literal["probabilities", "logits"] = "probabilities"
    teachers_weight: Literal["equal", "validation", "confidence"] = "equal"
    momentum_gap: Share = 0.0
    weight: Annotated[float, Field(ge=0)] | None = None
    ce_weight: Annotated[float, Field(ge=0)] | None = None
    alpha_schedule: Course = "constant"
    alpha_end: Annotated[float, Field(ge=0, le=1)] = 0.0
    temperature_schedule: Course = "constant"
    temperature_end: Annotated[float, Field(gt=0)] = 1.0

    @property
    def independent(self) -> bool:
        """Whether both terms have weights of their own, in place of alpha."""
        return self.weight is not None or self.ce_weight is not None

    @property
    def teaches(self) -> bool:
        """Whether the teacher's term counts in any epoch."""
        if self.independent:
            return self.weight != 0
        return self.alpha > 0 or (self.alpha_schedule != "constant" and self.alpha_end > 0)

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            """A method's own setting that the study does not set has the value its authors published."""
            if (self.__pydantic_extra__ or {}).get(name) is None and f"kd.{name}" in methods.FIELDS:
                return methods.default(f"kd.{name}")
            return super().__getattr__(name)


class Aim(Section):
    """What a setting is chosen by on validation images, and compared by on test images."""

    metric: Metric = names.ACCURACY


class Budget(Section):
    """What the search may spend, per arm of every cell."""

    trials: Positive = 18
    epochs: Positive = 27
    first_rung: Positive | None = None
    reduction: Annotated[int, Field(ge=2)] = 3
    complete: Positive | None = None
    repeats: Positive = 5
    confirm: Annotated[int, Field(ge=0)] = 0
    seconds: Annotated[float, Field(gt=0)] | None = None
    early_stopping: RuleName = "auto"
    experience: Annotated[str, Field(pattern=r"^(on|off|.*[/\\].*)$", description="on, off or a folder/")] = "off"
    sampler: Literal["tpe", "random"] = "tpe"

    @property
    def confirmations(self) -> int:
        """Trainings that confirm an arm's best settings; of one setting alone there would be nothing to choose."""
        return self.confirm * CONFIRM_SEEDS if self.confirm > 1 else 0

    @property
    def first(self) -> int:
        """The epoch at which trials are first compared; a ninth of the epochs, since earlier ranks mislead. The rule
        `auto`, at which little is decided early, begins earlier."""
        return self.first_rung or math.ceil(self.epochs / 9)


class Resources(Section):
    """What one trial takes. `gpu: auto` is a share of a GPU where there is one, else the trial runs on the CPU."""

    cpu: Annotated[float, Field(gt=0)] = 1.0
    gpu: Annotated[float, Field(ge=0)] | Literal["auto"] = "auto"


class Published(Section):
    """Accuracies that a source reports, fractions of one, to stand beside ours; `cell` says of which of our cells."""

    source: str
    cell: Mapping[str, str | int | float | bool] = Field(default_factory=dict)
    teacher: Accuracy | None = None
    scratch: Accuracy | None = None
    scratch_sd: Accuracy | None = None
    distilled: Accuracy | None = None
    distilled_sd: Accuracy | None = None
    note: str = ""


SEARCHABLE: Final[frozenset[str]] = frozenset(
    ["data.source", "data.size", "data.weight", "augment.kind", "student.model", "student.image_size", "teacher.epochs"]
    + [f"kd.{name}" for name in Distillation.model_fields]
    + [f"train.{name}" for name in Train.model_fields if name not in ("milestones", "keep")]
)
"""The keys that may stand under `conditions` or `search` (`teacher.epochs` under the former alone), beside the settings
of single methods."""

SEARCH_MODE: Final = "search"
"""The mode of a study as its file stands, with nothing put in its place."""

TrialConfig = dict[str, Any]
"""One trial's settings: every searchable key, dotted, and its value."""

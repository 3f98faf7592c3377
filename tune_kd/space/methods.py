"""The methods of distillation, by name: where each one's class is, and its settings as a study names them (`kd.NAME`).

A line a method. Classes are named, not imported: deciding what to try needs no torch.
"""

import inspect
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final

from pydantic import Field
from pydantic.fields import FieldInfo

from tune_kd.errors import InputError

Weight = Annotated[float, Field(ge=0)]
Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(gt=0)]
JOIN: Final = "+"
PLACES: Final = ("auto", "first", "middle", "last", "all")
"""Which of the pairs of layers that were found a method compares; `auto` are those its authors compare."""

SAME: Final = "same"
"""The student's own kind, where a second network is named."""

KINDS: Final = ("soft", "features", "own_temperature", "one_label", "rebuilds", "peer")
"""What a method's class says of itself."""
TEMPERATURE: Final = ("kd.temperature", "kd.temperature_schedule", "kd.temperature_end")


@dataclass(frozen=True)
class Known:
    """A method as a study sees it. A soft one compares logits, so it has a use for standardization and, unless it has
    temperatures of its own, for T; one of features compares maps, and the teacher's network runs for it. One of a label
    asks which class an image is of, or which image it is. One that rebuilds makes another network of the student's; one
    with a peer trains a second one beside it, and has no use for a teacher."""

    place: str | type[Any]
    settings: Mapping[str, FieldInfo]
    source: str = ""
    soft: bool = True
    features: bool = False
    own_temperature: bool = False
    one_label: bool = False
    rebuilds: bool = False
    peer: bool = False


def _known(
    source: str,
    place: str,
    features: bool = False,
    own_temperature: bool = False,
    one_label: bool = False,
    rebuilds: bool = False,
    peer: bool = False,
    **settings: Any,
) -> Known:
    """Each setting with the value its authors published and what it means; its type where it is no number from 0."""
    fields = {name: _field(*told) for name, told in settings.items()}
    kinds = not (features or peer), features, own_temperature, one_label, rebuilds, peer
    return Known(f"tune_kd.distill.{place}", fields, source, *kinds)


def _field(default: Any, means: str, kind: Any = Weight) -> FieldInfo:
    return FieldInfo.from_annotated_attribute(kind, Field(default, title=means))


METHODS: Final[dict[str, Known]] = {
    "kd": _known("Hinton 2015", "logits:KD"),
    "dkd": _known(
        "Zhao 2022",
        "logits:DKD",
        one_label=True,
        target_weight=(1.0, "the weight of the part that compares the target class with the rest"),
        rest_weight=(8.0, "the weight of the part among the other classes"),
    ),
    "dist": _known(
        "Huang 2022",
        "logits:DIST",
        row_weight=(1.0, "the weight of the correlation between classes of an image"),
        column_weight=(1.0, "the weight of the correlation between images of a class"),
    ),
    "rld": _known(
        "Sun 2024",
        "refined:RLD",
        one_label=True,
        rld_sure=(1.0, "the weight of the part on how sure to be of the label"),
        rld_rest=(8.0, "the weight of the part among the classes that the teacher puts below the label"),
    ),
    "normkd": _known("Chi 2023", "temperatures:NormKD"),
    "ttm": _known("Zheng 2024", "temperatures:TTM"),
    "wttm": _known("Zheng 2024", "temperatures:WTTM", wttm_weight=(45.0, "the weight of its term")),
    "ctkd": _known(
        "Li 2023",
        "curriculum:CTKD",
        own_temperature=True,
        ctkd_lowest=(1.0, "the temperature that the learned one stays above", Positive),
        ctkd_span=(20.0, "how far the learned temperature reaches above the lowest", Positive),
        ctkd_epochs=(10, "epochs over which the temperature comes to learn as fast as the student", Count),
    ),
    "mlkd": _known(
        "Jin 2023",
        "levels:MLKD",
        mlkd_instance=(1.0, "the weight of the part image by image"),
        mlkd_batch=(1.0, "the weight of the part between images"),
        mlkd_class=(1.0, "the weight of the part between classes"),
    ),
    "adversarial": _known(
        "a usual value; the idea is Xu 2018's",
        "adversarial:Adversarial",
        adversarial_lr=(0.001, "the learning rate of the discriminator", Positive),
        adversarial_steps=(1, "how often the discriminator learns before each step of the student", Count),
        adversarial_hidden=(64, "the width of the discriminator", Count),
    ),
    "mutual": _known(
        "Zhang 2018",
        "mutual:Mutual",
        peer=True,
        mutual_peer=(SAME, "the network that learns beside the student: the same kind, or a model's name", str),
    ),
    "fitnet": _known(
        "Romero 2015; Tian 2020", "features:FitNet", features=True, fitnet_weight=(100.0, "the weight of its term")
    ),
    "at": _known(
        "Zagoruyko 2017; Tian 2020",
        "features:AttentionTransfer",
        features=True,
        at_weight=(1000.0, "the weight of its term"),
    ),
    "sp": _known(
        "Tung 2019; Tian 2020",
        "relations:SimilarityPreserving",
        features=True,
        sp_weight=(3000.0, "the weight of its term"),
    ),
    "rkd": _known(
        "Park 2019; Tian 2020",
        "relations:RKD",
        features=True,
        rkd_distance=(25.0, "the weight of distances"),
        rkd_angle=(50.0, "the weight of angles"),
    ),
    "simkd": _known(
        "Chen 2022",
        "reuse:SimKD",
        features=True,
        rebuilds=True,
        simkd_weight=(1.0, "the weight of its term"),
        simkd_factor=(2, "the teacher's channels are this many times those in the middle of the projector", Count),
    ),
    "reviewkd": _known("Chen 2021", "review:ReviewKD", features=True, reviewkd_weight=(1.0, "the weight of its term")),
    "crd": _known(
        "Tian 2020",
        "contrast:CRD",
        features=True,
        one_label=True,
        crd_weight=(0.8, "the weight of its term"),
        crd_temperature=(0.07, "how sharply likeness is judged", Positive),
        crd_negatives=(16384, "how many other images a pair has to stand out from", Count),
    ),
}

FIELDS: Final[dict[str, FieldInfo]] = {}
"""Every method's settings by dotted key. Besides its own, each has a weight that it takes in a sum of several."""

_OWNERS: Final[dict[str, set[str]]] = {}


def _enter(name: str, known: Known) -> None:
    own = {weight_key(name): _field(1.0, "its weight in a sum of several methods")} | {
        f"kd.{key}": field for key, field in known.settings.items()
    }
    METHODS[name] = known
    FIELDS.update(own)
    shared = [
        *(("kd.standardize",) if known.soft else ()),
        *(TEMPERATURE if known.soft and not known.own_temperature else ()),
        *(("kd.layers",) if known.features else ()),
    ]
    for key in [*own, *shared]:
        _OWNERS.setdefault(key, set()).add(name)


def weight_key(name: str) -> str:
    return f"kd.{name}_weight"


for _name, _each in tuple(METHODS.items()):
    _enter(_name, _each)


def register(name: str, place: type[Any]) -> None:
    """A method of the user's, for this process. Its settings are the named arguments of its class, with defaults."""
    at = f"method '{name}'"
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        raise InputError(f"{at}: not a name. Allowed: small letters, digits and _, such as my_method.")
    if name in METHODS:
        if METHODS[name].place is place:
            return
        raise InputError(f"{at} is there already. Choose another name than {', '.join(METHODS)}.")
    settings = dict(_arguments(at, place))
    own = {weight_key(name), *(f"kd.{key}" for key in settings if f"kd.{key}" != weight_key(name))}
    if taken := sorted(own & FIELDS.keys()):
        raise InputError(f"{at}: another method has {', '.join(taken)}. Rename the argument; {name}_… is free.")
    kinds = (bool(getattr(place, kind, False)) for kind in KINDS)
    _enter(name, Known(place, settings, place.__name__, *kinds))


def no_method(name: str, given: object) -> InputError:
    return InputError(f"method '{name}': {given!r} is no method. Give a class that inherits from tune_kd.Method.")


def _arguments(at: str, place: type[Any]) -> Iterator[tuple[str, FieldInfo]]:
    for argument in list(inspect.signature(place, eval_str=True).parameters.values())[1:]:
        if argument.default is argument.empty or argument.annotation is argument.empty:
            raise InputError(
                f"{at}: its argument {argument.name} needs a type and a default, "
                f"such as {argument.name}: float = 1.0; what is searched is checked by them."
            )
        yield argument.name, FieldInfo.from_annotated_attribute(argument.annotation, argument.default)


def parts(method: str) -> tuple[str, ...]:
    """The names in `kd`, or in `kd+at`."""
    return tuple(part.strip() for part in method.split(JOIN))


def is_method(text: str) -> bool:
    found = parts(text)
    return len(set(found)) == len(found) and set(found) <= METHODS.keys()


def asks(method: str) -> bool:
    """Whether any of its parts has a use for a teacher."""
    return not all(METHODS[name].peer for name in parts(method))


def is_layers(text: str) -> bool:
    named = [pair.split(":") for pair in text.split(",")]
    return text in PLACES or all(len(pair) == 2 and all(path.strip() for path in pair) for pair in named)


def settings_of(used: Sequence[str]) -> tuple[str, ...]:
    """The dotted keys of the methods named, where there may be several in each name."""
    names = dict.fromkeys(part for method in used for part in parts(method))
    return tuple(dict.fromkeys(f"kd.{key}" for name in names for key in METHODS[name].settings))


def counts(key: str, method: str) -> bool:
    """Whether a key means anything to a method. A weight beside others needs others."""
    owners = _OWNERS.get(key)
    return owners is None or bool(owners.intersection(parts(method)))


def owned(key: str) -> bool:
    """Whether a key means nothing to some methods."""
    return key in _OWNERS


def default(key: str) -> Any:
    return FIELDS[key].default


def told(key: str) -> dict[str, Any] | None:
    """What the setting of a method means; None for any other key."""
    if key not in FIELDS:
        return None
    owner = min(_OWNERS[key])
    means = f"{owner}: {FIELDS[key].title}"
    return {"means": means, "example": default(key), "published": f"{default(key)} ({METHODS[owner].source})"}

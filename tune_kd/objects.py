"""Objects where a study has names: networks, methods and images that are given in Python.

The study names them, they travel to the workers by Ray, and the ledger keeps a digest of each: a search that goes on
must be given the same ones.
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tune_kd.errors import InputError

if TYPE_CHECKING:
    from torch import nn

    from tune_kd.data.sources import Dataset

Factory = Callable[..., "nn.Module"]

TEACHER, STUDENT = "given_teacher", "given_student"
"""What a study calls a network that was given without a name."""


@dataclass(frozen=True)
class Travelling:
    """What workers need of them."""

    networks: Mapping[str, Factory] = field(default_factory=dict)
    methods: Mapping[str, type] = field(default_factory=dict)

    def unpack(self) -> None:
        """Makes them known by their names in this process."""
        if self.networks:
            from tune_kd import models

            models.give(self.networks)
        if self.methods:
            from tune_kd.distill.method import register

            for name, method in self.methods.items():
                register(name, method)


NOTHING_TO_CARRY = Travelling()


@dataclass(frozen=True)
class Objects:
    travelling: Travelling = NOTHING_TO_CARRY
    teacher: "nn.Module | None" = None
    dataset: "Dataset | None" = None
    digests: Mapping[str, str] = field(default_factory=dict)
    settings: tuple[str, ...] = ()
    """What they change in the study, as overrides."""


NO_OBJECTS = Objects()


def read(
    teacher: Any = None,
    student: Any = None,
    data: Any = None,
    test: Any = None,
    validation: Any = None,
    methods: Any = None,
) -> Objects:
    if data is None and not (test is None and validation is None):
        raise InputError("test, validation: they belong to data=…, which is not given.")
    if teacher is None and student is None and data is None and not methods:
        return NO_OBJECTS
    from tune_kd import models

    networks, settings, digests = _students(student)
    if teacher is not None:
        networks[TEACHER] = Same(_module(teacher))
        settings.append(f"teacher.model={TEACHER}")
        digests["teacher"] = _weights(teacher)
    if taken := sorted(set(networks) & set(models.names())):
        raise InputError(f"student: '{taken[0]}' is the name of a network that comes with tune_kd. Give another one.")
    dataset = None
    if data is not None:
        from tune_kd.data import objects

        dataset = objects.dataset(data, test, validation)
        settings.append(f"data.dataset={objects.NAME}")
        apart = {"test": test, "validation": validation}
        settings += [f"data.{role}_on=[{role}]" for role, given in apart.items() if given is not None]
        sources = dataset.sources.items()
        digests |= {f"data '{name}'": _digest(source.images.data, source.labels.data) for name, source in sources}
    digests |= {f"method '{name}'": _made(method) for name, method in (methods or {}).items()}
    return Objects(Travelling(networks, methods or {}), teacher, dataset, digests, tuple(settings))


class Same:
    """A factory that copies a network, whatever it is asked for: one that is given with its weights fits its images."""

    def __init__(self, network: "nn.Module") -> None:
        self._network = network

    def __call__(self, classes: int, in_shape: tuple[int, int, int]) -> "nn.Module":
        import copy

        return copy.deepcopy(self._network)


def _students(given: Any) -> tuple[dict[str, Factory], list[str], dict[str, str]]:
    """Networks by name, what that changes in the study, and a digest of each."""
    if given is None:
        return {}, [], {}
    named = dict(given) if isinstance(given, Mapping) else {STUDENT: given}
    for name, factory in named.items():
        if not callable(factory) or _is_module(factory):
            raise InputError(
                f"student: '{name}' is {type(factory).__name__}, and every trial needs a new network. Give a function "
                "that makes one, such as `lambda classes, in_shape: Net(classes)`."
            )
        if not isinstance(name, str) or not name.replace("_", "").isalnum():
            raise InputError(f"student: {name!r} is no name. Allowed: letters, digits and _, such as small.")
    settings = [f"student.model={next(iter(named))}"] if len(named) == 1 else []
    return named, settings, {f"student '{name}'": _made(factory) for name, factory in named.items()}


def _module(given: Any) -> "nn.Module":
    if not _is_module(given):
        raise InputError(f"teacher: {type(given).__name__} is no torch.nn.Module. Give the trained network itself.")
    module: nn.Module = given
    return module


def _is_module(given: Any) -> bool:
    from torch import nn

    return isinstance(given, nn.Module)


def _weights(module: "nn.Module") -> str:
    parts = [repr(module).encode()]
    for name, value in sorted(module.state_dict().items()):
        parts += [f"{name} {value.dtype} {tuple(value.shape)}".encode(), value.detach().cpu().contiguous().numpy().data]
    return _digest(*parts)


def _made(factory: Factory | type) -> str:
    """Of what makes the network: its name and its code, as far as Python tells."""
    code = getattr(factory, "__code__", None) or getattr(type(factory).__call__, "__code__", None)
    if isinstance(factory, type):
        each = sorted((name, one.__code__.co_code) for name, one in vars(factory).items() if hasattr(one, "__code__"))
        return _digest(repr((factory.__qualname__, each)).encode())
    told = getattr(factory, "__qualname__", type(factory).__qualname__)
    written = (code.co_code, repr([each for each in code.co_consts if not hasattr(each, "co_code")])) if code else ()
    return _digest(repr((told, written)).encode())


def _digest(*parts: Any) -> str:
    found = hashlib.sha256()
    for part in parts:
        found.update(part)
    return found.hexdigest()[:16]

"""The errors a user can meet. Each message says what was wrong, where, the value, what is allowed, what to do next."""

import difflib
from collections.abc import Iterable


class TuneKDError(Exception):
    """Something went wrong that we can explain; the message is meant for people."""

    exit_code = 1


class InputError(TuneKDError):
    """What the user gave cannot be used: a key, a value, a file, an address."""

    exit_code = 2


class StorageError(TuneKDError):
    """Checkpoints cannot be read or written where they are kept: no fault of the training that wanted to."""


class TakenOver(TuneKDError):
    """Another machine has gone on with this search, so this one has let go of it."""

    exit_code = 3


class TeacherFailed(TuneKDError):
    """There is no teacher, so there is nothing to compare."""


class Interrupted(KeyboardInterrupt):
    """A search that was stopped as somebody wished: everything is kept, and the message says how to go on.

    No `Exception`: Tune must neither swallow it nor wait for its trials.
    """


def did_you_mean(name: object, allowed: Iterable[str]) -> str:
    """' Did you mean 'x'?' for the nearest allowed name, or nothing."""
    near = difflib.get_close_matches(str(name), list(allowed), n=1, cutoff=0.6)
    return f" Did you mean '{near[0]}'?" if near else ""

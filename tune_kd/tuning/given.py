"""The ledger's note of the objects that a search was given in Python, and the comparison with those given now."""

from collections.abc import Mapping
from pathlib import Path

from optuna.storages import JournalStorage

from tune_kd.errors import InputError
from tune_kd.tuning.ledger_file import LedgerFile

GIVEN = "given objects"


def check(ledger: Path, digests: Mapping[str, str]) -> None:
    """Refuses to go on with other objects than those which the search was begun with."""
    before = _stored(ledger)
    changed = [key for key in sorted({*before, *digests}) if before.get(key) != digests.get(key)]
    if not changed:
        return
    lines = "\n".join(f"  {key}: {_told(before.get(key))} → {_told(digests.get(key))}" for key in changed)
    raise InputError(
        f"the objects are not those that the search was begun with:\n{lines}\nGive the same ones to tune_kd.search(…, "
        "resume=True) or to extend(…), or begin a new search with another name."
    )


def _stored(ledger: Path) -> Mapping[str, str]:
    studies = JournalStorage(LedgerFile(ledger)).get_all_studies()
    return next((study.user_attrs[GIVEN] for study in studies if GIVEN in study.user_attrs), {})


def _told(digest: str | None) -> str:
    return f"one with the digest {digest}" if digest else "none"

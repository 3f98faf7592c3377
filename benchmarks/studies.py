"""Published figures beside ours, from results folders, as a part of docs/results/studies.md.

    python -m benchmarks.studies FOLDER... --page docs/results/studies.md

A folder may be of a search that has not ended: its ledger has the finals that there are.
"""

import argparse
import json
import shlex
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import pandas as pd

from tune_kd import names, plan
from tune_kd.names import DISTILLED, SCRATCH
from tune_kd.space.load import load
from tune_kd.summary import cells, judge, published_notes, published_table, words
from tune_kd.summary.results import read
from tune_kd.training import checkpoint
from tune_kd.tuning import tables
from tune_kd.tuning.ledger import Ledger

TOLD: Final = (
    "conditions", "budget.trials", "budget.epochs", "budget.repeats", "teacher.model", "teacher.checkpoint",
    "teacher.epochs", "teacher.train.epoch_images", "train.epoch_images", "data.size", "data.split.validation",
    "data.split.test",
)  # fmt: skip
"""Keys by which a run differs from the study that ships; how fast it may be is nobody's business here."""

BEGIN: Final = "<!-- begin: made by benchmarks/studies.py -->"
END: Final = "<!-- end: made by benchmarks/studies.py -->"


def verdict_of(folder: Path) -> dict[str, Any]:
    if (folder / names.FINALS_FILE).exists():
        found = read(folder)
        return judge(found.study, found.trials, found.finals, found.teacher, found.facts)
    study = load(str(folder / names.STUDY_FILE))
    with tempfile.TemporaryDirectory() as scratch:
        ledger = Path(scratch) / names.LEDGER_FILE
        shutil.copy(folder / names.LEDGER_FILE, ledger)  # whoever writes to it has it locked
        todo = plan.make(study)
        finals = tables.finals_table(todo, Ledger(ledger, todo), "")
    made = folder / names.CHECKPOINT_DIR / "teacher.made"
    teacher = checkpoint.load(made)["facts"] if made.exists() else {}
    return judge(study.model_dump(mode="json"), pd.DataFrame(), finals, teacher, {})


def part(folder: Path) -> Iterator[str]:
    """One search: what it was, its figures beside the published ones, and what its words are."""
    verdict = verdict_of(folder)
    study = read_study(folder)
    counts = {arm: sum(cell[arm]["n"] for cell in verdict["cells"] if cell[arm]) for arm in (SCRATCH, DISTILLED)}
    yield f"### {verdict['study']}{', searched' if study['search'] else ''}{_reduced(study)}"
    yield ""
    done = f"{counts[DISTILLED]} distilled finals; {_finals_of(verdict, SCRATCH)} scratch finals in each cell"
    ended = (folder / names.FINALS_FILE).exists()
    unfinished = "" if ended else " **The search has not ended: these are the finals so far.**"
    yield f"`{command(study)}`: {done}.{unfinished}"
    yield ""
    # Beside what was trained for an hour elsewhere, a run of minutes would only look like a failure.
    if (found := published_table(verdict)) and not _reduced(study):
        columns, rows = found
        yield from _table(columns, rows)
        yield ""
    columns, rows = ["cell", "gain, points [95 %]", "over seeds and test images", "p", "word"], []
    for cell in verdict["cells"]:
        gain = cell["gain"]
        wide = gain["seeds_and_images"]
        said = f"[{words.points(wide[0])}, {words.points(wide[1])}]" if wide else words.DASH
        rows.append([cells.label(cell["cell"]), words.interval(gain), said, words.p_value(gain["p"]), cell["word"]])
    yield from _table(columns, rows)
    yield ""
    yield from () if _reduced(study) else (f"- {note}" for note in published_notes(verdict))
    yield ""


def read_study(folder: Path) -> Mapping[str, Any]:
    return load(str(folder / names.STUDY_FILE)).model_dump(mode="json")


def command(study: Mapping[str, Any]) -> str:
    """What repeats it, as far as it is not the study's own mode."""
    changed = _changes(study)
    sets = "".join(f" --set {shlex.quote(f'{key}={value}')}" for key, value in changed.items())
    return f"python -m tune_kd.search {study['study']} --set mode={study['mode']} --set data.root=DIR{sets}"


def _changes(study: Mapping[str, Any]) -> dict[str, Any]:
    """Where it is smaller than the study that ships."""
    whole = load(str(study["study"]), [f"mode={study['mode']}", *_cut(study)]).model_dump(mode="json")
    values = {key: (_at(whole, key), _at(study, key)) for key in TOLD}
    return dict(part.split("=") for part in _cut(study)) | {
        key: now if isinstance(now, str) else json.dumps(now) for key, (before, now) in values.items() if before != now
    }


def _cut(study: Mapping[str, Any]) -> list[str]:
    sized = study["study"] == "multi_source" and study["data"]["dataset"] != "folder"
    return [f"data.dataset={study['data']['dataset']}"] if sized else []


def _at(study: Mapping[str, Any], key: str) -> Any:
    found: Any = study
    for name in key.split("."):
        found = found[name]
    return found


def _reduced(study: Mapping[str, Any]) -> str:
    """A run that is smaller than its source's is called so."""
    smaller = {"budget.epochs", "data.size", "teacher.epochs", "teacher.model", "conditions"} & _changes(study).keys()
    return " (reduced: it shows that the study runs, not what it finds)" if smaller else ""


def _finals_of(verdict: Mapping[str, Any], arm: str) -> str:
    counts = sorted({cell[arm]["n"] for cell in verdict["cells"] if cell[arm]}) or [0]
    return " to ".join(map(str, dict.fromkeys((counts[0], counts[-1]))))


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(columns)} |"
    yield f"|{' --- |' * len(columns)}"
    yield from (f"| {' | '.join(row)} |" for row in rows)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.studies", description=__doc__)
    parser.add_argument("folders", nargs="+", type=Path, metavar="FOLDER")
    parser.add_argument("--page", type=Path, help="the page whose marked part is written anew; else it is printed")
    given = parser.parse_args(arguments)
    text = "\n".join([BEGIN, "", *(line for folder in given.folders for line in part(folder)), END])
    if given.page is None:
        print(text)
        return 0
    page = given.page.read_text(encoding="utf-8")
    before, _, rest = page.partition(BEGIN)
    given.page.write_text(before + text + rest.partition(END)[2], encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

"""How the words came about, for this study: what was compared, what the figures cover, and what is held fixed."""

from collections.abc import Mapping, Sequence
from typing import Any

from tune_kd.data import classes
from tune_kd.names import ACCURACY
from tune_kd.summary import cells, statistics

PAIRS = (
    "Differences are paired by seed and averaged; the 95 % interval is Student's paired t. With few pairs it is the "
    "right one: it is exact when differences are about normal, and it allows for having estimated their spread from so "
    "few. A bootstrap of five differences covers only 84 % where it promises 95 %. What pairing is worth is the pairs' "
    "correlation; it and the second opinion, which leaves the lowest and highest fifth of the pairs out (Yuen's "
    "interval), stand beside each gain in the report."
)
WORDS = (
    "p is the paired t test, corrected over all cells by Holm's method and for how often the results were looked at. A "
    "cell helps or hurts only where the interval excludes zero, the corrected p is below .05, and the second opinion "
    "points the same way. An arm that lost finals must win with these counted as guessing; one of whose finals some "
    "collapsed, in the middle pairs alone as well."
)
FIXED = (
    "Held fixed are the teacher, the training, validation and test images, and the settings that the search chose. The "
    "interval says what other seeds of the final trainings would change; the one over seeds and test images also what "
    "other test images of the same kind would. Neither speaks about another search, another teacher, or other data. "
    "Where images are augmented, all finals are shown the same views of an image, one an epoch, each final in an order "
    "of its own: what other views would change is in neither."
)
BEGINS = (
    "Students of both arms begin with the same pretrained weights: `scratch` here means without a teacher, not from "
    "random weights, and a gain is what the teacher adds to them."
)
SPENT = "Each look at the results spends four fifths of the 5 % that are left (Lan and DeMets): the first 4 %"


def text(
    study: Mapping[str, Any],
    searched: Sequence[str],
    looks: int,
    judged: Sequence[Mapping[str, Any]] = (),
    metric: str = ACCURACY,
    facts: Mapping[str, Any] | None = None,
) -> str:
    """`facts` are what was run; of one that ran before they had them, nothing is said of its classes."""
    tests, students = ((facts or {}).get(f"{whose}_images_per_class") for whose in ("test", "student"))
    about_data = [_by(metric), classes.words(_sizes(study), tests or (), students or {})]
    parts = [
        PAIRS,
        WORDS,
        BEGINS if pretrained(study) else "",
        *about_data,
        _unseen(judged),
        _looks(looks),
        FIXED,
        _teachers(study),
    ]
    parts.append(_searched(study, searched))
    return " ".join(filter(None, parts))


def pretrained(study: Mapping[str, Any]) -> bool:
    """Whether students begin with weights that somebody else trained."""
    student = study.get("student")
    return isinstance(student, Mapping) and bool(student.get("pretrained"))


def _sizes(study: Mapping[str, Any]) -> list[Any]:
    """The sizes that a study asks about; one that is searched may be any limited one, and `all` where it says so."""
    data, search = (part if isinstance(part := study.get(name), Mapping) else {} for name in ("data", "search"))
    searched = search.get("data.size")
    if isinstance(searched, Mapping):
        return [each for kind in ("choice", "grid") for each in searched.get(kind) or ()] or [0]
    return cells.levels(study).get("data.size") or [searched or data.get("size") or "all"]


def _teachers(study: Mapping[str, Any]) -> str:
    if "teacher.epochs" not in cells.levels(study):
        return ""
    return (
        "Each cell's teacher is one training, all of them with the same first weights and order of images: that one "
        "stopped earlier teaches better or worse is said of these trainings, and no interval covers others."
    )


def _unseen(judged: Sequence[Mapping[str, Any]]) -> str:
    """What no word covers: trainings that come to nothing more rarely than so few finals can show."""
    whole = [one for cell in judged for one in cell["lost"].values() if one and not one["lost"]]
    if not whole:
        return ""
    fewest = min(whole, key=lambda one: float(one["of"]))
    return (
        "No word covers a collapse that none of the finals showed: with "
        f"{fewest['of']} seeds, one in up to {100 * fewest['at_most']:.0f} % of trainings could have been missed "
        "(exact binomial bound, 95 %); `verdict.json` has the bound of each arm."
    )


def _by(metric: str) -> str:
    if metric == ACCURACY:
        return ""
    said = metric.replace("_", " ").replace("f1", "F1")
    return (
        f"Settings are chosen and arms compared by {said} (each class counts alike, however many images it has). Its "
        "interval over test images is not known here, so only that over seeds stands there."
    )


def _looks(looks: int) -> str:
    if looks < 2:
        return f"{SPENT}, so that going on with more finals afterwards keeps false alarms within 5 %."
    level = statistics.LEVEL * statistics.share_of(looks)
    return f"{SPENT}; this is look number {looks}, which had {100 * level:.2g} %."


def _searched(study: Mapping[str, Any], searched: Sequence[str]) -> str:
    """Both arms have the same number of trials, and the distilled one more to search with them."""
    own = [key for key in searched if key.startswith(cells.DISTILLATION)]
    shared = len(searched) - len(own)
    if not searched:
        return "Nothing was searched: each arm has the settings of the study."
    if not own:
        return ""
    if not shared:
        return (
            "Only settings of distillation were searched, so the scratch arm had nothing to search: what both arms "
            "share was tuned for neither, and may suit one better."
        )
    return (
        f"The distilled arm searched {len(searched)} settings, the scratch arm {shared}, with as many trials: if "
        "anything, that favours the scratch arm."
    )

"""How the words came about, for this study: what was compared, what the figures cover, and what is held fixed."""

from collections.abc import Mapping, Sequence
from typing import Any

from tune_kd.names import ACCURACY
from tune_kd.summary import cells, statistics

PAIRS = (
    "Differences are paired by seed and averaged; the 95 % interval is Student's paired t. With few pairs it is the "
    "right one: it is exact when differences are about normal, and it allows for having estimated their spread from so "
    "few. A bootstrap of five differences covers only 84 % where it promises 95 %. What pairing is worth is the pairs' "
    "correlation, which stands beside each gain. The second opinion leaves the lowest and highest fifth of the pairs "
    "out (Yuen's interval)."
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
RARER = 1.25
"""Classes that differ less in number are called alike."""
SPENT = "Each look at the results spends four fifths of the 5 % that are left (Lan and DeMets): the first 4 %"


def text(
    study: Mapping[str, Any],
    searched: Sequence[str],
    looks: int,
    judged: Sequence[Mapping[str, Any]] = (),
    metric: str = ACCURACY,
    tests: Sequence[int] = (),
) -> str:
    """`tests` has how many test images there are of each class."""
    about_data = [_by(metric), _classes(study, tests)]
    parts = [PAIRS, WORDS, *about_data, _unseen(judged), _looks(looks), FIXED, _teachers(study)]
    parts.append(_searched(study, searched))
    return " ".join(filter(None, parts))


def _classes(study: Mapping[str, Any], tests: Sequence[int]) -> str:
    """Where some classes are rarer: who was trained on which mix, and tested on which."""
    if not tests or max(tests) < RARER * min(tests):
        return ""
    data = study.get("data")
    sizes = cells.levels(study).get("data.size") or [data.get("size", "all") if isinstance(data, Mapping) else "all"]
    said = f"Classes are tested as they come, with {min(tests):,} to {max(tests):,} test images each."
    if all(size == "all" for size in sizes):
        return f"{said} Students learn from them as they come as well."
    return (
        f"{said} A limited data.size is balanced over classes as far as the images go, so its students learn from "
        "another mix than they are tested on; with `all` they learn from classes as they come."
    )


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
        return "Only settings of distillation were searched, so the scratch arm had nothing to search."
    return (
        f"The distilled arm searched {len(searched)} settings, the scratch arm {shared}, with as many trials: if "
        "anything, that favours the scratch arm."
    )

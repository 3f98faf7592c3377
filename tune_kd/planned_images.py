"""What a plan says of the images: how many there are of each class in each source, and who gets how many."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from rich.table import Table

from tune_kd.data import classes
from tune_kd.data.picture_cache import in_words
from tune_kd.data.sources import Images
from tune_kd.preparation import Prepared
from tune_kd.space.designs import levels
from tune_kd.space.study import Study, by_teacher, lessons

WIDEST = 50
"""Letters of all classes' names side by side; of more, the rarest and the most frequent are told instead of each."""


def sources_table(prepared: Prepared) -> Table:
    named = prepared.splits.classes
    few = len(" ".join(named)) <= WIDEST
    told = named if few else ("rarest class", "most frequent class")
    table = Table("source", "images", *told, header_style="bold")
    for source, counts in prepared.sources.items():
        shown = [f"{count:,}" for count in counts] if few else _ends(counts, named)
        table.add_row(source, f"{sum(counts):,}", *shown)
    return table


def _ends(counts: tuple[int, ...], named: tuple[str, ...]) -> list[str]:
    places = (pick(range(len(counts)), key=counts.__getitem__) for pick in (min, max))
    return [f"{named[place]} {counts[place]:,}" for place in places]


def _kept(images: Images) -> str | None:
    """What decoded images take, and where; those of a fixed size are read from files of their own each time."""
    if not isinstance(images, np.memmap) or images.filename is None:
        return None
    count, _, height, width = images.shape
    place = Path(images.filename).parent
    return f"Decoded, {count:,} images of {width} x {height} pixels take {in_words(images.nbytes)} in {place}."


def _for_nobody(study: Study, prepared: Prepared) -> str | None:
    """Images are set aside for a teacher before it is known to need none; a study has to say that."""
    count = len(prepared.splits.teacher)
    trained = any(made.teacher.checkpoint is None for own in by_teacher(study) for made in lessons(own))
    if not count or trained or study.data.overlap:
        return None
    return (
        f"The teacher is loaded, and learns nothing from the {count:,} images that are set aside for it: "
        "data.split.teacher: 0 gives them to the students."
    )


def image_words(study: Study, prepared: Prepared) -> Iterator[str]:
    """Who gets what, where some classes are rarer, and everything that a search would note about the images."""
    splits = prepared.splits
    students = ", ".join(f"{name} {len(own):,}" for name, own in splits.student.items() if len(own))
    set_apart = f"{len(splits.test):,} for tests, {len(splits.validation):,} for validation"
    yield f"Images: {set_apart}, {len(splits.teacher):,} for the teacher; for students {students}."
    if told := _for_nobody(study, prepared):
        yield told
    if kept := _kept(splits.images):
        yield kept
    if told := classes.words(levels(study, "data.size"), *prepared.per_class):
        yield told
    yield from prepared.notes

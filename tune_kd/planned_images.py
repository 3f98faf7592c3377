"""What a plan says of the images: how many there are of each class in each source, and who gets how many."""

from collections.abc import Iterator

from rich.table import Table

from tune_kd.preparation import Prepared

WIDEST = 50
"""Letters of all classes' names side by side; of more, the rarest and the most frequent are told instead of each."""


def sources_table(prepared: Prepared) -> Table:
    classes = prepared.splits.classes
    few = len(" ".join(classes)) <= WIDEST
    told = classes if few else ("rarest class", "most frequent class")
    table = Table("source", "images", *told, header_style="bold")
    for source, counts in prepared.sources.items():
        shown = [f"{count:,}" for count in counts] if few else _ends(counts, classes)
        table.add_row(source, f"{sum(counts):,}", *shown)
    return table


def _ends(counts: tuple[int, ...], classes: tuple[str, ...]) -> list[str]:
    places = (pick(range(len(counts)), key=counts.__getitem__) for pick in (min, max))
    return [f"{classes[place]} {counts[place]:,}" for place in places]


def image_words(prepared: Prepared) -> Iterator[str]:
    """Who gets what, and everything that a search would note about the images."""
    splits = prepared.splits
    students = ", ".join(f"{name} {len(own):,}" for name, own in splits.student.items() if len(own))
    set_apart = f"{len(splits.test):,} for tests, {len(splits.validation):,} for validation"
    yield f"Images: {set_apart}, {len(splits.teacher):,} for the teacher; for students {students}."
    yield from prepared.notes

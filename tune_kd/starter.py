"""--new: a first study, written from the images that a folder holds. It looks at names and headers only."""

import json
import os
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from tune_kd.data.pictures import shorter_side, suffixes
from tune_kd.data.splits import set_apart
from tune_kd.errors import InputError
from tune_kd.space import editor
from tune_kd.space.load import load

TEMPLATE: Final = "starter.yaml"
LAYOUT: Final = "Put them into FOLDER/SOURCE/CLASS/, such as photos/camera/cat/1.jpg; one source is enough."
TABLES: Final = (".csv", ".tsv", ".parquet", ".pq")
LOOKED_AT: Final = 40
"""Images of each source whose size is read."""
SHARES: Final = {"test": 0.25, "validation": 0.15, "teacher": 0.3}
"""Of a judged source; its students have the rest."""


@dataclass(frozen=True)
class Source:
    """A folder of classes, each with its images."""

    name: str
    classes: dict[str, list[Path]]

    @property
    def images(self) -> int:
        return sum(map(len, self.classes.values()))

    @property
    def rarest(self) -> str:
        return min(self.classes, key=lambda name: len(self.classes[name]))

    @property
    def fewest(self) -> int:
        return len(self.classes[self.rarest])


def write(file: Path, folder: Path) -> str:
    """Writes the study; returns what was found, in a sentence."""
    if file.exists():
        raise InputError(f"--new {file}: it is there already, and would be lost. Give another name, or move it away.")
    if not file.parent.is_dir():
        raise InputError(f"--new {file}: the folder {file.parent} is not there. Make it, or give another place.")
    sources = _sources(folder)
    _same_classes(sources)
    text = _text(file, folder, sources)
    load(text)  # what is offered must be a study
    file.write_text(text, encoding="utf-8")
    found = ", ".join(f"{source.name} ({source.images:,} images)" for source in sources)
    return f"{len(sources)} source{'s' * (len(sources) > 1)}: {found}; {len(sources[0].classes)} classes"


def _sources(folder: Path) -> list[Source]:
    if not folder.is_dir():
        table = folder.is_file() and folder.suffix.lower() in TABLES
        told = _by_hand("a table", "table", "file", folder) if table else " Give the folder that holds your images."
        raise InputError(f"--data {folder}: not a folder.{told}")
    tops = _folders(folder)
    found = [Source(top.name, {each.name: _files(each) for each in _folders(top)}) for top in tops]
    found = [source for source in found if source.images]
    if found:
        return found
    if any(_files(top) for top in tops):
        place = shlex.quote(str(folder))
        raise InputError(
            f"--data {folder}: its folders hold images themselves, so they are classes, and there is no source. Move "
            f"them one deeper, below any name:\n  mv {place} camera && mkdir {place} && mv camera {place}/\n{LAYOUT}"
        )
    if saved := next((path.name for path in _inside(folder) if _is_saved(path)), None):
        told = _by_hand(f"a data set of Hugging Face ({saved})", "hf", "root", folder)
        raise InputError(f"--data {folder}: no images were found as files of their own.{told}")
    raise InputError(f"--data {folder}: no images were found. {LAYOUT}")


def _by_hand(what: str, kind: str, key: str, place: Path) -> str:
    """What to do with images that lie in another form: a study can name them, but --new looks at folders alone."""
    data = f"data: {{dataset: {kind}, {key}: {json.dumps(str(place), ensure_ascii=False)}}}"
    return (
        f" This is {what}, and --new reads folders of images alone. Write the study yourself, as under 'Your own "
        f"images' in the README, with:\n  {data}"
    )


def _inside(folder: Path) -> list[Path]:
    """Files in it, and in the folders in it."""
    return [path for each in (folder, *_folders(folder)) for path in _visible(each)]


def _is_saved(path: Path) -> bool:
    return path.name in ("dataset_dict.json", "state.json") or path.suffix in (".arrow", ".parquet")


def _same_classes(sources: Sequence[Source]) -> None:
    every = {name for source in sources for name in source.classes}
    for source in sources:
        if missing := sorted(every - {name for name, files in source.classes.items() if files}):
            raise InputError(
                f"--data: source '{source.name}' has no images of {', '.join(missing[:8])}, which another source has. "
                "Every source needs every class: add images, or take the class, or the source, out."
            )


def _text(file: Path, folder: Path, sources: Sequence[Source]) -> str:
    side = int(median([side for source in sources for side in _sides(source)] or [32]))
    size = next((size for size in (224, 128, 96, 64, 32) if side >= 2 * size or size == 32), 32)
    test, validation = set_apart([source.name for source in sources])
    taught = [source for source in sources if source.name not in (*test, *validation)]
    judged = max(taught, key=lambda source: source.images)
    apart = {"test": test, "validation": validation}
    shares = {part: share for part, share in SHARES.items() if not apart.get(part)}
    least = min(int(source.images * (1 - sum(shares.values()) if source is judged else 1)) for source in taught)
    sizes = [str(_round(least // 4)), "all"] if least >= 400 else ["all"]
    names = [source.name for source in taught]
    mixes = [*names[:3], *([f"{names[0]}+{names[1]}"] if len(names) > 1 else [])]
    small = size < 64
    question = f"Does distillation help on the images of {folder.resolve().name}?"
    return _templates().get_template(TEMPLATE).render(
        question=json.dumps(question, ensure_ascii=False),
        schema=f"{editor.LINE}{editor.place()}",
        root=folder, file=file, sources=sources, classes=sorted(sources[0].classes), side=side,
        study=_name(file),
        root_text=json.dumps(str(folder), ensure_ascii=False), size=size,
        judged=f"[{json.dumps(judged.name, ensure_ascii=False)}]", shares=shares, taken=[*shares][:-1],
        apart={f"{part}_on": json.dumps(named, ensure_ascii=False) for part, named in apart.items() if named},
        teacher="resnet56" if small else "torchvision.resnet18",
        student="lightnn" if small else "torchvision.mobilenet_v3_small",
        batch=64, epoch_images=min(4000, max(400, _round(least))),
        mixes=json.dumps(mixes, ensure_ascii=False), sizes=f"[{', '.join(sizes)}]",
    )  # fmt: skip


def _templates() -> Environment:
    here = FileSystemLoader(Path(__file__).parent)
    return Environment(loader=here, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True,
                       keep_trailing_newline=True)  # fmt: skip


def _round(number: int) -> int:
    """To one significant digit, so that a size looks like one."""
    digit = int("1" + "0" * (len(str(number)) - 1))
    return max(10, number // digit * digit)


def _name(file: Path) -> str:
    kept = "".join(sign if sign.isascii() and (sign.isalnum() or sign in "_-") else "_" for sign in file.stem)
    return json.dumps(kept) if kept.isdecimal() else kept.lstrip("-") or "my_study"


def _sides(source: Source) -> list[int]:
    """The shorter sides of some images, evenly over the classes."""
    files = [path for files in source.classes.values() for path in files]
    looked_at = files[:: max(1, len(files) // LOOKED_AT)][:LOOKED_AT]
    return list(filter(None, map(shorter_side, looked_at)))  # the search lists those that cannot be read


def _folders(parent: Path) -> list[Path]:
    try:
        return sorted(path for path in parent.iterdir() if path.is_dir() and not path.name.startswith("."))
    except OSError as error:
        raise InputError(f"--data: the folder {parent} cannot be opened: {error.strerror}.") from None


def _files(folder: Path) -> list[Path]:
    """Its pictures: by their names, and those whose names say nothing."""
    return [path for path in _visible(folder) if not path.suffix or path.suffix.lower() in suffixes()]


def _visible(folder: Path) -> list[Path]:
    with os.scandir(folder) as entries:
        return sorted(Path(entry.path) for entry in entries if entry.is_file() and not entry.name.startswith("."))

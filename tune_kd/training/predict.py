"""Classify pictures with the exported student beside this file. Needs torch, NumPy and Pillow, nothing else.

python predict.py picture.png [FOLDER ...] [--csv out.csv] [--benchmark] [--int8]
"""

import argparse
import csv
import json
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps

BATCH = 32


def pictures(places: Sequence[Path]) -> Iterator[Path]:
    """Files as they are named, and all below folders."""
    for place in places:
        yield from sorted(path for path in place.rglob("*") if path.is_file()) if place.is_dir() else [place]


def pixels(file: Path, shape: Sequence[int], interpolation: str = "bicubic") -> torch.Tensor:
    """A picture as it was seen in training: upright, on white, its middle cut out; (1, channels, height, width)."""
    channels, height, width = shape
    with Image.open(file) as opened:
        picture: Image.Image = ImageOps.exif_transpose(opened)
        if picture.has_transparency_data:
            picture = picture.convert("RGBA")
            picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture)
        picture = picture.convert("L" if channels == 1 else "RGB")
        square = ImageOps.fit(picture, (width, height), Image.Resampling[interpolation.upper()])
    return torch.from_numpy(np.array(square)).reshape(1, height, width, channels).permute(0, 3, 1, 2).contiguous()


def classify(model: Any, files: Sequence[Path], facts: dict[str, Any]) -> Iterator[tuple[Path, str, float]]:
    """File, class and chance of each; a file that is no picture is named and left out."""
    found: list[tuple[Path, torch.Tensor]] = []
    for place, file in enumerate(files, 1):
        try:
            found.append((file, pixels(file, facts["in_shape"], facts["interpolation"])))
        except (OSError, ValueError, Image.DecompressionBombError) as error:
            print(f"{file}: left out ({error})", file=sys.stderr)
        if found and (len(found) == BATCH or place == len(files)):
            with torch.inference_mode():
                # The pixels are 0...255 as they are: the model normalises by itself.
                chances = model(torch.cat([each for _, each in found])).softmax(1)
            for (one, _), row in zip(found, chances, strict=True):
                yield one, facts["classes"][int(row.argmax())], float(row.max())
            found = []


def benchmark(model: Any, shape: Sequence[int]) -> str:
    """Milliseconds a batch on this machine: the median of 30 after 5 that do not count, one thread."""
    torch.set_num_threads(1)
    lines = []
    for size in (1, BATCH):
        batch = torch.zeros(size, *shape, dtype=torch.uint8)
        taken = []
        with torch.inference_mode():
            for _ in range(35):
                started = time.perf_counter()
                model(batch)
                taken.append(1000 * (time.perf_counter() - started))
        middle = median(taken[5:])
        lines.append(f"{size} at once: {middle:.2f} ms, {1000 * size / middle:,.0f} pictures a second on one thread")
    return "\n".join(lines)


def int8(file: Path) -> Any:
    """The quantized model, by ONNX Runtime, on one thread."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(file), options)
    return lambda batch: torch.from_numpy(session.run(None, {"pixels": batch.numpy()})[0])


def main() -> int:
    parser = argparse.ArgumentParser(description="Classify pictures with the model beside this file.")
    parser.add_argument("places", nargs="*", type=Path, metavar="PICTURE", help="pictures, or folders of them")
    parser.add_argument("--csv", type=Path, metavar="FILE", help="write file, class and chance as CSV")
    parser.add_argument("--benchmark", action="store_true", help="measure how fast the model is here")
    parser.add_argument("--int8", action="store_true", help="with model.int8.onnx; needs onnxruntime")
    given = parser.parse_args()
    here = Path(__file__).parent
    small = here / "model.int8.onnx"
    if given.int8 and not small.exists():
        parser.error(f"--int8: there is no {small.name} beside this file; the search had no `int8` extra.")
    facts = json.loads((here / "model.json").read_text(encoding="utf-8"))
    model = int8(small) if given.int8 else torch.export.load(here / "model.pt2").module()
    rows = []
    for file, label, chance in classify(model, list(pictures(given.places)), facts):
        rows.append((str(file), label, f"{chance:.4f}"))
        print(f"{file}: {label} ({chance:.1%})")
    if given.csv:
        with given.csv.open("w", newline="", encoding="utf-8") as table:
            csv.writer(table).writerows([("file", "class", "chance"), *rows])
    if given.benchmark:
        print(benchmark(model, facts["in_shape"]))
    return 0 if rows or not given.places else 1


if __name__ == "__main__":
    sys.exit(main())

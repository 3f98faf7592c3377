"""Many photo-sized images: how fast they are decoded, what a killed process leaves, a worker's memory, and its waiting.

    python -m benchmarks.large_images --images 20000 --side 224

Photos are made by seed, in JPEG, larger than networks see them. One process decodes them and is killed half-way, and
another goes on. Then students are trained on them, a process each: with batches made beside the training and
without, in turn, and on a tenth of the images. Waiting is the time between asking for a batch and having it.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from benchmarks.driven import scratch
from benchmarks.measuring import Figure, Result, in_turn, median, own_mb, parser, progress, report, require_equal
from tune_kd import names
from tune_kd.data import decoding, folders, sources
from tune_kd.space.load import load
from tune_kd.training import batches, train
from tune_kd.training.images import Images, as_tensor

CLASSES = 10
WAITING = 0.05
WORKER_MB = 600.0
WARM = 2
"""Batches that do not count."""


def main() -> int:
    flags = parser(__doc__, rounds=3)
    flags.add_argument("--images", type=int, default=20_000)
    flags.add_argument("--side", type=int, default=224, help="pixels at which images are kept and seen (224)")
    flags.add_argument("--student", default="torchvision.mobilenet_v3_small")
    flags.add_argument("--augment", default="crop_flip")
    flags.add_argument("--batch", type=int, default=32)
    flags.add_argument("--batches", type=int, default=12, help="of a training (12)")
    flags.add_argument("--root", type=Path, help="where the photos are or are made; else they are removed")
    flags.add_argument("--part", choices=["decode", "train"], help=argparse.SUPPRESS)
    flags.add_argument("--beside", type=int, default=1, help=argparse.SUPPRESS)
    given = flags.parse_args()
    if given.part:
        print(json.dumps(decoded(given) if given.part == "decode" else trained(given)))
        return 0
    return report("large_images", given, lambda: measure(given))


def measure(given: argparse.Namespace) -> Result:
    with scratch() as folder:
        given.root = given.root or folder / "photos"
        draw(given.root, given.images)
        cache = given.root / ".tune_kd"
        for left in cache.glob("*") if cache.exists() else ():
            left.unlink()
        progress("decoding, until it is killed")
        kill_half_way(given, cache)
        progress("decoding the rest")
        rest, again = part(given, "decode"), part(given, "decode")
        require_equal("images", first=rest["images"], again=again["images"], drawn=given.images)
        require_equal("decoded twice", none=0, again=again["decoded"])
        size = sum(file.stat().st_size for file in cache.iterdir())
        sides = {"beside": lambda: part(given, "train"), "in turn": lambda: part(given, "train", "--beside=0")}
        told = in_turn(sides, given.rounds)
        require_equal("losses", **{side: [each["loss"] for each in found] for side, found in told.items()})
        tenth = part(given, "train", f"--images={max(given.images // 10, given.batch * given.batches)}")
    own = median([each["own_mb"] for each in told["beside"]])
    figures = {
        "images decoded a second of a core": Figure(rest["decoded"] / rest["cpu_seconds"], "images/s"),
        "decoded anew after the kill ÷ all": Figure(rest["decoded"] / given.images),
        "all found again": Figure(again["seconds"], "s"),
        "cache": Figure(size / 1e9, "GB", note=f"{size / given.images / 1e3:.1f} KB an image"),
        "waiting for data, batches made beside": share(told["beside"]),
        "waiting for data, one after the other": share(told["in turn"]),
        "a worker's own memory": Figure(own, "MB", at_most=WORKER_MB),
        "of that before it trained": Figure(told["beside"][0]["before_mb"], "MB"),
        "own memory, all images ÷ a tenth of them": Figure(own / tenth["own_mb"]),
    }
    settings = {key: str(getattr(given, key)) for key in ("images", "side", "student", "augment", "batch", "batches")}
    return Result(settings, figures, {**told, "tenth": [tenth], "decoding": [rest, again]}, {})


def share(found: list[dict[str, Any]]) -> Figure:
    speed = median([each["images_per_second"] for each in found])
    waited = median([each["waited"] / each["seconds"] for each in found])
    return Figure(waited, "of the time", at_most=WAITING, note=f"{speed:.1f} images/s")


def part(given: argparse.Namespace, name: str, *more: str) -> dict[str, Any]:
    done = subprocess.run([*command(given, name), *more], capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def command(given: argparse.Namespace, name: str) -> list[str]:
    keys = ("images", "side", "student", "augment", "batch", "batches", "root")
    return [sys.executable, "-m", "benchmarks.large_images", "--part", name] + [
        f"--{key}={getattr(given, key)}" for key in keys
    ]


def kill_half_way(given: argparse.Namespace, cache: Path) -> None:
    """As soon as half of the images are noted as decoded."""
    process = subprocess.Popen(command(given, "decode"), stdout=subprocess.DEVNULL)
    while process.poll() is None:
        time.sleep(0.2)
        for listed in cache.glob("*.rows"):
            if len(np.load(listed)["sums"]) >= given.images // 2:
                process.kill()
                process.wait()
                return


def draw(root: Path, number: int) -> None:
    """Photos of 400 x 320 pixels, smooth colours under noise, about 50 KB each; those that are there stay."""
    for k in range(number):
        path = root / "made" / f"class{k % CLASSES}" / f"{k}.jpg"
        if path.exists():
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        random = np.random.default_rng(k)
        smooth = Image.fromarray(random.integers(0, 256, (20, 25, 3), dtype=np.uint8)).resize((400, 320))
        noise = random.integers(-20, 20, (320, 400, 1))
        Image.fromarray(np.clip(np.asarray(smooth) + noise, 0, 255).astype(np.uint8)).save(path, quality=85)


def decoded(given: argparse.Namespace) -> dict[str, Any]:
    count: list[int] = []
    honest: Any = vars(decoding)["decode"]

    def counting(*what: Any) -> Any:
        count.append(1)
        return honest(*what)

    setattr(decoding, "decode", counting)  # noqa: B010
    began, worked = time.perf_counter(), time.process_time()
    found = sources.load(folders.Settings(root=str(given.root), image_size=given.side))
    spent = {"seconds": time.perf_counter() - began, "cpu_seconds": time.process_time() - worked}
    return spent | {"images": sum(len(each.labels) for each in found.sources.values()), "decoded": len(count)}


def trained(given: argparse.Namespace) -> dict[str, Any]:
    """One thread, as a worker; batches drawn from all images."""
    torch.set_num_threads(1)
    pixels = np.load(given.root / ".tune_kd" / f"images-{given.side}.npy", mmap_mode="r")[: given.images]
    labels = np.arange(given.images) % CLASSES
    images = Images(as_tensor(pixels), as_tensor(labels), (0.5,) * 3, (0.25,) * 3, CLASSES)
    study = load(
        f"study: large\nstudent: {{model: {given.student}}}\naugment: {{kind: {given.augment}}}\n"
        f"train: {{batch_size: {given.batch}}}\nbudget: {{epochs: 1}}\n"
        "search: {train.lr: {loguniform: [0.001, 0.01]}}\n"
    )
    if not given.beside:
        setattr(batches, "ahead", lambda made, beside: made)  # noqa: B010
    before, times, waits = own_mb(), [], []

    def timed(*what: Any) -> Iterator[Any]:
        made = batches.batches(*what)
        while True:
            times.append(time.perf_counter())
            batch = next(made, None)
            waits.append(time.perf_counter() - times[-1])
            if batch is None:
                return
            yield batch

    setattr(train, "batches", timed)  # noqa: B010
    chosen = torch.from_numpy(np.random.default_rng(0).permutation(given.images)[: given.batch * given.batches])
    heard: list[dict[str, float]] = []
    saved = given.root.parent / f"student{os.getpid()}.pt"
    train.train(train.Job(study, chosen, torch.arange(0), 0, 1), images, None, heard.append, saved)
    saved.unlink()
    seconds, number = times[-1] - times[WARM], len(times) - 1 - WARM
    return {
        "seconds": seconds,
        "waited": sum(waits[WARM:]),
        "images_per_second": number * given.batch / seconds,
        "loss": heard[-1][names.TRAIN_LOSS],
        "before_mb": before,
        "own_mb": own_mb(),
    }


if __name__ == "__main__":
    sys.exit(main())

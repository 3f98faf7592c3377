"""How near a training comes to what the core could do: images a second against the rate of plain matrix products.

    python -m benchmarks.core_efficiency --root DIR_OF_CIFAR

LightNN costs 6.9 MFLOP an image to train, so a core whose matrix products run at R FLOP/s could train R ÷ 6.9 M images
a second if it did nothing else. The rate is measured in turn with the training, in bf16 and in fp32; the faster counts.
"""

import argparse
import os
import sys
import time

import torch

from benchmarks import exercise
from benchmarks.cached_step import Steps
from benchmarks.driven import scratch
from benchmarks.measuring import Figure, Result, in_turn, median, parser, report

FLOP_PER_IMAGE = 6.9e6
GOAL = 0.5
SIDE = 512
SECONDS = 0.5
IMAGES, BF16, FP32 = "images/s", "bf16 FLOP/s", "fp32 FLOP/s"


def main() -> int:
    flags = parser(__doc__, rounds=9)
    exercise.add_flags(flags, images=8192, epochs=2)
    given = flags.parse_args()
    torch.set_num_threads(1)
    return report("core_efficiency", given, lambda: measure(given))


def measure(given: argparse.Namespace) -> Result:
    with scratch() as folder:
        os.environ["TUNE_KD_CACHE"] = str(folder / "cache")
        steps = Steps(exercise.make(given, folder))
        steps.rate(None, folder)
        told = in_turn(
            {
                IMAGES: lambda: steps.rate(None, folder),
                BF16: lambda: matrix_rate(torch.bfloat16),
                FP32: lambda: matrix_rate(torch.float32),
            },
            given.rounds,
        )
    # Without bf16 instructions its products are emulated; the core's own rate is then that of fp32.
    faster = max((BF16, FP32), key=lambda kind: median(told[kind]))
    shares = [images * FLOP_PER_IMAGE / rate for images, rate in zip(told[IMAGES], told[faster], strict=True)]
    note = "" if faster == BF16 else "against fp32: this processor has no fast bf16"
    figures = {
        "images/s ÷ what the matrix rate allows": Figure(median(shares), at_least=GOAL, note=note),
        IMAGES: Figure(median(told[IMAGES]), IMAGES),
        "bf16 matrix rate": Figure(median(told[BF16]) / 1e9, "GFLOP/s"),
        "fp32 matrix rate": Figure(median(told[FP32]) / 1e9, "GFLOP/s"),
    }
    settings = {"images": given.images, "epochs": given.epochs, "threads": 1, "cifar": bool(given.root)}
    return Result(settings, figures, told)


def matrix_rate(kind: torch.dtype) -> float:
    """FLOP/s of square products on one thread."""
    one, other = (torch.randn(SIDE, SIDE).to(kind) for _ in range(2))
    one @ other
    started, products = time.perf_counter(), 0
    # By the clock, as a processor without bf16 takes a hundred times as long for them.
    while time.perf_counter() - started < SECONDS:
        one @ other
        products += 1
    return 2 * SIDE**3 * products / (time.perf_counter() - started)


if __name__ == "__main__":
    sys.exit(main())

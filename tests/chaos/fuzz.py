"""python -m tests.chaos.fuzz --examples 2000: broken study files and images, many more than in the ordinary tests."""

import argparse
import importlib.util
import sys
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from hypothesis import HealthCheck, settings

TESTS = Path(__file__).parents[1]
FUZZED = (TESTS / "space" / "test_study_fuzz.py", TESTS / "data" / "test_pictures.py")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.fuzz", description=__doc__)
    parser.add_argument("--examples", type=int, default=2000, help="of each kind (default: %(default)s)")
    given = parser.parse_args()
    warnings.simplefilter("ignore")  # Pillow's, about what is wrong with an image
    counts: Counter[str] = Counter()
    for name, test in (found for path in FUZZED for found in _fuzz_tests(_module(path))):
        started = time.monotonic()
        _prepare(name, test, given.examples, counts)
        test()  # Raises with the smallest example that fails.
        print(f"{counts[name]:8,} examples in {time.monotonic() - started:4.0f} s  {name}", flush=True)
    print(f"{counts.total():8,} examples, each a study, an image or one message; no traceback")
    return 0


def _module(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _fuzz_tests(module: ModuleType) -> Iterator[tuple[str, Any]]:
    for name, test in vars(module).items():
        if name.startswith("test_") and hasattr(test, "hypothesis"):
            yield name, test


def _prepare(name: str, test: Any, examples: int, counts: Counter[str]) -> None:
    """So many examples instead of the test's own number, and each of them counted."""
    inner: Callable[..., None] = test.hypothesis.inner_test

    def counted(*arguments: Any, **named: Any) -> None:
        counts[name] += 1
        inner(*arguments, **named)

    test.hypothesis.inner_test = counted
    test._hypothesis_internal_use_settings = settings(
        max_examples=examples, deadline=None, suppress_health_check=list(HealthCheck)
    )


if __name__ == "__main__":
    sys.exit(main())

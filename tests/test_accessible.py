"""Reports and documentation under axe-core: nothing serious, at desktop and phone width, light, dark, and in print."""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.browser import NEEDED, Browser, opened
from tests.summary import fronts, synthetic
from tune_kd.names import REPORT_FILE, VERDICT_FILE
from tune_kd.summary import write
from tune_kd.summary.__main__ import main
from tune_kd.summary.growing import Grown, growing

ROOT = Path(__file__).parents[1]
PHONE, PAPER = (390, False), (688, None)
"""A width, and whether it is dark; of A4 between its margins, neither."""
SCREENS = [(1280, False), (1280, True), PHONE, (390, True), PAPER]
RUN = (
    "axe.run(document, {resultTypes: ['violations']}).then(found => found.violations"
    ".filter(one => ['serious', 'critical'].includes(one.impact))"
    ".map(one => one.id + ': ' + one.nodes.slice(0, 3).map(node => node.target.join(' ')).join(', ')))"
)
pytestmark = NEEDED


@pytest.fixture(scope="module")
def axe() -> str:
    """Of npm's axe-core: `npm install --no-save axe-core` in the checkout."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("no node here: install it, and axe-core with npm, to check pages with axe")
    done = subprocess.run(
        [node, "-p", "require.resolve('axe-core/axe.min.js')"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if done.returncode:
        pytest.skip("no axe-core here: npm install --no-save axe-core")
    return Path(done.stdout.strip()).read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with opened(tmp_path_factory.mktemp("profile")) as one:
        yield one


def faults(
    browser: Browser, axe: str, page: Path, screens: Sequence[tuple[int, bool | None]] = SCREENS
) -> dict[Any, Any]:
    found = {}
    for width, dark in screens:
        browser.look(page.as_uri(), width, dark=bool(dark), paper=dark is None)
        if dark is None:
            browser.ask("dispatchEvent(new Event('beforeprint'))")
        browser.ask(f"{axe};1")
        wide = browser.ask("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        found[width, dark] = browser.ask(RUN) + ([f"{wide} pixels stick out"] if wide > 0 else [])
    return {screen: told for screen, told in found.items() if told}


def test_axe_finds_what_is_wrong(browser: Browser, axe: str, tmp_path: Path) -> None:
    page = tmp_path / "wrong.html"
    page.write_text("<!doctype html><title>x</title><body><img src=x><p style='color:#ccc'>pale", encoding="utf-8")
    told = " ".join(faults(browser, axe, page)[1280, False])
    for fault in ("image-alt", "color-contrast", "html-has-lang"):
        assert fault in told


@pytest.mark.parametrize("kind", ["plain", "front", "growing", "compared"])
def test_reports(browser: Browser, axe: str, tmp_path: Path, kind: str) -> None:
    page = tmp_path / REPORT_FILE
    if kind == "growing":
        arms = [Grown(cell, arm, 3, 18, 0, 5, [[0.4, 0.6], [0.5]], "lr 0.1")
                for cell in ("size=100", "size=400") for arm in ("distilled", "scratch")]  # fmt: skip
        page.write_text(growing("first", "Does it help?", "3 of 72 trials begun", arms, True), encoding="utf-8")
    elif kind == "compared":
        for name in ("one", "two"):
            synthetic.write_folder(tmp_path / name)
        main([str(tmp_path / "one"), str(tmp_path / "two"), "--out", str(page)])
    else:
        write((fronts if kind == "front" else synthetic).write_folder(tmp_path))
    assert faults(browser, axe, page) == {}


def test_a_report_of_many_cells_and_students_fits_a_phone_and_paper(browser: Browser, axe: str, tmp_path: Path) -> None:
    students = ["digits_student_tiny", "digits_student", "digits_teacher"]
    asked = {"student.model": students, "data.source": ["drawn", "scanned", "drawn+scanned"], "data.size": [100, 400]}
    page, verdict = tmp_path / REPORT_FILE, tmp_path / VERDICT_FILE
    synthetic.write_folder(tmp_path, synthetic.Plan(conditions=asked, trials=6))
    known = json.loads(verdict.read_text())
    # As long as real ones are, without a place to break it at.
    address = (
        "http://127.0.0.1:5000/#/experiments/1/runs?workflowType=machine_learning&viewStateShareKey=tune_kd-83ff60"
    )
    known["facts"]["mlflow"] = {"command": "mlflow ui", "page": address}
    verdict.write_text(json.dumps(known))
    write(tmp_path)
    assert faults(browser, axe, page, [PHONE, PAPER]) == {}
    # On a screen of a desk the verdict is seen whole, the settings included.
    browser.look(page.as_uri())
    assert browser.ask("(box => box.scrollWidth - box.clientWidth)(document.querySelector('#verdict .scroll'))") == 0


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("material", reason="the site needs `pip install -e '.[docs]'`")
    folder = tmp_path_factory.mktemp("site")
    subprocess.run([sys.executable, "-m", "mkdocs", "build", "-q", "-d", str(folder)], cwd=ROOT, check=True)
    return folder


@pytest.mark.parametrize("place", ["index", "tutorials/cluster", "how-to/write-a-study", "reference/study", "faq"])
def test_the_documentation(browser: Browser, axe: str, site: Path, place: str) -> None:
    assert faults(browser, axe, site / f"{place}.html") == {}


def test_the_documentation_is_as_light_or_dark_as_the_system_is(browser: Browser, site: Path) -> None:
    for dark in (False, True, False):
        browser.look((site / "faq.html").as_uri(), dark=dark)
        browser.wait(f"document.body.dataset.mdColorScheme === '{'slate' if dark else 'default'}'")

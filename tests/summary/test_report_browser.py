"""The report in a real browser: it renders, its script runs, nothing sticks out, and keys read the points."""

import json
import re
import shutil
import subprocess
from html import unescape

import pytest

from tests.patience import PATIENCE
from tune_kd import names
from tune_kd.summary import write

from . import synthetic

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(BROWSER is None, reason="no Chromium here: install chromium to check the report in it")

HARNESS = """<!doctype html><title>waiting</title><body><script>
const look = (frame, width) => {
  const page = frame.contentDocument, view = frame.contentWindow;
  const sizes = [...page.querySelectorAll("figure svg[role=img]")].map(one => one.getBoundingClientRect());
  const plot = page.querySelector(".plot[tabindex]"), key = name =>
    plot.dispatchEvent(new view.KeyboardEvent("keydown", {key: name, bubbles: true, cancelable: true}));
  const tip = () => page.querySelector(".tip").hidden ? "" : page.querySelector(".tip").textContent;
  key("ArrowRight"); const first = tip(); key("End"); const last = tip(); key("Escape");
  const box = (plot.querySelector(".mean") ?? plot).getBoundingClientRect();
  const move = gap => plot.querySelector("svg").dispatchEvent(new view.PointerEvent("pointermove",
    {bubbles: true, clientX: box.left + box.width / 2 + gap, clientY: box.top + box.height / 2 + gap}));
  const after = tip(); move(7); const near = tip(); move(-900); const far = tip();
  return {width, near, far, ready: page.documentElement.dataset.ready, charts: sizes.length, after, first, last,
    smallest: Math.min(...sizes.map(one => Math.min(one.width, one.height))),
    overflow: page.documentElement.scrollWidth - page.documentElement.clientWidth,
    text: parseFloat(view.getComputedStyle(page.querySelector("figure svg text")).fontSize)
      * sizes[0].width / page.querySelector("figure svg[role=img]").viewBox.baseVal.width,
    dark: view.matchMedia("(prefers-color-scheme: dark)").matches,
    paper: view.getComputedStyle(page.body).backgroundColor};
};
const found = [];
for (const width of [1280, 390]) {
  const frame = document.createElement("iframe");
  frame.width = width; frame.height = 2000; frame.src = "REPORT";
  frame.onload = () => {
    found.push(look(frame, width));
    if (found.length === 2) document.body.innerHTML = `<pre>${JSON.stringify(found)}</pre>`;
  };
  document.body.append(frame);
}
</script>"""


def browse(page, profile, *flags):
    """The page's elements once its scripts have run, and what the browser logged."""
    command = [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    command += [f"--user-data-dir={profile}", "--enable-logging=stderr", "--v=0", *flags, "--dump-dom", page.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
    return done.stdout, [line for line in done.stderr.splitlines() if "CONSOLE" in line]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = synthetic.write_folder(tmp_path_factory.mktemp("search"))
    write(folder)
    return folder


@pytest.fixture(scope="module")
def seen(folder, tmp_path_factory):
    """What a desktop and a phone show, in one run of the browser."""
    harness = folder / "harness.html"
    harness.write_text(HARNESS.replace("REPORT", names.REPORT_FILE))
    flags = ("--allow-file-access-from-files", "--disable-web-security", "--virtual-time-budget=8000")
    dom, console = browse(harness, tmp_path_factory.mktemp("profile"), "--force-dark-mode", *flags)
    assert console == []
    shown = re.search(r"<pre>(.*)</pre>", dom, re.DOTALL)
    assert shown, f"the report did not load: {dom[-500:]}"
    return sorted(json.loads(unescape(shown[1])), key=lambda one: -one["width"])


def test_renders_alone_without_console_errors(folder, tmp_path):
    dom, console = browse(folder / names.REPORT_FILE, tmp_path)
    assert 'data-ready="yes"' in dom[:200]
    assert console == []


def test_every_chart_is_visible_at_both_widths(seen):
    assert [one["ready"] for one in seen] == ["yes", "yes"]
    assert all(one["charts"] > 20 and one["smallest"] > 40 for one in seen)


def test_nothing_sticks_out_and_text_stays_readable(seen):
    assert [one["overflow"] for one in seen] == [0, 0]
    assert all(one["text"] >= 10 for one in seen)


def test_arrow_keys_read_the_points(seen):
    for one in seen:
        assert one["first"].startswith("drawn, 100 images")
        assert one["last"].startswith("scanned, 400 images")
        assert one["after"] == ""


def test_a_pointer_need_not_hit_a_point_exactly(seen):
    for one in seen:
        assert one["near"].startswith("drawn, 100 images")
        assert one["far"] == ""


def test_dark_mode_is_dark(seen):
    assert all(one["dark"] and one["paper"] == "rgb(20, 22, 26)" for one in seen)

"""README and docs/: links lead somewhere, studies load, commands parse, Python compiles, the site builds."""

import ast
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from docs import _make
from tune_kd import options
from tune_kd.space import editor, reference
from tune_kd.space.load import load

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
PAGES = [README, ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
NAMES = [page.relative_to(ROOT).as_posix() for page in PAGES]
GENERATED = {ROOT / "docs" / place for place in _make.PAGES}
FENCE = re.compile(r"^( *)```(\w*)[^\n]*\n(.*?)^\1```", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)|(?:src|srcset|href)=\"([^\"]+)\"")


def blocks(page: Path, *kinds: str) -> list[str]:
    text = page.read_text(encoding="utf-8")
    return [
        re.sub(rf"^{indent}", "", body, flags=re.MULTILINE)
        for indent, kind, body in FENCE.findall(text)
        if kind in kinds
    ]


def anchors(page: Path) -> set[str]:
    text = page.read_text(encoding="utf-8")
    slugs = {
        re.sub(r"\s+", "-", re.sub(r"[^\w\s-]", "", head).strip().lower())
        for head in re.findall(r"^#+ (.*)", text, re.M)
    }
    return slugs | set(re.findall(r'id="([^"]+)"', text))


def test_what_the_readme_says_of_what_you_have_is_a_study() -> None:
    """Its rows are pasted into one, and so are the keys that they name beside it."""
    table = README.read_text(encoding="utf-8").partition("| you have |")[2].partition("\n\n")[0]
    rows = [re.findall(r"`([^`]*: [^`]*)`", row.rpartition(" | ")[2]) for row in table.splitlines()[2:]]
    assert len(rows) >= 5
    for written, *beside in rows:
        section, _, keys = written.partition(": ")
        for key in (None, *beside):
            own = keys if key is None else keys.replace("name: owner/name", "")[:-1].rstrip(", ") + f", {key}}}"
            other = "" if section == "data" else "data: {dataset: digits}\n"
            load(f"study: pasted\n{other}{section}: {own}\nsearch: {{train.lr: {{uniform: [0.01, 0.1]}}}}\n")


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_links_lead_somewhere(page: Path) -> None:
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    for link in filter(None, (one or other for one, other in LINK.findall(text))):
        if "://" in link:
            continue
        place, _, anchor = link.partition("#")
        target = (page.parent / place).resolve() if place else page
        assert target.exists() or target in GENERATED, f"{page.name}: {link}"
        assert page not in (README,) or target not in GENERATED, f"{link} is only on the site, not where README is read"
        if anchor and target not in GENERATED:
            assert anchor in anchors(target), f"{page.name}: {link}"


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_studies_load(page: Path) -> None:
    for text in blocks(page, "yaml"):
        if re.search(r"^study:", text, re.M):
            assert load(text).study


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_commands_parse(page: Path) -> None:
    for line in "\n".join(blocks(page, "sh", "")).replace("\\\n", " ").splitlines():
        for command in re.split(r"&&|\|", line):
            words = shlex.split(command, comments=True)
            if words[:3] == ["python", "-m", "tune_kd.search"] and "…" not in words:
                options.parse(words[3:])


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_python_compiles(page: Path) -> None:
    for text in blocks(page, "python"):
        ast.parse(text)


def test_the_readme_is_short_and_begins_with_the_two_commands() -> None:
    text = README.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 150
    install, tests = [block for block in blocks(README, "") if "venv" in block]
    assert install.strip().endswith("&& python -m tune_kd.search")
    assert tests.strip().endswith("&& pytest")


def test_the_reference_names_every_option_and_every_key() -> None:
    help_text = subprocess.run(
        [sys.executable, "-m", "tune_kd.search", "--help"], capture_output=True, text=True, check=True
    ).stdout
    wanted = set(re.findall(r"--[a-z][a-z-]*", help_text))
    assert "--set" in wanted
    assert {option for option in wanted if option not in _make.command()} == set()
    page = _make.study()
    assert {key.name for key in reference.every_key() if f"`{key.name}`" not in page} == set()
    assert "| `budget.trials` | trials of each arm of each cell" in page.replace('<a id="budget.trials"></a>', "")


@pytest.mark.parametrize("place", sorted(set(_make.PAGES)))
def test_generated_pages_have_a_title_and_something_below(place: str) -> None:
    page = _make.PAGES[place]()
    assert page.startswith("# ")
    assert len(page.splitlines()) > 4 or place == "reference/api.md"


def test_every_page_is_in_the_navigation_once() -> None:
    pages = ["index.md", "faq.md", "add/method.md", "tutorials/own-images.md", "tutorials/first-search.md", "new.md"]
    assert _make.navigation(pages) == [
        {"Home": "index.md"},
        {"Tutorials": ["tutorials/first-search.md", "tutorials/own-images.md"]},
        {"How to add a …": ["add/method.md"]},
        "faq.md",
        {"More": ["new.md"]},
    ]


def test_the_schema_that_editors_read_is_that_of_the_code() -> None:
    assert editor.place().read_text(encoding="utf-8") == editor.text(), "run: python -m tune_kd.space.editor"


def test_shells_complete_options() -> None:
    shtab = pytest.importorskip("shtab", reason="completion needs `pip install shtab`")
    for shell in ("bash", "zsh"):
        assert "--tracking-uri" in shtab.complete(options.parser(), shell)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("material", reason="the site needs `pip install -e '.[docs]'`")
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "-q", "-d", str(folder)]
    # A proxy that nobody answers: the site is built without a network.
    nowhere = dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), "http://127.0.0.1:9")
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=os.environ | nowhere)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_the_site_is_built_and_loads_nothing_from_elsewhere(site: Path) -> None:
    pages = list(site.rglob("*.html"))
    assert len(pages) > 25
    for page in pages:
        loaded = re.findall(
            r"<(?:script|link|img)[^>]*(?:src|href)=\"(https?:[^\"]*)\"", page.read_text(encoding="utf-8")
        )
        assert loaded == [], page.name


@pytest.mark.skipif(shutil.which("git") is None or not (ROOT / ".git").exists(), reason="no checkout")
def test_the_built_site_is_not_kept() -> None:
    done = subprocess.run(["git", "check-ignore", "-q", "site/index.html"], cwd=ROOT)
    assert done.returncode == 0

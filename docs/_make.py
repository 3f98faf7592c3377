"""The pages of the reference, made from the code whenever the site is built; `python -m docs._make` prints them."""

import importlib
import inspect
import json
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

ORDER = ("index.md", "tutorials", "how-to", "explanation", "reference", "results", "add", "faq.md", "comparison.md")
TITLES = {"tutorials": "Tutorials", "how-to": "How to …", "explanation": "Explanation", "reference": "Reference",
          "results": "Results", "add": "How to add a …"}  # fmt: skip
FIRST = (
    "tutorials/first-search.md", "tutorials/own-images.md", "tutorials/reading-a-report.md", "tutorials/own-teacher.md",
    "tutorials/python.md", "explanation/how-it-works.md", "explanation/words.md", "reference/study.md",
    "reference/command.md", "reference/api.md", "results/studies.md",
)  # fmt: skip
"""Pages that stand before the others of their folder."""


def study() -> str:
    """Every key of a study."""
    from tune_kd.space import reference

    lines = [
        "# The study file",
        "",
        "Made from the schema. A key with • may stand under `conditions` (every level is answered separately) or under "
        "`search` (Optuna chooses); the others have one value. `--set KEY=VALUE` reaches each. "
        "[How a study is written](../how-to/write-a-study.md) explains the rest; [editors](../how-to/editor.md) "
        "complete and check these keys.",
        "",
    ]
    sections: dict[str, list[str]] = {}
    for key in reference.every_key():
        sections.setdefault(key.name.rpartition(".")[0], []).append(_row(key))
    for head, rows in sections.items():
        lines += ["", f"## {'`' + head + '`' if head else 'At the top'}", ""]
        lines += ["| key | what it means | takes | default | example |", "| --- | --- | --- | --- | --- |", *rows]
    return "\n".join(lines) + "\n"


def _row(key: Any) -> str:
    default = (
        "required" if key.required else f"`{_shown(key.default)}`" if key.default not in (None, "", (), {}) else ""
    )
    name = f'<a id="{key.name}"></a>`{key.name}`{" •" if key.varies else ""}'
    means = key.means + (f". Published: {key.published}" if key.published else "")
    cells = (name, means, key.allowed, default, f"`{_shown(key.example)}`")
    return "| " + " | ".join(str(cell).replace("|", "\\|") for cell in cells) + " |"


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, default=str, ensure_ascii=False)


def command() -> str:
    """Every option of the commands, from their own help."""
    lines = ["# The commands", "", "`tune-kd` is short for `python -m tune_kd.search`.", ""]
    for module, text in (
        ("tune_kd.search", "Runs a search, says what one would run, goes on with one, or sends one to a cluster."),
        ("tune_kd.summary", "Judges a results folder anew, without Ray, MLflow or the images; or compares several."),
        ("tune_kd.tracking", "Delivers to MLflow what a search could not."),
    ):
        lines += [f"## `python -m {module}`", "", text, "", "```text", _help(module), "```", ""]
    return "\n".join(lines)


@cache
def _help(module: str) -> str:
    import subprocess

    done = subprocess.run(
        [sys.executable, "-m", module, "--help"], capture_output=True, text=True, check=True, cwd=ROOT
    )
    return done.stdout.strip()


def api() -> str:
    """What `import tune_kd` offers."""
    import tune_kd

    lines = ["# The Python API", ""]
    public = [name for name in getattr(tune_kd, "__all__", []) if not name.startswith("_")]
    if not public:
        return "\n".join([*lines, "There is none beside the command."]) + "\n"
    lines += ["What `import tune_kd` offers. [Python, from nothing](../tutorials/python.md) has examples.", ""]
    for name in public:
        lines += list(_member(f"tune_kd.{name}", getattr(tune_kd, name), "##"))
    return "\n".join(lines) + "\n"


def _member(name: str, member: Any, depth: str) -> Iterable[str]:
    called = callable(member) and not isinstance(member, property)
    signature = f"{_signature(member)}" if called else ""
    yield from (f"{depth} `{name}`", "")
    if signature:
        yield from ("```text", f"{name.rpartition('.')[2]}{signature}", "```", "")
    yield from (inspect.cleandoc(inspect.getdoc(member) or ""), "")
    if inspect.isclass(member) and not issubclass(member, BaseException) and depth == "##":
        for each, inner in vars(member).items():
            if not each.startswith("_") and (callable(inner) or hasattr(inner, "__get__")) and inspect.getdoc(inner):
                yield from _member(f"{name.rpartition('.')[2]}.{each}", inner, "###")


def _signature(member: Any) -> str:
    try:
        return str(inspect.signature(member)).replace("typing.", "").replace("collections.abc.", "")
    except (TypeError, ValueError):
        return ""


def names() -> str:
    """Metrics, tags, files and columns, from names.py with its own remarks."""
    source = Path(importlib.import_module("tune_kd.names").__file__ or "").read_text(encoding="utf-8")
    lines = ["# Names", "", "Every metric, tag, column and file name, as the code has them. [The results "
             "folder](results.md) says which table has which.", ""]  # fmt: skip
    for line in source.splitlines():
        if line.startswith("# "):
            lines += ["", f"## {line[2:].rstrip('.')}", ""]
        _, equals, value = line.partition(": Final = ")
        if equals and value.startswith('"'):
            lines.append(f"- `{json.loads(value)}`")
    return "\n".join(lines) + "\n"


def models() -> str:
    """Networks by name and their size."""
    from tune_kd.models import build, registry
    from tune_kd.training.measures import parameter_count

    lines = [
        "# Networks",
        "",
        "By name, for `teacher.model` and `student.model`; sizes are counted as this page is made. `resnetN_a` have "
        "the parameter-free shortcuts of the original paper, which foreign CIFAR-10 checkpoints often have. "
        "`torchvision.NAME` is a classifier of torchvision. `module:function` is your own: it is called with "
        "`classes=` and `in_shape=(channels, height, width)` and returns a module that gives logits.",
        "",
        "| name | parameters, 10 classes | 100 classes | images |",
        "| --- | ---: | ---: | --- |",
    ]
    for name in registry.names():
        shape = (1, 8, 8) if name.startswith("digits") else (3, 32, 32)
        ten, hundred = (parameter_count(build(name, classes=classes, in_shape=shape)) for classes in (10, 100))
        lines.append(f"| `{name}` | {ten:,} | {hundred:,} | {'×'.join(map(str, shape))} |")
    return "\n".join(lines) + "\n"


def code() -> str:
    """Every module and the first line of what it says of itself."""
    import ast

    lines = ["# Where things are", "", "Every module, and what it says of itself.", ""]
    lines += ["| module | what it is |", "| --- | --- |"]
    for path in sorted((ROOT / "tune_kd").rglob("*.py"), key=lambda path: (len(path.parts), path)):
        said = (ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "").partition("\n")[0]
        if said:
            lines.append(f"| `{path.relative_to(ROOT)}` | {said.replace('|', chr(92) + '|')} |")
    return "\n".join(lines) + "\n"


def beside(place: str) -> Callable[[], str]:
    """A page that lies beside the code, where people look for it on a forge; links to files stay words here."""

    def page() -> str:
        text = (ROOT / place).read_text(encoding="utf-8")
        return re.sub(r"\[([^\]]+)\]\((?!http|#)[^)]*\)", r"\1", text)

    return page


PAGES: dict[str, Callable[[], str]] = {
    "reference/study.md": study,
    "reference/command.md": command,
    "reference/api.md": api,
    "reference/names.md": names,
    "reference/models.md": models,
    "reference/code.md": code,
    "results/benchmarks.md": beside("benchmarks/README.md"),
    "reference/deploy.md": beside("deploy/README.md"),
    "changelog.md": beside("CHANGELOG.md"),
}


def on_files(files: Any, config: Any) -> Any:
    """mkdocs asks for more pages."""
    from mkdocs.structure.files import File

    for place, make in PAGES.items():
        files.append(File.generated(config, place, content=make()))
    config.nav = navigation([file.src_uri for file in files.documentation_pages()])
    return files


def navigation(pages: Sequence[str]) -> list[Any]:
    """A folder a chapter. Pages that nobody ordered come after those that are, so a new one needs no line anywhere."""
    rank = {page: place for place, page in enumerate(FIRST)}
    ordered = sorted(pages, key=lambda page: (rank.get(page, len(rank)), page))
    chapters: list[Any] = []
    for chapter in ORDER:
        inside = [page for page in ordered if page == chapter or page.startswith(f"{chapter}/")]
        inside = [{"Home": page} if page == "index.md" else page for page in inside]
        chapters += [{TITLES[chapter]: inside}] if chapter in TITLES and inside else inside
    rest = [page for page in ordered if page.partition("/")[0] not in ORDER]
    return [*chapters, *([{"More": rest}] if rest else [])]


if __name__ == "__main__":
    for where, page in PAGES.items():
        print(f"<!-- {where} -->\n{page()}")

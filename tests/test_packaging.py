"""The package as a whole: its wheel, its README, who imports what, how fast the command answers, how long files are."""

import ast
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from tune_kd.space.load import load

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "tune_kd"
WRITING = (ROOT / "docs/how-to/write-a-study.md").read_text(encoding="utf-8")
LONGEST = 350

PLAIN = (*("data", "models", "distill", "space", "training", "teacher", "storage", "tuning"),)
"""The parts that know nothing of who runs them and who keeps the record."""


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_of(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def part_of(module: str) -> str:
    """`tune_kd.data.cifar` belongs to `data`."""
    return module.split(".")[1] if "." in module else ""


@cache
def imports_of(module: str) -> frozenset[str]:
    """Every module that this one imports, inside functions too; imports that only a type checker sees do not count."""
    return frozenset(_imported(ast.parse(MODULES[module].read_text(encoding="utf-8"))))


def _imported(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
        return
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        assert node.level == 0, "imports are absolute here"
        yield str(node.module)
        yield from (f"{node.module}.{alias.name}" for alias in node.names)
    for child in ast.iter_child_nodes(node):
        yield from _imported(child)


def libraries_behind(module: str) -> set[str]:
    """What is reached from a module through any of ours."""
    seen, todo = {module}, [module]
    while todo:
        found = {name for name in imports_of(todo.pop()) if name in MODULES} - seen
        seen |= found
        todo += found
    return {name.partition(".")[0] for each in seen for name in imports_of(each)}


def importers_of(library: str) -> set[str]:
    return {name for name in MODULES if any(each.partition(".")[0] == library for each in imports_of(name))}


@pytest.mark.parametrize("part", PLAIN)
def test_the_parts_below_know_neither_ray_nor_mlflow(part: str) -> None:
    modules = [name for name in MODULES if part_of(name) == part]
    assert modules
    for module in modules:
        assert not libraries_behind(module) & {"ray", "mlflow"}, module


def test_only_tracking_imports_mlflow() -> None:
    assert {part_of(name) for name in importers_of("mlflow")} == {"tracking"}


def test_only_execution_and_the_cluster_import_ray() -> None:
    assert {part_of(name) for name in importers_of("ray")} == {"cluster", "execution"}


def test_the_summary_needs_no_heavy_library() -> None:
    for module in (name for name in MODULES if part_of(name) == "summary"):
        assert not libraries_behind(module) & {"ray", "mlflow", "torch", "torchvision"}, module


def test_nothing_imports_torchvision_at_module_level() -> None:
    for module, path in MODULES.items():
        named = _imported_at_once(ast.parse(path.read_text(encoding="utf-8")))
        assert not any(name.partition(".")[0] == "torchvision" for name in named), module


def _imported_at_once(node: ast.AST) -> Iterator[str]:
    """What a file imports as soon as it is imported itself."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        yield str(node.module)
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            yield from _imported_at_once(child)


def test_a_worker_loads_neither_torchvision_nor_mlflow() -> None:
    loaded = loaded_after("import tune_kd.execution.trial")
    assert {"ray", "torch"} <= loaded
    assert not loaded & {"torchvision", "mlflow"}


def test_without_its_environment_the_command_says_so_and_no_traceback() -> None:
    # Without site-packages, as in a Python that knows nothing of the environment it was installed into.
    command = [sys.executable, "-S", "-m", "tune_kd.search"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: {sys.executable} has no 'rich'")
    assert "Activate the environment" in done.stderr
    assert "Traceback" not in done.stderr


def test_help_answers_at_once() -> None:
    import resource  # not on every system that the package runs on

    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    help_text = subprocess.run([sys.executable, "-m", "tune_kd.search", "--help"], capture_output=True, text=True)
    spent = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before
    assert help_text.returncode == 0
    assert "--resume" in help_text.stdout
    assert spent < 2
    assert not loaded_after("import tune_kd.search") & {"torch", "torchvision", "ray", "mlflow", "optuna", "pandas"}


def loaded_after(statement: str) -> set[str]:
    """The top-level modules of a fresh Python after one statement."""
    program = f"import sys\n{statement}\nprint(*{{name.partition('.')[0] for name in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_files_stay_short() -> None:
    lengths = {name: len(path.read_text(encoding="utf-8").splitlines()) for name, path in MODULES.items()}
    assert {name: length for name, length in lengths.items() if length > LONGEST} == {}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy, so that no build folder is left in the checkout, and without a network."""
    pytest.importorskip("setuptools", minversion="77", reason="needs setuptools 77 or newer to build a wheel")
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for folder in ("tune_kd", "search_spaces"):
        shutil.copytree(ROOT / folder, source / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for file in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / file, source)
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "-q",
        "--no-deps",
        "--no-build-isolation",
        "-w",
        str(target),
        str(source),
    ]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return next(target.glob("*.whl"))


def test_the_wheel_holds_every_module_template_and_study(wheel: Path) -> None:
    modules = {path.relative_to(ROOT).as_posix() for path in MODULES.values()}
    studies = {f"tune_kd/search_spaces/{path.name}" for path in (ROOT / "search_spaces").glob("*.[yj]*")}
    assert len(studies) >= 1
    pages = {
        path.relative_to(ROOT).as_posix()
        for kind in ("html", "css", "js", "yaml", "md")
        for path in PACKAGE.rglob(f"*.{kind}")
    }
    assert len(pages) >= 3
    assert modules | studies | pages <= set(zipfile.ZipFile(wheel).namelist())


def test_an_installed_wheel_finds_its_studies_from_anywhere(wheel: Path, tmp_path: Path) -> None:
    site = tmp_path / "site"
    zipfile.ZipFile(wheel).extractall(site)
    program = (
        f"import sys; sys.path.insert(0, {str(site)!r})\n"
        "import tune_kd; from tune_kd.search import main\n"
        f"assert tune_kd.__file__.startswith({str(site)!r})\n"
        "main(['--list'])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "quickstart" in done.stdout


def test_constraints_name_versions_and_nothing_else() -> None:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [line.partition("==") for line in lines if not line.startswith("#")]
    assert all(name and equals and version and not set(version) & set("/@+ ") for name, equals, version in pins)
    pinned = {name.lower() for name, _, _ in pins}
    assert {"ray", "torch", "torchvision", "optuna", "mlflow", "pandas", "pyarrow", "pytest"} <= pinned
    assert {"timm", "safetensors", "huggingface_hub", "datasets"} <= pinned


def test_the_study_of_the_docs_is_one() -> None:
    example = WRITING.partition("```yaml\n")[2].partition("```")[0]
    study = load(example)
    assert study.conditions["data.source"] == ("google", "sd2", "google+sd2")
    assert study.search["kd.rest_weight"].when == {"kd.method": ("dkd",)}


@pytest.mark.parametrize(
    ("override", "key", "place"),
    [
        ("budget.trials=50", "budget.trials", ""),
        ("data.size=200", "data.size", ""),
        ("conditions.data.size=[50,200]", "data.size", "conditions"),
        ("search.kd.alpha.uniform=[0,1]", "kd.alpha", "search"),
        ("search.kd.alpha=null", "kd.alpha", ""),
    ],
)
def test_the_overrides_of_the_docs_do_what_they_say(override: str, key: str, place: str) -> None:
    assert override in WRITING
    study = load("quickstart", [override])
    assert (key in study.conditions, key in study.search) == (place == "conditions", place == "search")


def test_deciding_needs_neither_ray_nor_torch() -> None:
    for module in (name for name in MODULES if part_of(name) == "tuning"):
        assert not libraries_behind(module) & {"ray", "torch"}, module

"""Who imports whom: the direction of ARCHITECTURE.md, read from the source."""

import ast
import pathlib

import pytest

ROOT = pathlib.Path(__file__).parents[2]
MAY = {
    "version": set(),
    "types": set(),
    "files": set(),
    "backend": set(),
    "math": {"backend", "types"},
    "data": {"math", "types", "files"},
    "layers": {"backend", "math", "types"},
    "losses": {"math", "types"},
    "models": {"backend", "math", "layers", "losses", "data", "types", "files"},
    "attacks": {"backend", "math", "losses", "models", "data", "types"},
    "objectives": {"attacks", "losses", "models", "math", "layers", "types"},
    "evaluation": {
        "attacks",
        "models",
        "losses",
        "data",
        "math",
        "backend",
        "files",
        "version",
        "types",
    },
    "training": {
        "objectives",
        "attacks",
        "models",
        "losses",
        "layers",
        "data",
        "math",
        "backend",
        "files",
        "version",
        "types",
        "evaluation",
    },
    "recipes": {"training", "objectives", "attacks", "models", "data"},
}


def imported(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def packages(path):
    names = {n.split(".")[1] for n in imported(path) if n.startswith("sharedkeras.")}
    return names & set(MAY)


FILES = sorted(p for p in (ROOT / "sharedkeras").rglob("*.py") if p.parent != ROOT / "sharedkeras")


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_direction(path):
    own = path.relative_to(ROOT / "sharedkeras").parts[0]
    found = packages(path) - {own}
    assert found <= MAY[own], f"{path} imports {found - MAY[own]}"
    if own == "training" and path.name != "callbacks.py":
        assert "evaluation" not in found


@pytest.mark.parametrize("top", ["sharedkeras", "zoo", "export"])
def test_nothing_imports_apps_and_the_library_imports_no_zoo(top):
    for path in (ROOT / top).rglob("*.py"):
        tops = {name.split(".")[0] for name in imported(path)}
        assert "apps" not in tops
        if top == "sharedkeras":
            assert not tops & {"zoo", "export"}, path


def test_no_app_is_called_like_a_package():
    names = {p.stem for p in (ROOT / "apps").glob("*.py")}
    assert not names & {"zoo", "export", "sharedkeras", "keras", "tests", "jax", "numpy"}


def test_frameworks_are_imported_in_their_place_only():
    for path in FILES:
        if path.parts[-2] != "backend":
            tops = {name.split(".")[0] for name in imported(path)}
            assert not tops & {"tensorflow", "jax", "torch"}, path

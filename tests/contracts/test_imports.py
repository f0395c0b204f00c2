"""Who imports whom: the directions of ARCHITECTURE.md, read from the source, file by file."""

import importlib
import pathlib
import shutil

import pytest
from support import import_graph

import sharedkeras

ROOT = pathlib.Path(__file__).parents[2]
TOPS = ("sharedkeras", "zoo", "export")
GROUND = {"arguments", "durations", "environment", "files", "version"}
MAY = {
    **{name: set() for name in GROUND},
    "backend": set(),
    "math": {"backend"},
    "data": {"math"},
    "layers": {"backend", "math"},
    "losses": {"math"},
    "models": {"backend", "math", "layers", "losses", "data"},
    "attacks": {"backend", "math", "losses", "models", "data"},
    "objectives": {"attacks", "losses", "models", "math", "layers"},
    "evaluation": {"attacks", "models", "losses", "data", "math", "backend"},
    "training": {"objectives", "attacks", "models", "losses", "layers", "data", "math", "backend"},
    "recipes": {"training", "objectives", "attacks", "models", "data"},
    "zoo": {"models", "data", "evaluation"},
    "export": {"models", "layers", "data"},
}
"""What the files of a package import beside the ground: files that import nothing above them."""
MAY_IN_EVALUATION = {
    "verbs": {"estimating", "suites", "judging", "checks", "report"},
    "estimating": {"suites", "judging", "report"},
    "suites": {"checks", "report"},
    "judging": {"checks", "report"},
    "checks": {"report"},
    "report": set(),
}
"""The same for the rooms of `evaluation`; its verbs are the files beside them."""
VALIDATES = "sharedkeras.training.callbacks"
"""The one file of `training` that may judge."""


def package(name):
    """Return the part of the library that a module belongs to."""
    top, _, rest = name.partition(".")
    return rest.split(".")[0] if top == "sharedkeras" else top


def room(name):
    """Return the room of `evaluation` that a module belongs to."""
    third = name.split(".")[2]
    return third if third in MAY_IN_EVALUATION else "verbs"


def wrong_edges(edges):
    for name, targets in edges.items():
        own = package(name)
        if own == "":  # `sharedkeras` itself, which offers all.
            continue
        for target in targets:
            other = package(target)
            allowed = {own, *GROUND, *MAY[own]}
            if name == VALIDATES:
                allowed = {*allowed, "evaluation"}
            if other not in allowed:
                yield f"{name} imports {target}"
            inside = own == other == "evaluation" and name.count(".") > 1 and target.count(".") > 1
            if inside and room(target) not in {room(name), *MAY_IN_EVALUATION[room(name)]}:
                yield f"{name} imports {target}"


def violations(root):
    """Return what is wrong with the imports of a tree, as sentences."""
    edges = import_graph.graph(root, TOPS)
    found = [f"circle: {' - '.join(group)}" for group in import_graph.circles(edges)]
    found += wrong_edges(edges)
    for name, path in import_graph.modules(root, TOPS).items():
        tops = {module.split(".")[0] for module, _ in import_graph.imported_names(path)}
        if "apps" in tops or "app_support" in tops:
            found.append(f"{name} imports apps")
        if not name.startswith(("export", "sharedkeras.backend")):
            found += [f"{name} imports {top}" for top in tops & {"tensorflow", "jax", "torch"}]
    return found


def test_directions_and_no_circle():
    assert violations(ROOT) == []


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    root = tmp_path_factory.mktemp("tree")
    for top in TOPS:
        for path in (ROOT / top).rglob("*.py"):
            target = root / path.relative_to(ROOT)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, target)
    return root


@pytest.mark.parametrize(
    ("file", "line", "expected"),
    [
        ("sharedkeras/math/norms.py", "from sharedkeras import models", "imports sharedkeras.models"),
        ("sharedkeras/arguments.py", "import sharedkeras.data.load", "imports sharedkeras.data.load"),
        (
            "sharedkeras/models/cnn.py",
            "import sharedkeras.attacks.pgd",
            "imports sharedkeras.attacks.pgd",
        ),
        ("sharedkeras/losses/margin.py", "from sharedkeras.losses import cross_entropy", "circle: "),
        ("sharedkeras/attacks/pgd.py", "def f():\n    from sharedkeras.attacks import FGSM", "circle: "),
        (
            "sharedkeras/training/trainer.py",
            "from sharedkeras import evaluation",
            "imports sharedkeras.e",
        ),
        ("sharedkeras/data/load.py", "import zoo", "load imports zoo"),
        ("sharedkeras/layers/__init__.py", "import sharedkeras", "imports sharedkeras"),
        (
            "sharedkeras/evaluation/report/finding.py",
            "from sharedkeras.evaluation.report.report import Report",
            "circle: sharedkeras.evaluation.report.finding",
        ),
        (
            "sharedkeras/evaluation/checks/upper_bound.py",
            "from sharedkeras.evaluation.judging.judge import judge",
            "upper_bound imports sharedkeras.evaluation.judging.judge",
        ),
        (
            "sharedkeras/evaluation/suites/paper.py",
            "from sharedkeras.evaluation.craft import craft",
            "paper imports sharedkeras.evaluation.craft",
        ),
        ("sharedkeras/models/build.py", "import tensorflow as tf", "build imports tensorflow"),
        ("zoo/cards_index.py", "from zoo.loading import load", "circle: zoo.cards_index"),
        ("zoo/loading.py", "import export", "loading imports export"),
        ("export/contract.py", "import export", "circle: "),
        ("export/parity.py", "from apps import train", "parity imports apps"),
    ],
)
def test_one_line_the_wrong_way_round_is_found(copy, file, line, expected):
    path = copy / file
    source = path.read_text("utf-8")
    path.write_text(f"{source}\n{line}\n")
    try:
        found = violations(copy)
    finally:
        path.write_text(source)
    assert any(expected in sentence for sentence in found), found


def test_circles_are_the_strongly_connected_components():
    edges = {"a": {"b"}, "b": {"c"}, "c": {"b", "d"}, "d": {"e"}, "e": set(), "f": {"f"}, "g": {"a"}}
    assert import_graph.circles(edges) == [["b", "c"], ["f"]]
    assert import_graph.circles({"a": {"b"}, "b": {"c"}, "c": {"a"}}) == [["a", "b", "c"]]
    assert import_graph.circles({"a": {"b", "c"}, "b": {"d"}, "c": {"d"}, "d": set()}) == []


def test_no_app_is_called_like_a_package():
    files = [*(ROOT / "apps").glob("*.py"), *(p for p in (ROOT / "apps").iterdir() if p.is_dir())]
    names = {path.stem for path in files}
    assert not names & {*TOPS, "keras", "tests", "support", "benchmarks", "jax", "numpy", "absl", "ray"}


def public_names(name):
    """Return what a package offers, or None where the module is none of the public ones."""
    public = {*TOPS, *(f"sharedkeras.{part}" for part in sharedkeras.__all__)}
    return set(importlib.import_module(name).__all__) if name in public else None


@pytest.mark.parametrize("path", sorted((ROOT / "apps").rglob("*.py")), ids=lambda path: path.stem)
def test_apps_import_public_names_only(path):
    for module, attribute in import_graph.imported_names(path):
        if module.split(".")[0] not in TOPS:
            continue
        offered = public_names(module)
        assert offered is not None, f"{path.name} imports {module}"
        assert attribute is None or attribute in offered, f"{path.name} imports {attribute} of {module}"

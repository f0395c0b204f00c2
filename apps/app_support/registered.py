"""Names that the library registers, read from its source: importing them would load a framework."""

import ast
import dataclasses
import importlib.util
import pathlib
import types
from typing import Any

_NO_RECIPES = ("__init__", "recipe", "find")
_FOR_DEFAULTS = {"dataclasses": dataclasses}


def _files(*parts):
    package = pathlib.Path(importlib.util.find_spec("sharedkeras").origin).parent
    path = package.joinpath(*parts)
    return sorted(path.glob("*.py")) if path.is_dir() else [path]


def _trees(*parts):
    return [ast.parse(file.read_text("utf-8")) for file in _files(*parts)]


def _keys(tree, table):
    for node in tree.body:
        if isinstance(node, ast.Assign) and node.targets[0].id == table:
            return tuple(key.value for key in node.value.keys)
    raise ValueError(f"The source has no dict of that name. Received: table={table!r}")


def objectives():
    """List the names of `sharedkeras.objectives`, sorted."""
    (tree,) = _trees("objectives", "registry.py")
    return tuple(sorted(_keys(tree, "_OBJECTIVES")))


def models():
    """List the names of `sharedkeras.models` that stand for one network each, sorted."""
    (tree,) = _trees("models", "build.py")
    return tuple(sorted(_keys(tree, "_BUILDERS")))


def attacks():
    """List the names of attacks that judge; `pgd<steps>` stands for pgd1, pgd2, ..."""
    (tree,) = _trees("evaluation", "suites", "registry.py")
    return _keys(tree, "_ATTACKS")


def versions():
    """List the versions of AutoAttack."""
    (tree,) = _trees("evaluation", "suites", "ensemble.py")
    return _keys(tree, "_VERSIONS")


def training_attacks():
    """List the names of `sharedkeras.attacks.registry`, sorted."""
    (tree,) = _trees("attacks", "registry.py")
    return tuple(sorted(_keys(tree, "_ATTACKS")))


def schedules():
    """List the names of learning rates, sorted."""
    (tree,) = _trees("training", "learning_rates.py")
    return tuple(sorted(_keys(tree, "_SCHEDULES")))


def recipes():
    """List the names of `sharedkeras.recipes`, sorted."""
    calls = [n for tree in _trees("recipes") for n in ast.walk(tree) if isinstance(n, ast.Call)]
    named = [c for c in calls if isinstance(c.func, ast.Name) and c.func.id == "Recipe"]
    return tuple(sorted(k.value.value for c in named for k in c.keywords if k.arg == "name"))


def recipe_values():
    """Read the recipes' values without the classes and functions that they name.

    Their modules are run with a stand-in for `Recipe`, which has its fields and checks nothing; of other
    imports they have those of one another and of Python's own library.

    Returns:
        List of dicts, a recipe's fields each.
    """
    (tree,) = _trees("recipes", "recipe.py")
    stand_in, known = _stand_in(tree, "Recipe"), {}
    names = [path.stem for path in _files("recipes") if path.stem not in _NO_RECIPES]
    modules = [_recipe_module(name, stand_in, known) for name in names]
    return [dataclasses.asdict(recipe) for module in modules for recipe in module.RECIPES]


def _recipe_module(name, stand_in, known):
    if name in known:
        return known[name]
    (tree,) = _trees("recipes", f"{name}.py")
    values, body = {"Recipe": stand_in}, []
    for node in tree.body:
        if not (isinstance(node, ast.ImportFrom) and node.module.startswith("sharedkeras")):
            body.append(node)
        elif node.module == "sharedkeras.recipes":
            values |= {a.name: _recipe_module(a.name, stand_in, known) for a in node.names}
    exec(compile(ast.Module(body, tree.type_ignores), f"<{name}>", "exec"), values)
    known[name] = types.SimpleNamespace(**values)
    return known[name]


def _stand_in(tree, name):
    """Return a dataclass with the fields of one in a source, and nothing of what it does."""
    (body,) = [n.body for n in tree.body if isinstance(n, ast.ClassDef) and n.name == name]
    short = {"attack_steps": "steps", "step_size": "step_size"}
    fields = []
    for node in (n for n in body if isinstance(n, ast.AnnAssign)):
        default = dataclasses.field()
        if node.value is not None:
            default = eval(compile(ast.Expression(node.value), "<field>", "eval"), _FOR_DEFAULTS)
        init_only = node.target.id in short
        fields.append((node.target.id, dataclasses.InitVar[Any] if init_only else Any, default))

    def keep_short_names(self, *values):
        given = {n: v for n, v in zip(short.values(), values, strict=True) if v is not None}
        self.attack_options = {**self.attack_options, **given}

    return dataclasses.make_dataclass(
        name, fields, kw_only=True, namespace={"__post_init__": keep_short_names}
    )


def check(flag, value, known, families=()):
    """Refuse an unknown name before anything is loaded.

    Args:
        flag: str, the flag's name.
        value: str, or None where the flag is not given.
        known: names that are registered; `name<steps>` stands for a name and a number.
        families: beginnings of names of which only the library knows all.

    Raises:
        ValueError: naming those that are known.
    """
    if value is None or value.startswith(tuple(families)):
        return
    plain = [name for name in known if "<" not in name]
    numbered = [name.partition("<")[0] for name in known if "<" in name]
    # Whether the number is one, the library says.
    if value not in plain and value.rstrip("0123456789") not in numbered:
        possible = ", ".join([*known, *(f"{family}..." for family in families)])
        raise ValueError(f"Unknown {flag}; known are {possible}. Received: --{flag}={value}")

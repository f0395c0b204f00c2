"""Names that the library registers, read from its source: importing them would load a framework."""

import ast
import importlib.util
import pathlib


def _trees(*parts):
    package = pathlib.Path(importlib.util.find_spec("sharedkeras").origin).parent
    path = package.joinpath(*parts)
    files = sorted(path.glob("*.py")) if path.is_dir() else [path]
    return [ast.parse(file.read_text("utf-8")) for file in files]


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
    """Read the recipes' values: their modules hold data, and nothing that would have to be imported.

    Returns:
        List of dicts, a recipe's fields each, defaults included where they are plain values.
    """
    defaults = class_values("recipes", "recipe.py", name="Recipe")
    found = []
    for tree in _trees("recipes"):
        tree.body = [n for n in tree.body if not isinstance(n, ast.Import | ast.ImportFrom)]
        assigned = [n.targets[0].id for n in tree.body if isinstance(n, ast.Assign)]
        if "RECIPES" in assigned:
            values = {"Recipe": dict}
            exec(compile(tree, "<recipes>", "exec"), values)
            found += [_in_full({**defaults, **recipe}) for recipe in values["RECIPES"]]
    return found


def _in_full(recipe):
    """Write the short names of the attack's options as the recipe does."""
    short = {"steps": recipe.pop("attack_steps"), "step_size": recipe.pop("step_size")}
    given = {name: value for name, value in short.items() if value is not None}
    return {**recipe, "attack_options": {**recipe.get("attack_options", {}), **given}}


def class_values(*parts, name):
    """Read the defaults of a dataclass's fields that are plain values.

    Args:
        *parts: str, the module's place in the package.
        name: str, the class.

    Returns:
        Dict.
    """
    (tree,) = _trees(*parts)
    (body,) = [n.body for n in tree.body if isinstance(n, ast.ClassDef) and n.name == name]
    fields = [n for n in body if isinstance(n, ast.AnnAssign) and isinstance(n.value, ast.Constant)]
    return {n.target.id: n.value.value for n in fields}


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

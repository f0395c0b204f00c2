"""Which file imports which, read from the source."""

import ast


def modules(root, tops):
    """Return the files of packages: dict from module name to path.

    Args:
        root: `pathlib.Path` of the directory that holds the packages.
        tops: names of the packages.
    """
    found = {}
    for top in tops:
        for path in sorted((root / top).rglob("*.py")):
            parts = path.relative_to(root).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imported_names(path):
    """List the dotted names that a file imports, late imports and a package's lazy names included."""
    names = []
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names += [(alias.name, None) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                raise ValueError(f"Imports must be absolute. Received: {path}:{node.lineno}")
            names += [(node.module, alias.name) for alias in node.names]
        elif isinstance(node, ast.Assign) and getattr(node.targets[0], "id", None) == "_MODULES":
            package = path.parent.name
            names += [(f"{package}.{value.value}", None) for value in node.value.values]
    return names


def graph(root, tops):
    """Return the files that each file imports, both as module names.

    `from a.b import c` is an import of `a/b/__init__.py` if that offers `c` from elsewhere, else of
    `a/b/c.py` if there is one. The packages above it, which Python loads as well, do not count: nothing
    of them is used.
    """
    known = modules(root, tops)
    imports = {name: imported_names(path) for name, path in known.items()}
    edges = {}
    for name in known:
        targets = set()
        for module, attribute in imports[name]:
            offered = {offer for source, offer in imports.get(module, ()) if source != module}
            deeper = f"{module}.{attribute}"
            targets.add(deeper if deeper in known and attribute not in offered else module)
        edges[name] = targets & set(known)
    return edges


def circles(edges):
    """Return the groups of files that reach each other: sorted lists, the strongly connected components.

    Reference: R. Tarjan, "Depth-first search and linear graph algorithms", 1972.
    """
    numbers, lowest, stack, found = {}, {}, [], []

    def visit(node):
        numbers[node] = lowest[node] = len(numbers)
        stack.append(node)
        for target in sorted(edges[node]):
            if target not in numbers:
                visit(target)
                lowest[node] = min(lowest[node], lowest[target])
            elif target in stack:
                lowest[node] = min(lowest[node], numbers[target])
        if lowest[node] == numbers[node]:
            group = stack[stack.index(node) :]
            del stack[stack.index(node) :]
            if len(group) > 1 or node in edges[node]:
                found.append(sorted(group))

    for node in edges:
        if node not in numbers:
            visit(node)
    return found

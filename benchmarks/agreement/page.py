"""The documentation's page on agreement, written from the tables of `benchmarks.agreement compare`."""

import collections
import json

_HEAD = """\
# Agreement with the official AutoAttack

This page is written by `python -m benchmarks.agreement compare --page=docs/agreement.md` from runs;
it is not edited. M1 is a small CNN on MNIST (epsilon 0.3 in Linf), M2 a small ResNet on CIFAR-10
(8/255 in Linf, 0.5 in L2), both adversarially trained. The official verdicts are those of
github.com/fra31/auto-attack at commit a392200, in PyTorch; `square-q1000` is Square with 1,000
queries, `standard` the whole cascade.
"""

_OFFICIAL = """\
## With the official tool

The draws are our own, so that points near the boundary may fall in one run and not in another, as
between two seeds of the official tool. *Equal* is the share of equal flags, averaged over all pairs
of a seed of ours and one of theirs; *theirs* the same for pairs of official seeds.
"""

_BACKENDS = """\
## Between backends

The same seed on both: the same draws, so that only rounding differs.
"""

_SETTINGS = """\
## Between settings

Each against batches of 250 in natural order, with the same seed. *Points* are counted over all
attacks named.
"""


_DIFFER = """\
Each point that differs, with the margin of the logits that each run reached; negative is
misclassified. Where it has been run in double precision with the same settings, that is said.
"""


def page(tables):
    """Render the tables as Markdown.

    Args:
        tables: what `compare.tables_of` returns.

    Returns:
        str.
    """
    parts = [_HEAD, _OFFICIAL, _table(*_official(tables["official"]))]
    if tables["backends"]:
        parts += [_BACKENDS, _table(*_backends(tables["backends"]))]
    if tables["settings"]:
        parts += [_SETTINGS, _table(*_settings(tables["settings"]))]
    points = [
        _point(row, where, point)
        for row, where in [(r, "backends") for r in tables["backends"]]
        + [(r, r["setting"]) for r in tables["settings"]]
        for point in row["differ"]
    ]
    parts.append(_DIFFER + "\n" + "\n".join(points) + "\n" if points else "No point differs.\n")
    versions = [json.loads(text) for text in tables["provenance"]["versions"]]
    lines = sorted({", ".join(f"{k} {v}" for k, v in found.items()) for found in versions})
    parts.append("Versions: " + "; ".join(lines) + ".\n")
    return "\n".join(parts)


def _official(rows):
    head = ["network", "norm", "attack", "n", "backend", "seeds, ours and theirs"]
    head += ["ours %", "official %", "equal %", "theirs %"]
    body = []
    for r in rows:
        theirs = r["official_flags_agree"]
        cells = [r["network"], r["norm"], r["attack"], r["points"], r["backend"]]
        cells += [f"{len(r['seeds'])} and {len(r['official_seeds'])}"]
        cells += [_percent(r["accuracy"]), _percent(r["official_accuracy"])]
        body.append([*cells, _percent(r["flags_agree"]), "" if theirs is None else _percent(theirs)])
    return head, body


def _backends(rows):
    head = ["attack", "norm", "backends", "seed", "points", "differ"]
    names = [" and ".join(r["backends"]) for r in rows]
    return head, [
        [r["attack"], r["norm"], name, r["seed"], _points(r), len(r["differ"])]
        for r, name in zip(rows, names, strict=True)
    ]


def _settings(rows):
    groups = collections.defaultdict(list)
    for r in rows:
        groups[r["backend"], r["setting"]].append(r)
    head = ["backend", "setting", "attacks", "points", "differ"]
    body = []
    for (backend, setting), found in groups.items():
        attacks = ", ".join(r["attack"] for r in found)
        counts = sum(r["points"] for r in found), sum(len(r["differ"]) for r in found)
        body.append([backend, setting, attacks, *counts])
    return head, body


def _point(row, where, point):
    sides = "; ".join(
        f"{name}: {'robust' if side['robust'] else 'broken'}"
        + (f", margin {side['margin']:.3g}" if side.get("margin") is not None else "")
        + (f", distance {side['distance']:.7g}" if side.get("distance") is not None else "")
        for name, side in point["sides"].items()
    )
    double = point.get("float64")
    if double:
        word = "robust" if next(iter(double.values())) else "broken"
        same = len(set(double.values())) == 1
        sides += f"; in float64 {'equal, ' + word if same else 'they differ'} ({', '.join(double)})"
    return f"- {point['network']} image {point['number']}, {row['attack']}, {where}: {sides}."


def _points(row):
    return " + ".join(f"{name} {count}" for name, count in row["networks"].items())


def _percent(share):
    return f"{100 * share:.2f}"


def _table(head, body):
    lines = [head, ["---"] * len(head), *body]
    return "\n".join(f"| {' | '.join(map(str, cells))} |" for cells in lines) + "\n"

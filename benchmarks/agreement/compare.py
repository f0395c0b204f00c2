"""Tables and verdicts of `benchmarks.agreement`, from the results on disk."""

import collections
import itertools
import json
import pathlib
import re

import numpy as np

from benchmarks.agreement.jobs import SIZES, load_all, write

_SHARE = 0.996
"""Share of points that must agree between backends and between settings."""
_POINT = 0.01
_WEAKER = 0.005
_SQUARE = 0.02
_EXACT = 1e-9  # One point of 200 less one half per cent is not quite zero.
_KEY = re.compile(r"aa_(linf|l2)_(\w+?)(?:_first(\d+))?_seed(\d+)/robust")
OFFICIAL_NAMES = {
    "apgd_ce": "apgd-ce",
    "apgd_dlr": "apgd-dlr",
    "apgd_t": "apgd-t",
    "fab_t": "fab-t",
    "square_q1000": "square-q1000",
    "standard_ensemble": "standard",
}
"""The reference data's names of the official attacks, and ours."""
FEW = ("apgd-ce", "apgd-dlr", "apgd-t", "fab-t")
"""Attacks of which all points but at most one must agree between settings."""

_LEGEND = """\
    ours, offic.: mean accuracy in per cent; gap: ours less official, in points, and of our weakest
    seed; agree: our flags with official ones, on average and at least; needed: two official seeds
    with each other, less one point (a: our own seeds instead, b: nothing is drawn, c: one seed)"""


def official_runs(reference, out):
    """Read the official verdicts.

    Args:
        reference: directory of the reference data.
        out: directory of the results; those of `agreement_official.py` lie in its folder "official".

    Returns:
        Dict from `(network, norm, attack, points)` to a dict from seed to flags.
    """
    runs = collections.defaultdict(dict)
    for network in SIZES:
        further = sorted((pathlib.Path(out) / "official").glob(f"{network}_*.npz"))
        for path in (pathlib.Path(reference) / f"{network}_results.npz", *further):
            with np.load(path) as archive:
                for name in archive.files:
                    match = _KEY.fullmatch(name)
                    if match and match[2] in OFFICIAL_NAMES:
                        flags = archive[name]
                        key = network, match[1], OFFICIAL_NAMES[match[2]], len(flags)
                        runs[key].setdefault(int(match[4]), flags)
    return dict(runs)


def compare(reference, out, batch_size, page=None):
    """Print all tables and write `agreement.json` beside the results.

    Args:
        reference: directory of the reference data.
        out: directory of the results.
        batch_size: int, of the runs that count as usual.
        page: path of a Markdown file to write as well, or None.
    """
    tables = tables_of(load_all(out), official_runs(reference, out), batch_size)
    print("\n".join(_text(tables, batch_size)))
    write(pathlib.Path(out) / "agreement.json", (json.dumps(tables, indent=1) + "\n").encode())
    if page is not None:
        write(page, page.page(tables).encode())


def tables_of(results, official, batch_size):
    """Make all comparisons.

    Args:
        results: list of `Result`.
        official: what `official_runs` returns.
        batch_size: int, of the runs that count as usual.

    Returns:
        Dict of lists of plain dicts, one for each row: "official", "backends", "settings"; and
        "provenance", a dict of counts.
    """
    usual = (batch_size, "natural", 1, 1)
    singles = [r for r in results if r.job.floatx == "float32" and not r.job.only]
    at_usual = [r for r in singles if r.job.setting == usual]
    return {
        "official": _official(official, at_usual),
        "backends": _backends(at_usual),
        "settings": _settings(singles, results, usual),
        "provenance": _provenance(results),
    }


def covering(results, job):
    """Return the smallest result in the usual setting of a job's backend, attack and seed, or None."""
    same = ("backend", "network", "norm", "attack", "seed", "setting", "floatx", "only")
    found = [
        r
        for r in results
        if all(getattr(r.job, k) == getattr(job, k) for k in same) and set(job.indices) <= set(r.index)
    ]
    return min(found, key=lambda r: len(r.index), default=None)


def _agreement(pairs):
    """Return the share of equal flags of each pair."""
    return [float(np.mean(a == b)) for a, b in pairs]


def _official(runs, results):
    rows = []
    backends = sorted({r.job.backend for r in results})
    for (network, norm, attack, points), theirs in sorted(runs.items()):
        for backend in backends:
            ours = _by_seed(results, backend, network, norm, attack, points)
            if ours:
                row = {"backend": backend, "network": network, "norm": norm, "attack": attack}
                rows.append({**row, "points": points, **_judged(attack, ours, theirs)})
    return rows


def _by_seed(results, backend, network, norm, attack, points):
    """Return our flags of the first points by seed, from the smallest run that covers them."""
    found = {}
    key = backend, network, norm, attack
    for r in sorted(results, key=lambda r: -len(r.index)):
        job = r.job
        if (job.backend, job.network, job.norm, job.attack) == key and len(r.index) >= points:
            found[job.seed] = r.robust[:points]
    return dict(sorted(found.items()))


def _judged(attack, ours, theirs):
    """Compare our runs with the official ones by the rule of the issue.

    The accuracies' means lie within one point or the official spread, whichever is more, and ours is not
    weaker by more than half a point; two points each for Square. The flags agree as often as those of
    two official seeds, less one point. Where there is one official run only, our own seeds' agreement
    stands in for that of official seeds; where nothing is drawn (FAB-T), perfect agreement. With one run
    each, the flags remain an open question.
    """
    square = attack.startswith("square")
    mine, others = ([float(np.mean(f)) for f in runs.values()] for runs in (ours, theirs))
    spread = max(others) - min(others)
    gap = float(np.mean(mine) - np.mean(others))
    within = max(_SQUARE if square else _POINT, spread)
    weaker = _SQUARE if square else _WEAKER
    each = {f"{a}/{b}": _agreement([(ours[a], theirs[b])])[0] for a in ours for b in theirs}
    among, own = (_agreement(itertools.combinations(runs.values(), 2)) for runs in (theirs, ours))
    if among:
        bar, origin = float(np.mean(among)), "official seeds"
    elif attack == "fab-t":
        bar, origin = 1.0, "nothing is drawn"
    elif own:
        bar, origin = float(np.mean(own)), "our seeds"
    else:
        bar, origin = None, "one seed each"
    agree = float(np.mean(list(each.values())))
    checks = {
        "accuracy_ok": abs(gap) <= within + _EXACT,
        "not_weaker_ok": gap <= weaker + _EXACT,
        "flags_ok": None if bar is None else agree >= bar - _POINT - _EXACT,
    }
    failed = [passed for passed in checks.values() if not passed]
    return {
        "seeds": list(ours),
        "official_seeds": list(theirs),
        "accuracy": float(np.mean(mine)),
        "accuracies": mine,
        "official_accuracy": float(np.mean(others)),
        "official_accuracies": others,
        "official_spread": spread,
        "gap": gap,
        "gap_of_weakest_seed": max(mine) - float(np.mean(others)),
        "flags_agree": agree,
        "flags_agree_each": each,
        "official_flags_agree": float(np.mean(among)) if among else None,
        "our_flags_agree": float(np.mean(own)) if own else None,
        "bar": None if bar is None else bar - _POINT,
        "bar_from": origin,
        **checks,
        "verdict": "OPEN" if failed == [None] else _word(not failed),
    }


def _word(passed):
    return "PASS" if passed else "FAIL"


def _backends(results):
    """Compare the same job on two backends, M1 and M2 counted together."""
    twins = collections.defaultdict(dict)
    for r in results:
        job = r.job
        twins[job.attack, job.norm, job.seed, job.network, job.points][job.backend] = r
    counts = collections.defaultdict(lambda: {"points": 0, "networks": {}, "differ": []})
    for (attack, norm, seed, network, points), found in sorted(twins.items()):
        for a, b in itertools.combinations(sorted(found), 2):
            row = counts[attack, norm, seed, a, b]
            if points and network in row["networks"]:
                continue  # The whole set has been counted.
            index, differing = _differing(found[a], found[b], a, b)
            row["points"] += len(index)
            row["networks"][network] = len(index)
            row["differ"] += differing
    rows = []
    for (attack, norm, seed, a, b), row in counts.items():
        share = 1 - len(row["differ"]) / row["points"]
        head = {"attack": attack, "norm": norm, "seed": seed, "backends": [a, b]}
        full = all(row["networks"].get(n) == size for n, size in SIZES.items())
        verdict = _word(share >= _SHARE - _EXACT)
        rows.append({**head, **row, "share": share, "complete": full, "verdict": verdict})
    return rows


def _differing(a, b, name_a, name_b):
    """Return the common points of two results, and a description of those that differ."""
    index = np.intersect1d(a.index, b.index)
    points = []
    for number in index[a.at(index) != b.at(index)]:
        sides = {}
        for name, r in ((name_a, a), (name_b, b)):
            values = {
                k: round(r.value(k, number), 7)
                for k in ("margin", "best_loss", "distance")
                if k in r.arrays
            }
            finite = {k: v if np.isfinite(v) else None for k, v in values.items()}
            sides[name] = {"robust": bool(r.at(number)), **finite}
        points.append({"network": a.job.network, "number": int(number), "sides": sides})
    return index, points


def _settings(singles, results, usual):
    """Compare every setting with the usual one, M1 and M2 counted together."""
    runs = collections.defaultdict(dict)
    for r in singles:
        job = r.job
        key = job.backend, job.attack, job.norm, job.seed, job.network
        known = runs[key].get(job.setting)
        if known is None or len(known.index) < len(r.index):
            runs[key][job.setting] = r
    counts = collections.defaultdict(lambda: {"points": 0, "networks": {}, "differ": []})
    for (backend, attack, norm, seed, network), found in sorted(runs.items()):
        for setting, r in sorted(found.items()):
            if setting == usual or usual not in found:
                continue
            index, differing = _differing(found[usual], r, _named(usual), _named(setting))
            for point in differing:
                point["float64"] = _in_float64(results, r.job, point["number"])
            row = counts[backend, attack, norm, seed, setting]
            row["points"] += len(index)
            row["networks"][network] = len(index)
            row["differ"] += differing
    rows = []
    for (backend, attack, norm, seed, setting), row in sorted(counts.items()):
        many = len(row["differ"])
        share = 1 - many / row["points"]
        passed = many <= 1 if attack in FEW else share >= _SHARE - _EXACT
        head = {"backend": backend, "attack": attack, "norm": norm, "seed": seed}
        head |= {"setting": _named(setting), "share": share}
        full = all(row["networks"].get(n) == size for n, size in SIZES.items())
        rows.append({**head, **row, "complete": full, "verdict": _word(passed)})
    return rows


def _named(setting):
    batch_size, order, shards, devices = setting
    extra = f", {shards} shards" if shards > 1 else ""
    extra += f", {devices} devices" if devices > 1 else ""
    return f"batch {batch_size}{', shuffled' if order == 'shuffled' else ''}{extra}"


def _in_float64(results, job, number):
    """Return a point's verdicts in float64, by setting, of the same attack and seed."""
    found = {}
    for r in results:
        other = r.job
        same = all(
            getattr(other, k) == getattr(job, k)
            for k in ("backend", "network", "norm", "attack", "seed")
        )
        if same and other.floatx == "float64" and number in r.index:
            found[_named(other.setting)] = bool(r.at(number))
    return found


def _provenance(results):
    """Count the results by whatever should be the same for all."""
    names = ("sources", "evaluation")
    counts = {name: collections.Counter(r.meta[name] for r in results) for name in names}
    versions = [{k: v for k, v in r.meta["versions"].items() if k != "platform"} for r in results]
    counts["versions"] = collections.Counter(json.dumps(v, sort_keys=True) for v in versions)
    return {name: dict(count) for name, count in counts.items()}


def _text(tables, batch_size):
    yield f"1b. With the official tool: flags and accuracies at batch size {batch_size}"
    yield _LEGEND
    yield (
        f"{'backend':10} {'net':3} {'norm':4} {'attack':13} {'n':>3} {'seeds':>5} {'ours':>6} "
        f"{'offic.':>6} {'spread':>6} {'gap':>6} {'weakest':>7} {'agree':>6} {'lowest':>6} "
        f"{'needed':>6}   verdict"
    )
    marks = {"official seeds": " ", "our seeds": "a", "nothing is drawn": "b", "one seed each": "c"}
    for r in tables["official"]:
        seeds = f"{len(r['seeds'])}/{len(r['official_seeds'])}"
        figures = [r["accuracy"], r["official_accuracy"], r["official_spread"]]
        agree = [r["flags_agree"], min(r["flags_agree_each"].values()), r["bar"]]
        failed = [
            k.removesuffix("_ok") for k in ("accuracy_ok", "not_weaker_ok", "flags_ok") if not r[k]
        ]
        yield (
            f"{r['backend']:10} {r['network']:3} {r['norm']:4} {r['attack']:13} {r['points']:3} "
            f"{seeds:>5} "
            + " ".join(f"{100 * f:6.2f}" for f in figures)
            + f" {100 * r['gap']:+6.2f} {100 * r['gap_of_weakest_seed']:+7.2f} "
            + " ".join("     -" if f is None else f"{100 * f:6.2f}" for f in agree)
            + f" {marks[r['bar_from']]} {r['verdict']} {', '.join(failed)}".rstrip()
        )
    yield "\n2. Between backends, same seed: M1's and M2's points together, at least 99.6 % equal"
    for r in tables["backends"]:
        yield _row(r, f"{' and '.join(r['backends'])}")
        yield from _points(r)
    yield (
        f"\n3. Between settings, against batch size {batch_size}: at least 99.6 % equal "
        "(APGD, FAB: all but at most one)"
    )
    for r in tables["settings"]:
        yield _row(r, f"{r['backend']}, {r['setting']}")
        yield from _points(r)
    yield "\nResults by version and by digest of the attacks' and of the evaluation's sources"
    for name, counts in tables["provenance"].items():
        for value, count in counts.items():
            yield f"  {count:4} {name}: {value}"


def _row(r, where):
    networks = "+".join(f"{n} {size}" for n, size in r["networks"].items())
    part = "" if r["complete"] else " (not all points)"
    return (
        f"{where:44} {r['norm']:4} {r['attack']:13} seed {r['seed']}  {networks:14} "
        f"differ {len(r['differ']):2} equal {100 * r['share']:6.2f} %  {r['verdict']}{part}"
    )


def _points(r):
    for point in r["differ"]:
        sides = "; ".join(f"{name}: {_side(side)}" for name, side in point["sides"].items())
        double = point.get("float64")
        if double is not None:
            same = {robust for robust in double.values()}
            word = (
                "not run"
                if not double
                else "differ"
                if len(same) > 1
                else f"equal ({_state(same.pop())})"
            )
            sides += f"; float64: {word}"
        yield f"      {point['network']} image {point['number']}: {sides}"


def _side(side):
    figures = ", ".join(
        f"{k.replace('_', ' ')} {v:.3g}" for k, v in side.items() if k != "robust" and v is not None
    )
    return f"{_state(side['robust'])} ({figures})" if figures else _state(side["robust"])


def _state(robust):
    return "robust" if robust else "broken"

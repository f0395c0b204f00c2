"""Slices of one evaluation joined into one report."""

import numpy as np

from sharedkeras.evaluation.checks.after import refreshed
from sharedkeras.evaluation.estimating.rounds import concluded, is_estimate
from sharedkeras.evaluation.report import Report, validation

# What may differ between the slices of one evaluation: where they were cut and how they were run.
_PER_SLICE_SETTINGS = ("shard", "command", "resume_from")


def merge(reports) -> Report:
    """Join the slices of one evaluation as if it had been one run.

    Args:
        reports: `Report`s of disjoint examples, made with the same settings, seed and version of
            sharedkeras; in any order. Where `settings["shard"]` is `[i, n]`, all n slices.

    Returns:
        One report, ordered by `indices`. Seconds are summed, findings are united, the shard is
        gone from the settings, and images are kept if every slice has them. Of slices of an estimate
        the report has the `estimate` or, while that needs more work, the `plan` with which
        `autoattack` is to be called for every slice again.

    Raises:
        ValueError: if a slice is missing or twice, or if the slices are not of one evaluation.
    """
    reports = list(reports)
    if not reports:
        raise ValueError("There must be at least one report to merge. Received: reports=[]")
    shards = validation.checked_shards([report.settings.get("shard") for report in reports])
    if shards is not None:
        reports = [report for _, report in sorted(zip(shards, reports, strict=True), key=_first)]
    first = reports[0]
    for report in reports[1:]:
        _check_same("attacks", list(first.flags), list(report.flags))
        for name in ("cascade", "seed", "label_names"):
            _check_same(name, getattr(first, name), getattr(report, name))
        _check_same("settings", _common(first.settings), _common(report.settings))
        _check_same("plan", _listed(first.plan), _listed(report.plan))
        versions = first.versions, report.versions
        _check_same("versions['sharedkeras']", *(v.get("sharedkeras") for v in versions))

    indices = np.concatenate([report.indices for report in reports])
    found, counts = np.unique(indices, return_counts=True)
    if np.any(counts > 1):
        raise ValueError(
            "The reports to merge must be of different examples. "
            f"Received: {np.sum(counts > 1)} examples more than once, such as number "
            f"{found[counts > 1][0]}"
        )
    order = np.argsort(indices)

    def joined(get):
        parts = [get(report) for report in reports]
        if any(part is None for part in parts):
            return None
        if isinstance(parts[0], dict):
            names = [name for name in parts[0] if all(name in part for part in parts)]
            return {n: np.concatenate([part[n] for part in parts])[order] for n in names}
        return np.concatenate(parts)[order]

    settings = _common(first.settings)
    commands = [r.settings["command"] for r in reports if r.settings.get("command")]
    if commands:
        commands = [line for c in commands for line in (c if isinstance(c, list) else [c])]
        settings["command"] = "\n".join(dict.fromkeys(map(str, commands)))
    names = dict.fromkeys(name for report in reports for name in report.seconds)
    findings = dict.fromkeys(finding for report in reports for finding in report.findings)
    seen = [{k: r.versions.get(k, "unknown") for k in first.versions} for r in reports]
    joint = Report(
        flags=joined(lambda report: report.flags),
        cascade=first.cascade,
        seconds={name: sum(report.seconds.get(name, 0.0) for report in reports) for name in names},
        settings=settings,
        seed=first.seed,
        versions={k: " / ".join(dict.fromkeys(v[k] for v in seen)) for k in first.versions},
        findings=tuple(findings),
        adversarial=joined(lambda report: report.adversarial),
        images=joined(lambda report: report.images),
        margins=joined(lambda report: report.margins),
        passes=joined(lambda report: report.passes),
        indices=indices[order],
        labels=joined(lambda report: report.labels),
        predictions=joined(lambda report: report.predictions),
        distance=joined(lambda report: report.distance),
        history=next((r.history for r in reports if r.history is not None), None),
        label_names=first.label_names,
    )
    # What is said of the outcome is said of the whole, not once for each slice.
    joint = refreshed(joint)
    return concluded(joint, first.plan or ()) if is_estimate(joint) else joint


def _first(pair):
    return pair[0]


def _listed(plan):
    return [(step.attacks, step.index.tolist()) for step in plan or ()]


def _common(settings):
    return {name: value for name, value in settings.items() if name not in _PER_SLICE_SETTINGS}


def _check_same(name, a, b):
    if a == b:
        return
    if isinstance(a, dict):
        keys = [key for key in {**a, **b} if a.get(key) != b.get(key) or (key in a) != (key in b)]
        a, b = ({key: side.get(key) for key in keys} for side in (a, b))
    raise ValueError(
        f"The reports to merge must be of one evaluation, but their {name} differ. "
        f"Received: {a!r} and {b!r}"
    )

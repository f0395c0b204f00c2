"""Reports of an evaluation."""

import json

import numpy as np

from damage.case import Case
from damage.files import damaged_bytes, damaged_json
from sharedkeras.evaluation import Report

_ENTRIES = (
    "format",
    "n",
    "clean",
    "robust",
    "verdict",
    "accuracy",
    "seed",
    "settings",
    "versions",
    "flags",
)


def _changes(tree):
    def changed(**values):
        return {**tree, **values}

    yield "a better robust accuracy", changed(robust=1.0)
    yield "a better clean accuracy", changed(clean=1.0)
    yield "a better verdict", changed(verdict="trustworthy")
    yield "more examples", changed(n=16)
    yield "fewer examples", changed(n=2)
    yield "a negative number of examples", changed(n=-9)
    yield "n that is true", changed(n=True)
    yield "flags that are no base64", changed(flags={**tree["flags"], "pgd20": "!!"})
    yield "flags without the clean ones", changed(flags={"pgd20": tree["flags"]["pgd20"]})
    yield "flags that are numbers", changed(flags={"clean": 3})
    yield "a finding without its message", changed(findings=[{"code": "x", "severity": "info"}])
    yield (
        "a finding of unknown severity",
        changed(findings=[{"code": "x", "severity": "fatal", "message": "m"}]),
    )
    yield "labels of another kind", changed(labels={"dtype": "object", "base64": "AAAA"})
    yield "too few labels", changed(labels={"dtype": "<i4", "base64": "AAAA"})
    yield "seconds below zero", changed(seconds={"clean": -1.0})


def cases(folder):
    """Yield damaged reports."""
    flags = {"clean": np.arange(9) != 0, "pgd20": np.arange(9) > 3}
    findings = [("few", "warning", "Nine images.")]
    good = Report(flags=flags, settings={"epsilon": 0.3}, findings=findings, labels=np.arange(9))
    good.to_json(folder / "good.json")
    data = (folder / "good.json").read_bytes()
    damages = [*damaged_bytes(data), *damaged_json(data, _ENTRIES)]
    damages += [(name, json.dumps(value).encode()) for name, value in _changes(json.loads(data))]
    for number, (name, value) in enumerate(damages):
        path = folder / f"{number}.json"
        path.write_bytes(value)
        yield Case(
            name,
            lambda path=path: Report.from_json(path),
            str(path),
            lambda found: _is_right(found, good),
        )
    yield Case("absent", lambda: Report.from_json(folder / "no.json"), "no.json")


def _is_right(found, good):
    """Tell whether the figures are those that were written; a bit of prose may be flipped."""
    return (
        (found.n, found.clean, found.robust, found.verdict) == (9, good.clean, good.robust, good.verdict)
        and all(np.array_equal(found.flags[name], flag) for name, flag in good.flags.items())
        and np.array_equal(found.labels, good.labels)
    )

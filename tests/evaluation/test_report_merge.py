"""Slices of an evaluation, joined, are the evaluation."""

import numpy as np
import pytest

from sharedkeras.evaluation.merge import merge
from sharedkeras.evaluation.report.finding import Finding
from sharedkeras.evaluation.report.report import Report

N = 23


def whole():
    rng = np.random.default_rng(0)
    clean = rng.random(N) < 0.9
    a = clean & (rng.random(N) < 0.7)
    images = rng.random((N, 4, 4, 1), dtype="float32")
    return {
        "flags": {"clean": clean, "a": a, "b": a & (rng.random(N) < 0.7)},
        "images": images,
        "adversarial": 1 - images,
        "indices": np.arange(N),
        "labels": rng.integers(0, 10, N),
        "predictions": {"clean": rng.integers(0, 10, N)},
        "distance": {"a": rng.random(N, dtype="float32")},
    }


def cut(value, index):
    return {k: v[index] for k, v in value.items()} if isinstance(value, dict) else value[index]


def slices(count=4, **changes):
    parts = whole()
    return [
        Report(
            **{
                **{name: cut(value, slice(i, None, count)) for name, value in parts.items()},
                "cascade": True,
                "seconds": {"a": 1.0, "b": 0.5},
                "settings": {
                    "norm": "linf",
                    "shard": (i, count),
                    "command": f"evaluate --shard={i}/{count}",
                },
                "seed": 5,
                "versions": {"sharedkeras": "0.1.0", "keras": "3.15"},
                "findings": [Finding("few", "info", "Few."), Finding("own", "info", f"Slice {i}.")],
                **changes,
            }
        )
        for i in range(count)
    ]


def assert_same(ours, theirs):
    if isinstance(ours, dict):
        assert list(ours) == list(theirs)
        for key in ours:
            np.testing.assert_array_equal(ours[key], theirs[key])
    else:
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("order", [[0, 1, 2, 3], [3, 1, 0, 2]])
def test_merged_slices_are_the_whole(order):
    parts = slices()
    merged = merge(parts[i] for i in order)
    for name, value in whole().items():
        assert_same(value, getattr(merged, name))
    assert merged.seconds == {"a": 4.0, "b": 2.0}
    assert merged.settings == {
        "norm": "linf",
        "command": "\n".join(f"evaluate --shard={i}/4" for i in range(4)),
    }
    assert merged.cascade and merged.seed == 5
    *said, of_the_whole = merged.findings
    messages = [finding.message for finding in said]
    assert messages == ["Few.", "Slice 0.", "Slice 1.", "Slice 2.", "Slice 3."]
    # What a check says of the outcome is said once, of all points.
    assert of_the_whole.code == "unique-kills"
    assert f"of {int(merged.flags['clean'].sum())} points" in of_the_whole.message


def test_merging_files_is_merging_reports(tmp_path):
    for i, part in enumerate(slices()):
        part.to_json(tmp_path / f"{i}.json")
    merged = merge(Report.from_json(tmp_path / f"{i}.json") for i in range(4))
    direct = merge(slices())
    assert merged.images is None
    assert_same(direct.flags, merged.flags)
    assert merged.settings == direct.settings


def test_one_report_merges_to_itself():
    part = slices(1)[0]
    merged = merge([part])
    assert_same(part.flags, merged.flags)
    assert merged.robust == part.robust


def test_without_shards_any_disjoint_reports_merge():
    parts = slices(3, settings={})
    assert merge(parts).n == N
    assert merge(parts[:2]).n == len(parts[0].indices) + len(parts[1].indices)


def test_commands_may_be_lists():
    merged = merge(slices(2, settings={"command": ["train", "evaluate"]}))
    assert merged.settings == {"command": "train\nevaluate"}


def test_differing_environments_are_shown_not_refused():
    parts = slices(2)
    other = slices(2, versions={"sharedkeras": "0.1.0", "keras": "3.16"})
    assert merge([parts[0], other[1]]).versions["keras"] == "3.15 / 3.16"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seed": 6}, "seed differ"),
        ({"cascade": False}, "cascade differ"),
        ({"versions": {"sharedkeras": "0.2.0"}}, "sharedkeras"),
        ({"settings": {"norm": "l2", "shard": (1, 2)}}, "settings differ.*'linf'.*'l2'"),
        ({"settings": {"norm": "linf"}}, "shard"),
        ({"settings": {"norm": "linf", "shard": (0, 2)}}, r"missing: \[1\]"),
        ({"settings": {"norm": "linf", "shard": (1, 3)}}, "slices once"),
        ({"settings": {"norm": "linf", "shard": "1/2"}}, r"must be \[i, n\]"),
        ({"label_names": ["x"]}, "label_names differ"),
        ({"indices": np.arange(N // 2)}, "more than once"),
    ],
)
def test_what_does_not_belong_together_is_refused(changes, message):
    first = slices(2)[0]
    second = slices(2)[1]
    fields = {"flags", "cascade", "settings", "seed", "versions"}
    second = Report(
        **{**{name: getattr(second, name) for name in fields}, "indices": second.indices, **changes}
    )
    with pytest.raises(ValueError, match=message) as caught:
        merge([first, second])
    assert "Received:" in str(caught.value)


def test_a_missing_slice_is_refused():
    parts = slices()
    with pytest.raises(ValueError, match=r"missing: \[2\]"):
        merge([parts[0], parts[1], parts[3]])


def test_other_attacks_are_refused():
    parts = [
        Report(flags={"clean": np.array([True]), name: np.array([True])}, indices=[i])
        for i, name in enumerate("ab")
    ]
    with pytest.raises(ValueError, match="attacks differ"):
        merge(parts)


def test_nothing_is_refused():
    with pytest.raises(ValueError, match="at least one"):
        merge([])

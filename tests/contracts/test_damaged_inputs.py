"""Each damaged or hostile input is refused in a sentence that names it, or gives the right thing."""

import collections

import pytest
from damage.case import OUTCOMES, judge
from damaged_inputs import group_cases, group_names

SLOW = ("journal", "saved_model")  # Each input is a whole evaluation, or a graph that TensorFlow reads.
LEAST = 300  # Inputs over all groups.
_counts = collections.Counter()


@pytest.mark.parametrize(
    "group",
    [pytest.param(name, marks=pytest.mark.slow) if name in SLOW else name for name in group_names()],
)
@pytest.mark.usefixtures("short_pauses")
@pytest.mark.filterwarnings("ignore:Duplicate name:UserWarning")  # Of the archives that are made here.
def test_group(group, tmp_path):
    bad = []
    for case in group_cases(group, tmp_path / group):
        outcome, said = judge(case)
        _counts[outcome] += 1
        if outcome in OUTCOMES[2:]:
            bad.append(f"{case.name}: {outcome}: {said}")
    assert not bad, "\n".join(bad)


def test_inputs_are_many_and_some_are_right():
    if len(_counts) < 2:
        pytest.skip("the groups ran in another process")
    assert _counts.total() >= LEAST
    assert _counts["right"] >= len(group_names())

"""The time that an evaluation says it has left."""

import types

import pytest

from sharedkeras.evaluation.judging import progress as module
from sharedkeras.evaluation.judging.progress import Progress

COSTS = {"first": 10.0, "second": 90.0, "third": 400.0}


@pytest.fixture
def clock(monkeypatch):
    now = types.SimpleNamespace(seconds=0.0)
    monkeypatch.setattr(module, "time", types.SimpleNamespace(perf_counter=lambda: now.seconds))
    return now


@pytest.mark.parametrize("cascade", [True, False])
def test_time_left_from_what_passes_took(clock, cascade):
    with Progress(False, COSTS.get, cascade) as progress:
        progress.start("first", 100, {"second": 100, "third": 100})
        assert progress.seconds_left is None
        clock.seconds = 60.0
        progress.advance(50, broken=40, passes=300.0)  # 0.2 seconds each.
        later = 490 * (60 if cascade else 100)
        assert progress.seconds_left == pytest.approx(0.2 * (50 * 10 + later))
        clock.seconds = 90.0
        progress.advance(50, broken=20, passes=300.0)  # 0.15 seconds each.
        progress.finish("first", 0.4, 90.0)
        assert progress.seconds_left == pytest.approx(0.15 * 490 * (40 if cascade else 100))
        progress.start("second", 40, {"third": 40})
        assert progress.seconds_left == pytest.approx(0.15 * 490 * 40)


def test_lines_of_a_log(clock, capsys):
    with Progress(True, COSTS.get, cascade=True) as progress:
        progress.start("first", 100, {"third": 100})
        clock.seconds = 60.0
        progress.advance(50, broken=25, passes=500.0)
        progress.advance(50, broken=25, passes=500.0)
        progress.finish("first", 0.5, 60.0)
    lines = [" ".join(line.split()) for line in capsys.readouterr().err.splitlines()]
    assert lines == ["first 50 of 100 about 1 h 01 min to go", "first 50.00 % 60.0 s about 20 min to go"]

"""The time that a training run says it has left, and its lines."""

import types

import pytest

from sharedkeras.durations import duration
from sharedkeras.recipes.recipe import Recipe
from sharedkeras.training import progress as module
from sharedkeras.training.progress import RunProgress
from sharedkeras.training.run import epoch_costs

COSTS = [(300.0, 50.0), (300.0, 50.0), (1000.0, 50.0)]


@pytest.fixture
def clock(monkeypatch):
    now = types.SimpleNamespace(seconds=0.0)
    monkeypatch.setattr(module, "time", types.SimpleNamespace(perf_counter=lambda: now.seconds))
    return now


def begun(done=0, **options):
    """Return the progress of a run of 3 epochs of 10 updates, at the beginning of an epoch."""
    progress = RunProgress(COSTS, 10, **options)
    progress.set_model(types.SimpleNamespace(update=types.SimpleNamespace(value=done)))
    progress.on_train_begin()
    progress.on_epoch_begin(done // 10)
    return progress


@pytest.mark.parametrize(
    ("objective", "options", "queries"),
    [("standard", {}, 0), ("trades", {}, 1), ("mma", {"search_steps": 6}, 7)],
)
def test_epochs_cost_what_an_objective_asks_beside_its_attack(objective, options, queries):
    recipe = Recipe(
        name="costs",
        source="a test",
        dataset="mnist",
        model="cnn",
        objective=objective,
        objective_options=options,
        attack_options={"steps": 5},
        curriculum=((0.5, {"steps": 8}),),
        epochs=2,
    )
    [(first, _), (second, _)] = epoch_costs(recipe, 1000)
    assert second - first == pytest.approx(1000 * 3.0)
    assert first == pytest.approx(1000 * (5 + 3.4 + 0.5 * queries))


def test_time_left_by_what_epochs_cost(clock):
    with begun(show=0) as progress:
        assert progress.seconds_left() is None
        clock.seconds = 100.0  # Compiled; the clock of the rate begins here.
        progress.on_train_batch_end(0)
        assert progress.seconds_left() is None
        clock.seconds = 160.0
        progress.on_train_batch_end(1)
        progress.on_train_batch_end(2)  # 60 of 1,750 units in 60 seconds, 90 done.
        assert progress.seconds_left() == pytest.approx(1660.0)
        for batch in range(3, 10):
            progress.on_train_batch_end(batch)
        clock.seconds = 100.0 + 2 * 320.0
        progress.on_epoch_end(0)
        assert progress.seconds_left(ended=1) == pytest.approx(2 * 1400.0)
        progress.on_epoch_begin(1)
        assert progress.seconds_left() == pytest.approx(2 * 1400.0)


def test_updates_made_together_never_pass_the_epochs_end(clock, capsys):
    with begun(show=2) as progress:
        progress.set_params({"steps": 10})
        for batch, done in ((3, 4), (7, 8), (11, 10)):  # Four at a time; Keras names the last one 11.
            progress.on_train_batch_end(batch)
            assert progress.updates == progress.updates_of_epoch == done
        clock.seconds = 60.0
        progress.on_epoch_end(0)
    assert capsys.readouterr().out.startswith("epoch 1 of 3  60 s")


def test_a_run_that_ends_early(clock):
    with begun(show=0, last_update=12) as progress:
        progress.on_train_batch_end(0)
        clock.seconds = 30.0
        progress.on_train_batch_end(1)
        assert progress.seconds_left() == pytest.approx(240.0 + 50.0 + 60.0)


def test_lines_of_a_log(clock, capsys):
    with begun(show=2) as progress:
        progress.on_train_batch_end(0, {"loss": 3.0})
        clock.seconds = 61.0
        progress.on_train_batch_end(1, {"loss": 2.5})
        clock.seconds = 62.0
        progress.on_train_batch_end(2, {"loss": 2.4})
        clock.seconds = 380.0
        progress.on_train_batch_end(9, {"loss": 2.0})
        logs = {"ce_adv": 1.0, "loss": 2.0, "val_natural": 0.975, "val_robust": 0.5}
        progress.on_epoch_end(0, logs)
    assert capsys.readouterr().out.splitlines() == [
        "epoch 1 of 3  2 of 10 updates  loss 2.5  about 57 min to go",
        "epoch 1 of 3  6 min  loss 2  ce_adv 1  natural 97.5 %  robust 50.0 %  about 28 min to go",
    ]


def test_a_run_resumed_in_mid_epoch_keeps_its_numbers(clock, capsys):
    with begun(done=27, show=2) as progress:
        progress.on_train_batch_end(0)
        clock.seconds = 200.0
        progress.on_train_batch_end(1, {"loss": 1.0})
        progress.on_train_batch_end(2, {"loss": 1.0})
        progress.on_epoch_end(2, {"loss": 1.0})
    assert capsys.readouterr().out.splitlines() == [
        "epoch 3 of 3  9 of 10 updates  loss 1  about 5 min to go",
        "epoch 3 of 3  3 min  loss 1",
    ]


def test_an_epoch_cut_short_says_so(clock, capsys):
    with begun(show="auto", last_update=4) as progress:
        progress.on_train_batch_end(3, {"loss": 1.0})
        progress.on_epoch_end(0, {"loss": 1.0})
    assert capsys.readouterr().out == "epoch 1 of 3  4 of 10 updates  loss 1\n"


def test_silence(clock, capsys):
    with begun(show=0) as progress:
        clock.seconds = 100.0
        progress.on_train_batch_end(0, {"loss": 1.0})
        progress.on_epoch_end(0, {"loss": 1.0})
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.4, "0 s"),
        (89.4, "89 s"),
        (90.0, "2 min"),
        (59.4 * 60, "59 min"),
        (61 * 60, "1 h 01 min"),
        (3 * 3600 + 5 * 60, "3 h 05 min"),
        (102 * 3600, "4 days 6 h"),
    ],
)
def test_durations(seconds, text):
    assert duration(seconds) == text

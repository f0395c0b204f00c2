"""What is told of a run that trains, but to nothing: a loss that leaps, a latent that has collapsed."""

import csv
import dataclasses
import types

import keras
import numpy as np
import pytest
from keras import ops

from sharedkeras import objectives, recipes, training
from sharedkeras.layers import GaussianStochastic
from sharedkeras.training import collapse
from sharedkeras.training.collapse import most_information
from sharedkeras.training.divergence import WatchLoss

TINY = dataclasses.replace(
    recipes.get("quickstart"),
    epochs=3,
    attack_steps=1,
    step_size=0.1,
    batch_size=50,
    validation_size=9900,
    validation_examples=0,
)  # 100 images: 2 updates an epoch


def told(losses, batches=None, epochs=1):
    """Return what is told of an epoch whose updates have these losses, logged as Keras logs them."""
    found = []
    watch = WatchLoss(lambda *finding: found.append(finding))
    watch.set_model(types.SimpleNamespace(update=types.SimpleNamespace(value=0)))
    watch.on_train_begin()
    for epoch in range(epochs):
        watch.on_epoch_begin(epoch)
        for batch in batches or range(len(losses)):
            watch.on_train_batch_end(batch, {"loss": float(np.mean(losses[: batch + 1]))})
        watch.on_epoch_end(epoch)
    return found


def test_a_loss_that_falls_or_rises_a_little_is_not_told():
    assert not told([4.0, 3.0, 11.9, 2.0])


def test_an_update_of_three_times_the_first_loss_is_told_once_with_its_number():
    ((code, message),) = told([4.0, 3.0, 12.1, 100.0, 2.0])
    assert code == "loss-leaps"
    assert "from 4 at the first update to 12.1 at update 3." in message


def test_the_last_update_of_the_epoch_is_seen():
    assert told([4.0, 13.0])


def test_updates_that_run_together_are_compared_by_their_mean():
    assert not told([4.0, 4.0, 4.0, 13.0], batches=[1, 3])
    assert told([4.0, 4.0, 13.0, 13.0], batches=[1, 3])


def test_only_the_first_epoch_is_watched():
    found = []
    watch = WatchLoss(lambda *finding: found.append(finding))
    watch.on_train_batch_end(0, {"loss": 1.0})
    watch.on_epoch_end(0)
    watch.on_train_batch_end(0, {"loss": 50.0})
    watch.on_epoch_end(1)
    assert not found


def test_information_of_a_gaussian_channel():
    # d parallel channels of signal-to-noise ratio s carry d/2 log(1 + s) nats.
    means = np.random.default_rng(0).normal(size=(4000, 3))
    means = (means - means.mean(axis=0)) / means.std(axis=0)
    found = most_information(ops.convert_to_tensor(2.0 * means), 0.5 * ops.ones((4000, 3)))
    assert found == pytest.approx(1.5 * np.log(1 + 16), rel=1e-5)


def test_a_latent_that_is_the_same_for_all_tells_nothing():
    row = np.array([[1.0, -2.0]], "float32")
    same = most_information(np.repeat(row, 50, axis=0), np.repeat(np.abs(row), 50, axis=0))
    assert same == pytest.approx(0.0, abs=1e-12)


def test_scales_that_differ_tell_of_the_image_too():
    scale = np.array([[0.1], [10.0]])
    mixed = 0.5 * (np.log(np.mean(scale**2)) - np.mean(np.log(scale**2)))
    assert most_information(np.zeros((2, 1)), scale) == pytest.approx(mixed)


@pytest.mark.slow
def test_a_run_logs_the_information_and_names_a_collapse(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(collapse, "_YOUNG", 4)  # The end of the second epoch.
    # A penalty a million times the rest: the means are driven together, whatever the image.
    crushing = {"beta": 1e6, "lam": 0.0}
    recipe = dataclasses.replace(TINY, objective_options=crushing, latent_options={"shift": 3.0})
    run = training.fit(recipe, tmp_path / "run", verbose=2)
    assert [code for code, _ in run.findings] == ["latent-collapse"]
    assert capsys.readouterr().out.count("warning latent-collapse: After epoch 2 ") == 1
    with open(run.run_dir / "metrics.csv", newline="") as file:
        logged = [float(row["latent_nats"]) for row in csv.DictReader(file)]
    assert len(logged) == 3
    assert max(logged) < 0.1


def watched(updates, shift):
    """Return what is logged and told after an epoch of a small network, untrained."""
    inputs = keras.Input((2, 2, 1))
    z, _, _ = GaussianStochastic(3, shift=shift, name="latent")(keras.layers.Flatten()(inputs))
    network = keras.Model(inputs, keras.layers.Dense(10)(z))
    trainer = training.RobustTrainer(network, objectives.SharedInformation())
    trainer.update.assign(updates)
    trainer.stop_training = False  # As `fit` sets it.
    told, logs = [], {}
    x = np.random.default_rng(0).random((64, 2, 2, 1), "float32")
    watch = collapse.WatchLatent(x, trainer.objective.taps, lambda *finding: told.append(finding))
    watch.set_model(trainer)
    for epoch in range(2):
        watch.on_epoch_end(epoch, logs)
    return logs["latent_nats"], [code for code, _ in told]


@pytest.mark.parametrize(
    ("updates", "shift", "expected"),
    [(1000, 3.0, ["latent-collapse"]), (100, 3.0, []), (1000, -8.0, [])],
    ids=["collapsed", "young", "sound"],
)
def test_who_is_told(updates, shift, expected):
    nats, told = watched(updates, shift)
    assert (nats < np.log(10)) == (shift > 0)
    assert told == expected


@pytest.mark.parametrize(
    ("begins_with", "expected"), [(50.0, ["latent-collapse"]), (1.0, [])], ids=["fallen", "young"]
)
def test_a_short_run_that_loses_what_it_began_with_is_told(begins_with, expected, monkeypatch):
    values = iter([begins_with, 1.0])  # Before the first update and after the epoch; log 10 is 2.3.
    monkeypatch.setattr(collapse, "most_information", lambda mean, scale: next(values))
    inputs = keras.Input((2, 2, 1))
    z, _, _ = GaussianStochastic(3, name="latent")(keras.layers.Flatten()(inputs))
    network = keras.Model(inputs, keras.layers.Dense(10)(z))
    trainer = training.RobustTrainer(network, objectives.SharedInformation())
    trainer.update.assign(12)
    trainer.stop_training = False
    told, x = [], np.random.default_rng(0).random((64, 2, 2, 1), "float32")
    watch = collapse.WatchLatent(x, trainer.objective.taps, lambda *finding: told.append(finding))
    watch.set_model(trainer)
    watch.on_train_begin()
    watch.on_epoch_end(0, {})
    assert [code for code, _ in told] == expected


def test_a_network_without_a_stochastic_layer_logs_none():
    network = keras.Sequential([keras.Input((2, 2, 1)), keras.layers.Flatten(), keras.layers.Dense(3)])
    trainer = training.RobustTrainer(network, objectives.Standard())
    trainer.stop_training = False
    watch, logs = collapse.WatchLatent(np.zeros((4, 2, 2, 1)), trainer.objective.taps, None), {}
    watch.set_model(trainer)
    watch.on_train_begin()
    watch.on_epoch_end(0, logs)
    assert logs == {}


@pytest.mark.slow
def test_a_run_of_a_version_that_logged_less_goes_on(tmp_path, monkeypatch):
    with monkeypatch.context() as older:
        older.setattr("sharedkeras.training.run.WatchLatent.on_epoch_end", lambda *_, **__: None)
        training.fit(TINY, tmp_path / "run", max_steps=2, verbose=0)
    run = training.fit(TINY, tmp_path / "run", resume=True, verbose=0)
    assert np.isnan(run.history["latent_nats"]).tolist() == [True, False, False]

"""A run that is stopped in the middle of an epoch goes on there, and ends where an unbroken one does."""

import dataclasses
import os
import signal

import keras
import numpy as np
import pytest

from sharedkeras import models, recipes, training
from sharedkeras.training import callbacks, checkpoint
from sharedkeras.training.run import open_run


def tiny(input_shape, num_classes):
    images = keras.Input(input_shape)
    x = keras.layers.Flatten()(keras.layers.AveragePooling2D(7)(images))
    x = keras.layers.Dropout(0.2)(keras.layers.Dense(8, activation="relu")(x))
    return keras.Model(images, keras.layers.Dense(num_classes)(x))


# 200 images: 4 updates an epoch. Averages, random layers and the log's sums must all go on.
RECIPE = dataclasses.replace(
    recipes.get("quickstart").with_objective("standard"),
    model="test_stopping:tiny",
    epochs=2,
    attack_steps=1,
    step_size=0.075,
    validation_size=9800,
    validation_examples=8,
    batch_size=50,
    ema_decay=0.9,
    awp_gamma=0.01,
    natural_share=0.5,
)


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    return training.fit(RECIPE, tmp_path_factory.mktemp("run") / "a", verbose=0, deterministic=True)


def fit(run_dir, **options):
    return training.fit(RECIPE, run_dir, verbose=0, deterministic=True, **options)


def kept(run_dir):
    return [path.name for path in checkpoint.listed(run_dir / "checkpoints")]


def asking(monkeypatch, epoch, batch, times=1, number=signal.SIGINT):
    """Let a run be asked to stop while an update is under way."""

    def ask(self, at, logs=None):
        if (self._epoch, at) == (epoch, batch):
            for _ in range(times):
                os.kill(os.getpid(), number)

    monkeypatch.setattr(callbacks.Keeper, "on_train_batch_begin", ask)


@pytest.fixture(autouse=True)
def _signals():
    held = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    for number, handler in held.items():
        signal.signal(number, handler)


def same(run, unbroken):
    assert run.updates == unbroken.updates == 8
    for weights in ("last", "best"):
        pair = [models.load_network(r.run_dir, weights=weights).get_weights() for r in (run, unbroken)]
        for a, b in zip(*pair, strict=True):
            np.testing.assert_array_equal(a, b)
    timeless = [{k: v for k, v in r.history.items() if k != "seconds"} for r in (run, unbroken)]
    assert timeless[0] == timeless[1]


@pytest.mark.parametrize(
    ("epoch", "batch", "name"),
    [(0, 2, "epoch-0000-update-00000003.npz"), (1, 0, "epoch-0001-update-00000005.npz")],
)
def test_stopped_in_mid_epoch(unbroken, tmp_path, monkeypatch, capsys, epoch, batch, name):
    handler = signal.getsignal(signal.SIGTERM)
    asking(monkeypatch, epoch, batch)
    with pytest.raises(KeyboardInterrupt):
        fit(tmp_path / "run")
    assert "Stopping after this update" in capsys.readouterr().err
    assert kept(tmp_path / "run")[-1] == name
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert signal.getsignal(signal.SIGTERM) is handler
    monkeypatch.undo()
    same(fit(tmp_path / "run", resume=True), unbroken)
    assert signal.getsignal(signal.SIGTERM) is handler


def test_seconds_of_an_epoch_that_was_stopped(tmp_path, monkeypatch):
    save, told = checkpoint.save, []

    def long_ago(*arguments, spent=0.0, **options):
        told.append(spent)
        return save(*arguments, spent=spent + 500.0 if spent else 0.0, **options)

    asking(monkeypatch, 1, 0)
    monkeypatch.setattr(checkpoint, "save", long_ago)
    with pytest.raises(KeyboardInterrupt):
        fit(tmp_path / "run")
    assert [spent > 0 for spent in told] == [False, True]
    monkeypatch.undo()
    first, second = fit(tmp_path / "run", resume=True).history["seconds"]
    assert first < 500 and 500 + told[1] < second < 1000


def test_stopped_by_an_epochs_last_update(unbroken, tmp_path, monkeypatch):
    """The epoch is judged and kept first."""
    asking(monkeypatch, 0, 3)
    with pytest.raises(KeyboardInterrupt):
        fit(tmp_path / "run")
    assert kept(tmp_path / "run") == ["epoch-0001.npz"]
    monkeypatch.undo()
    same(fit(tmp_path / "run", resume=True), unbroken)


def test_sigterm_goes_to_whoever_dealt_with_it(tmp_path, monkeypatch):
    class Ended(Exception):
        pass

    def end(number, frame):
        raise Ended

    signal.signal(signal.SIGTERM, end)
    asking(monkeypatch, 0, 0, number=signal.SIGTERM)
    with pytest.raises(Ended):
        fit(tmp_path / "run")
    assert kept(tmp_path / "run") == ["epoch-0000-update-00000001.npz"]


def test_a_second_signal_counts_at_once(tmp_path, monkeypatch):
    asking(monkeypatch, 0, 1, times=2)
    with pytest.raises(KeyboardInterrupt):
        fit(tmp_path / "run")
    assert kept(tmp_path / "run") == []


def test_long_epochs_have_checkpoints(unbroken, tmp_path, monkeypatch):
    """What a kill finds is as new as it may be, and what it leaves goes on."""
    monkeypatch.setattr(callbacks, "_LONGEST_WITHOUT", 0.0)
    seen = []
    save = checkpoint.save

    def save_and_die(*arguments, **options):
        seen.append(save(*arguments, **options).name)
        if len(seen) == 6:
            raise MemoryError  # As sudden as a kill, but for the process that tests.

    monkeypatch.setattr(checkpoint, "save", save_and_die)
    with pytest.raises(MemoryError):
        fit(tmp_path / "run")
    first = [f"epoch-0000-update-0000000{i}.npz" for i in (1, 2, 3)]
    second = [f"epoch-0001-update-0000000{i}.npz" for i in (5, 6)]
    assert seen == [*first, "epoch-0001.npz", *second]
    assert kept(tmp_path / "run") == second
    monkeypatch.undo()
    same(fit(tmp_path / "run", resume=True), unbroken)


def test_another_batch_size_is_refused(unbroken):
    other = dataclasses.replace(RECIPE, batch_size=25)
    with pytest.raises(FileExistsError, match="batch_size: 50 there, 25 here"):
        open_run(unbroken.run_dir, other, resume=True)

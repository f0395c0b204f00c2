"""Runs stacked into one batch: the same verdicts, and batches that hold them."""

import dataclasses

import keras
import numpy as np
import pytest
from keras import layers, ops

from sharedkeras.attacks import APGD, FAB
from sharedkeras.attacks.apgd import attempts
from sharedkeras.attacks.batching import stacking
from sharedkeras.attacks.fab import runs
from sharedkeras.models import FrozenClassifier

SHAPE = (6, 6, 1)
ATTACKS = {
    "targets": APGD(epsilon=0.03, loss="dlr-targeted", steps=12, targets=4),
    "restarts": APGD(norm="l2", epsilon=0.12, restarts=5, steps=12),
    "l1": APGD(norm="l1", epsilon=0.8, restarts=3, steps=12),
    "fab-t": FAB(epsilon=0.03, targeted=True, targets=4, steps=12),
    "fab": FAB(norm="l2", epsilon=0.12, restarts=3, steps=12),
}


class Noise(layers.Layer):
    """A layer that is random at inference."""

    def __init__(self):
        super().__init__()
        self.seed_generator = keras.random.SeedGenerator(0)

    def call(self, x):
        return x + keras.random.normal(ops.shape(x), 0.0, 0.05, seed=self.seed_generator)


def numpy(value):
    return ops.convert_to_numpy(value)


@pytest.fixture(scope="module")
def classifier():
    keras.utils.set_random_seed(1)
    inputs = keras.Input(SHAPE)
    hidden = layers.Dense(24, activation="tanh")(layers.Flatten()(inputs))
    return FrozenClassifier(keras.Model(inputs, layers.Dense(5)(hidden)))


@pytest.fixture(scope="module")
def batch(classifier):
    x = np.random.default_rng(0).uniform(size=(40, *SHAPE)).astype("float32")
    return x, numpy(classifier.predict(x)).argmax(axis=1).astype("int32")


@pytest.fixture
def plans(monkeypatch):
    """Make every batch worth compiling, and lists the runs made at once and the batches' sizes."""
    made = []

    def spy(standing, *args):
        made.append(stacking.plan(standing, *args))
        assert made[-1][0] * standing <= made[-1][1]
        return made[-1]

    for module, name in ((attempts, "LEAST_SAVED"), (runs, "_LEAST_SAVED")):
        monkeypatch.setattr(module, name, 0)
        monkeypatch.setattr(module, "plan", spy)
    return made


@pytest.mark.parametrize("early_stop", [False, True])
@pytest.mark.parametrize(
    # On one backend where compiling it takes long.
    "name",
    [pytest.param(n, marks=pytest.mark.tensorflow) if n == "l1" else n for n in ATTACKS],
)
def test_no_verdict_depends_on_it(classifier, batch, plans, name, early_stop):
    x, y = batch
    attack, arguments = ATTACKS[name], {"seed": 3, "early_stop": early_stop}
    alone = [
        attack.run(classifier, x[i : i + 20], y[i : i + 20], index=np.arange(i, i + 20), **arguments)
        for i in (0, 20)
    ]
    alone = {k: np.concatenate([numpy(getattr(r, k)) for r in alone]) for k in alone[0]._fields[:5]}
    plans.clear()
    joined = attack.run(classifier, x, y, max_rows=160, **arguments)
    assert max(count for count, _ in plans) > 1
    success = numpy(joined.success)
    np.testing.assert_array_equal(success, alone["success"])
    assert 0 < success.sum() < 40
    wrong = numpy(classifier.predict(joined.adversarial)).argmax(axis=1) != y
    assert wrong[success].all()
    if not early_stop:
        # What has no reason to differ: the same runs on the same draws, to their ends.
        np.testing.assert_allclose(numpy(joined.distance), alone["distance"], rtol=1e-3)
        standing = ~success
        np.testing.assert_array_equal(numpy(joined.queries)[standing], alone["queries"][standing])
        np.testing.assert_allclose(
            numpy(joined.best_loss)[standing], alone["best_loss"][standing], rtol=1e-3, atol=1e-4
        )


def test_an_example_leaves_with_all_its_rows(classifier, batch, plans):
    """Towards four targets at once, and in a ball that holds every image: all end at the first look."""
    x, y = batch
    attack = APGD(epsilon=1.0, loss="dlr-targeted", steps=50, targets=4)
    result = attack.run(classifier, x, y, seed=0, early_stop=True, max_rows=160)
    assert plans == [(4, 160)]
    assert numpy(result.success).all()
    assert numpy(result.queries).max() <= 1 + 4 * 9


def test_a_plan_fills_the_room_evenly():
    # Nine runs of 41 examples in 250 rows: 6 would fit at once; 5 and 4 are more even.
    assert stacking.plan(41, 48, 9, 100, 250, 2500) == (5, 208)
    assert stacking.plan(41, 208, 4, 100, 250, 2500) == (4, 176)
    # As many as there is max_rows for, one run at least.
    assert stacking.plan(300, 300, 9, 100, 250, 2500) == (1, 300)
    assert stacking.plan(3, 250, 9, 100, 250, 2500)[0] == 9


def test_a_batch_grows_only_where_it_pays():
    assert stacking.plan(10, 10, 4, 100, 40, 2500) == (1, 10)
    assert stacking.plan(10, 10, 5, 100, 40, 2500)[0] > 1
    # Into a batch that is there already it always fits.
    assert stacking.plan(3, 10, 3, 1, 40, 2500) == (3, 10)
    # Without max_rows, as for networks that are random: one at a time, and the batch shrinks.
    assert stacking.plan(3, 40, 9, 100, None, 2500) == (1, 8)


def test_runs_on_a_randomised_network_stay_apart(batch, plans):
    x, y = batch
    inputs = keras.Input(SHAPE)
    noisy = Noise()(layers.Flatten()(inputs))
    classifier = FrozenClassifier(keras.Model(inputs, layers.Dense(5)(noisy)))
    for attack in (ATTACKS["targets"], ATTACKS["fab-t"]):
        attack = dataclasses.replace(attack, steps=3)
        attack.run(classifier, x, y, seed=0, early_stop=True, max_rows=160)
    assert {count for count, _ in plans} == {1}


def test_stacked_rows():
    values = [{"a": np.arange(4) + 10 * run, "b": np.eye(4)} for run in range(3)]
    rows = np.array([1, 3])
    stacked = stacking.stack(values, rows, 8)
    np.testing.assert_array_equal(numpy(stacked["a"]), [1, 3, 11, 13, 21, 23, 1, 1])
    np.testing.assert_array_equal(numpy(stacked["b"]), np.eye(4)[[1, 3, 1, 3, 1, 3, 1, 1]])
    np.testing.assert_array_equal(stacking.owners(rows, 3, 8), [1, 3, 1, 3, 1, 3, -1, -1])

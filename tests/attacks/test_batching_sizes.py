"""The sizes to which batches shrink."""

import keras
import numpy as np
import pytest
from keras import layers, ops

from sharedkeras import backend
from sharedkeras.attacks import APGD
from sharedkeras.attacks.batching.sizes import fitting, least_saved, shrunken, snug
from sharedkeras.models import CallableClassifier, FrozenClassifier


@pytest.mark.parametrize("full", [1, 5, 8, 63, 250, 256, 1000])
def test_sizes_hold_the_points_and_are_few(full):
    sizes = {count: fitting(count, full) for count in range(1, full + 1)}
    assert all(count <= size <= full for count, size in sizes.items())
    assert all(size <= max(8, count + 3, 1.125 * count) for count, size in sizes.items())
    assert len(set(sizes.values())) <= 8 * max(1, full.bit_length() - 3) + 1
    assert sizes[full] == full


def test_on_an_accelerator_sizes_are_powers_of_two_and_a_new_one_must_save_more(monkeypatch):
    small = FrozenClassifier(dense(10, 20))
    monkeypatch.setattr(backend, "accelerated", lambda: True)
    assert {fitting(n, 1000) for n in range(1, 1001)} == {8, 16, 32, 64, 128, 256, 512, 1000}
    assert fitting(480, 1000) == snug(480, 1000, 10**9, 1) == 512
    assert least_saved(small, 2500, 2) == 50_000


def test_sizes_do_not_depend_on_the_batch():
    assert fitting(41, 250) == fitting(41, 63) == fitting(41, 44) == 44
    assert [fitting(n, 1000) for n in (0, 1, 9, 65, 129, 200)] == [8, 8, 12, 72, 144, 208]


def test_a_batch_shrinks_only_where_it_saves_enough():
    assert shrunken(40, 60, 100, 2000) == 40
    assert shrunken(40, 60, 99, 2000) == 60
    assert shrunken(60, 60, 10**9, 1) == 60


def test_a_rarer_size_is_taken_only_where_it_saves_enough():
    assert snug(84, 100, 100, 400) == 84
    assert snug(84, 100, 100, 401) == fitting(84, 100) == 88
    assert snug(60, 100, 10**9, 1) == 60
    assert snug(99, 100, 10**9, 1) == 100
    assert shrunken(84, 96, 100, 400) == 84


def dense(inputs, width):
    x = keras.Input((inputs,))
    hidden = layers.Dense(width)(x)
    return keras.Model(x, layers.Dense(width)(hidden))


def test_the_dearer_a_pass_the_fewer_must_be_saved():
    small = FrozenClassifier(dense(10, 20))
    assert least_saved(small, 2500, 2) == 2500
    assert least_saved(CallableClassifier(lambda x: x), 2500, 1) == 2500
    large = FrozenClassifier(dense(10, 20))
    large.multiply_adds = 500_000_000
    if not backend.accelerated():
        assert (least_saved(large, 2500, 2), least_saved(large, 2500, 1)) == (300, 600)
        assert least_saved(large, 100, 2) == 100


def test_a_deep_network_drops_broken_points_early():
    """Half of the points break at once: what stays is worth a smaller batch only for a dear network."""
    keras.utils.set_random_seed(0)
    x = keras.Input((3, 3, 1))
    network = keras.Model(x, layers.Dense(2)(layers.Flatten()(x)))
    images = np.random.default_rng(0).uniform(size=(40, 3, 3, 1)).astype("float32")
    rows = {}
    for work in (0, 10**12):
        classifier, sizes = FrozenClassifier(network), []
        classifier.multiply_adds = work
        labels = np.argmax(ops.convert_to_numpy(classifier.predict(images)), axis=1).astype("int32")
        labels[::2] = 1 - labels[::2]

        def visit(_, adv, *__, sizes=sizes):
            sizes.append(len(adv))

        APGD(epsilon=1e-6, steps=20).run(
            classifier, images, labels, seed=0, early_stop=True, visit=visit
        )
        rows[work] = sizes
    assert set(rows[0]) == {40}
    assert set(rows[10**12]) == ({40} if backend.accelerated() else {20})

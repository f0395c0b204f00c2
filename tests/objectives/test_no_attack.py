"""Without an attack every objective sees clean images, whatever it asks of an attack."""

import keras
import numpy as np
import pytest
from keras import ops

from sharedkeras import attacks, models, objectives


@pytest.mark.parametrize("name", objectives.names())
def test_views_are_the_clean_images(name):
    keras.utils.set_random_seed(0)
    images = keras.Input((4, 4, 1))
    network = keras.Model(images, keras.layers.Dense(3)(keras.layers.Flatten()(images)))
    rng = np.random.default_rng(0)
    x = rng.random((12, 4, 4, 1)).astype("float32")
    targets = {"label": np.arange(12, dtype="int32") % 3, "index": np.arange(12, dtype="int32")}
    objective = objectives.get(name)(attack=attacks.NoAttack(epsilon=0.3))
    x = ops.convert_to_tensor(x)
    targets = {key: ops.convert_to_tensor(value) for key, value in targets.items()}
    views, _ = objective.views(models.FrozenClassifier(network), x, targets, seed=0)
    assert views
    for view in views.values():
        np.testing.assert_array_equal(ops.convert_to_numpy(view), ops.convert_to_numpy(x))

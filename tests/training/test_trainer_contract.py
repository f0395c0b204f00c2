"""What the trainer takes, and what it refuses in one sentence before the first update."""

import importlib
import subprocess
import sys

import keras
import numpy as np
import pytest
from keras import layers, ops

from sharedkeras import attacks, objectives, training

PGD = attacks.PGD(epsilon=0.1, step_size=0.05, steps=1)
RNG = np.random.default_rng(0)
X = RNG.random((32, 8, 8, 1), dtype="float32")
Y = (np.arange(32) % 4).astype("int64")


def dense(**options):
    images = keras.Input((8, 8, 1))
    return keras.Model(images, layers.Dense(4, **options)(layers.Flatten()(images)))


def compiled(network=None, rate=0.1, **options):
    objective = options.pop("objective", objectives.Standard(attack=PGD))
    trainer = training.RobustTrainer(network or dense(), objective, **options)
    trainer.compile(optimizer=keras.optimizers.SGD(rate))
    return trainer


class Pairs(keras.utils.PyDataset):
    def __init__(self, x, y):
        super().__init__()
        self.x, self.y = x, y

    def __len__(self):
        return len(self.x) // 16

    def __getitem__(self, i):
        part = slice(16 * i, 16 * i + 16)
        return self.x[part], self.y[part]


def pipeline(x, y):
    tf_data = importlib.import_module("tensorflow").data
    return tf_data.Dataset.from_tensor_slices((x, y)).batch(16)


def generator(x, y):
    while True:
        for i in range(0, len(x), 16):
            yield x[i : i + 16], y[i : i + 16]


SOURCES = {"arrays": None, "PyDataset": Pairs, "generator": generator, "tf.data": pipeline}


def fit(trainer, kind, x, y, **options):
    options = {"shuffle": False, "verbose": 0, **options}
    if kind == "arrays":
        return trainer.fit(x, y, batch_size=16, **options)
    if kind == "generator":
        options["steps_per_epoch"] = 2
    return trainer.fit(SOURCES[kind](x, y), **options)


def unmoved(trainer, before):
    for a, b in zip(trainer.network.get_weights(), before, strict=True):
        np.testing.assert_array_equal(a, b)
    return int(ops.convert_to_numpy(trainer.update.value)) == 0


def test_all_sources_train_alike():
    results = []
    for kind in SOURCES:
        keras.utils.set_random_seed(0)
        trainer = compiled()
        history = fit(trainer, kind, X, Y).history
        results.append([*trainer.network.get_weights(), np.array(history["loss"])])
    for other in results[1:]:
        for a, b in zip(results[0], other, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-7)


IMAGES = {
    "8 bits": ((X * 255).astype("uint8"), "Divide by 255"),
    "0 to 255": (X * 255, "Divide by 255"),
    "-1 to 1": (2 * X - 1, r"in \[0, 1\]"),
    "standardised": ((X - X.mean()) / X.std(), r"in \[0, 1\]"),
    "NaN": (np.where(X > 0.9, np.nan, X).astype("float32"), "finite"),
    "no channels": (X[..., 0], "four axes"),
    "channels first": (np.moveaxis(X, -1, 1), r"input shape, \(8, 8, 1\)"),
    "integers": ((X > 0.5).astype("int32"), "float32"),
}


@pytest.mark.parametrize("kind", SOURCES)
@pytest.mark.parametrize("name", IMAGES)
def test_images_that_are_refused(kind, name):
    images, message = IMAGES[name]
    trainer = compiled()
    before = trainer.network.get_weights()
    with pytest.raises((TypeError, ValueError), match=message):
        fit(trainer, kind, images, Y)
    assert unmoved(trainer, before)


LABELS = {
    "one-hot": (np.eye(4, dtype="float32")[Y], "one-hot"),
    "(N, 1)": (Y[:, None], "labels along one axis"),
    "1 to K": (Y + 1, "take `y - 1`"),
    "too large": (Y + 4, "from 0 to 3"),
    "negative": (Y - 1, "from 0 to 3"),
    "floats": (Y.astype("float32"), "integers"),
}


@pytest.mark.parametrize("kind", SOURCES)
@pytest.mark.parametrize("name", LABELS)
def test_labels_that_are_refused(kind, name):
    labels, message = LABELS[name]
    trainer = compiled()
    before = trainer.network.get_weights()
    with pytest.raises((TypeError, ValueError), match=message):
        fit(trainer, kind, X, labels)
    assert unmoved(trainer, before)


@pytest.mark.parametrize(
    ("kind", "images", "labels"), [("arrays", "float64", "uint8"), ("PyDataset", "float16", "int32")]
)
def test_floats_and_integers_of_every_width(kind, images, labels):
    history = fit(compiled(), kind, X.astype(images), Y.astype(labels)).history
    assert np.isfinite(history["loss"][0])


@pytest.mark.parametrize(
    ("kind", "images", "labels", "message"),
    [
        ("generator", 255.0, 0, r"epoch 1 held images outside \[0, 1\]"),
        ("PyDataset", np.nan, 0, "not finite"),
        ("tf.data", 1.0, 4, r"labels outside 0\.\.3"),
        ("tf.data", -1.0, -9, r"images .* and labels"),
    ],
)
def test_later_batches_are_found_at_the_end_of_their_epoch(kind, images, labels, message, tmp_path):
    x, y = X.copy(), Y.copy()
    x[-1] *= images
    y[-1] += labels
    kept = keras.callbacks.ModelCheckpoint(tmp_path / "{epoch}.keras")
    trainer = compiled()
    with pytest.raises(ValueError, match=message):
        fit(trainer, kind, x, y, callbacks=kept)
    assert not list(tmp_path.iterdir())
    # What is right afterwards is not blamed for what was wrong before.
    fit(trainer, kind, X, Y)


def test_batches_that_are_no_pairs_are_refused():
    with pytest.raises(ValueError, match="pair"):
        compiled().fit(pipeline(X, Y).map(lambda x, y: {"image": x, "label": y}), verbose=0)
    with pytest.raises(ValueError, match="pair"):
        compiled().fit(pipeline(X, Y).map(lambda x, y: x), verbose=0)
    with pytest.raises(ValueError, match="at least one batch"):
        compiled().fit(pipeline(X, Y).take(0), verbose=0)


def test_weights_of_examples_are_refused():
    trainer = compiled()
    weights = np.ones(32, "float32")
    weighted = pipeline(X, (Y, weights)).map(lambda x, y: (x, *y))
    calls = {
        "sample_weight": lambda: trainer.fit(X, Y, sample_weight=weights, verbose=0),
        "class_weight": lambda: trainer.fit(X, Y, class_weight={0: 2.0}, verbose=0),
        "in the data": lambda: trainer.fit(weighted, verbose=0),
        "validation": lambda: trainer.fit(X, Y, validation_data=(X, Y, weights), verbose=0),
        "evaluate": lambda: trainer.evaluate(X, Y, sample_weight=weights, verbose=0),
        "on a batch": lambda: trainer.train_on_batch(X, Y, weights),
    }
    for call in calls.values():
        with pytest.raises(ValueError, match="Sample weights and class weights are not supported"):
            call()


@pytest.mark.parametrize(
    "given",
    [
        {"metrics": ["accuracy"]},
        {"metrics": [keras.metrics.SparseCategoricalAccuracy()]},
        {"weighted_metrics": ["accuracy"]},
        {"loss": "sparse_categorical_crossentropy"},
        {"loss_weights": [1.0]},
    ],
)
def test_what_compile_refuses_it_names_with_what_is_logged(given):
    trainer = training.RobustTrainer(dense(), objectives.Standard(attack=PGD))
    (name,) = given
    with pytest.raises(ValueError, match=f"`{name}` is not for the trainer.*'ce_adv'.*'accuracy'"):
        trainer.compile("sgd", **given)


def test_validation_data_is_checked_and_logged():
    with pytest.raises(ValueError, match="Divide by 255"):
        compiled().fit(X, Y, validation_data=(255 * X, Y), verbose=0)
    for validation in ((X, Y), pipeline(X, Y)):
        history = compiled().fit(X, Y, validation_data=validation, epochs=2, verbose=0).history
        assert set(history) == {"loss", "ce_adv", "val_loss", "val_accuracy"}
    assert "val_accuracy" in compiled().fit(X, Y, validation_split=0.5, verbose=0).history


def test_model_checkpoint_keeps_the_network(tmp_path):
    trainer = compiled()
    whole = keras.callbacks.ModelCheckpoint(
        tmp_path / "best.keras", monitor="val_accuracy", mode="max", save_best_only=True
    )
    weights = keras.callbacks.ModelCheckpoint(tmp_path / "w.weights.h5", save_weights_only=True)
    trainer.fit(X, Y, validation_data=(X, Y), callbacks=[whole, weights], verbose=0)
    loaded = keras.saving.load_model(tmp_path / "best.keras")
    np.testing.assert_array_equal(loaded.predict(X, verbose=0), trainer.network.predict(X, verbose=0))
    other = dense()
    other.load_weights(tmp_path / "w.weights.h5")
    np.testing.assert_array_equal(other.get_weights()[0], trainer.network.get_weights()[0])
    trainer.network.set_weights([0 * w for w in other.get_weights()])
    trainer.load_weights(tmp_path / "w.weights.h5")
    np.testing.assert_array_equal(other.get_weights()[0], trainer.network.get_weights()[0])


def softmax_layer():
    images = keras.Input((8, 8, 1))
    return keras.Model(images, layers.Softmax()(layers.Dense(4)(layers.Flatten()(images))))


def nested():
    images = keras.Input((8, 8, 1))
    return keras.Model(images, dense(activation="softmax")(images))


def subclassed():
    class Own(keras.Model):
        def __init__(self):
            super().__init__()
            self.inner = dense(activation="softmax")

        def call(self, x, training=False):
            return self.inner(x, training=training)

    network = Own()
    network(X[:1])
    return network


class OwnSoftmax(layers.Layer):
    def call(self, x):
        return ops.softmax(x)


def behind(*last):
    return lambda: keras.Sequential([keras.Input((8, 8, 1)), dense(), *last])


def one_output():
    images = keras.Input((8, 8, 1))
    return keras.Model(images, layers.Dense(1)(layers.Flatten()(images)))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: dense(activation="softmax"), "logits, not probabilities"),
        (lambda: dense(activation="sigmoid"), "logits, not probabilities"),
        (softmax_layer, "logits, not probabilities"),
        (nested, "logits, not probabilities"),
        (subclassed, "positive and sum to 1"),
        (behind(OwnSoftmax()), "positive and sum to 1"),
        (behind(layers.Softmax(), layers.Activation("linear")), "positive and sum to 1"),
        (behind(layers.Softmax(), layers.Rescaling(100)), "positive and sum to 100"),
        (one_output, "at least 2 classes"),
        (lambda: dense(dtype="float16"), "mixed_float16"),
        (lambda: dense(dtype="bfloat16"), "mixed_float16"),
    ],
)
def test_networks_that_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        compiled(make()).fit(X, Y, verbose=0)


@pytest.mark.parametrize("last", [layers.Rescaling(2.0), layers.BatchNormalization()])
def test_logits_that_no_product_gives_are_taken(last):
    assert len(fit(compiled(behind(last)()), "arrays", X, Y).history["loss"]) == 1


@pytest.mark.parametrize(
    ("network", "objective", "message"),
    [
        (dense(), "trades", r"TRADES\(\).*Received: objective='trades'"),
        (dense(), objectives.TRADES, r"Received: objective=<class"),
        (dense(), None, "Received: objective=None"),
        ("cnn", objectives.Standard(), "must be a keras.Model .*Received: network='cnn'"),
        (lambda x: x, objectives.Standard(), "must be a keras.Model"),
    ],
)
def test_what_is_no_network_or_objective_is_told_what_to_pass(network, objective, message):
    with pytest.raises(TypeError, match=message):
        training.RobustTrainer(network, objective)


def test_log_softmax_gives_logits():
    plain, normalised = dense(), dense(activation="log_softmax")
    normalised.set_weights(plain.get_weights())
    before = plain.get_weights()
    # A constant added to all logits changes no cross-entropy, so the updates are the same too.
    logs = [fit(compiled(network), "arrays", X, Y).history for network in (plain, normalised)]
    assert logs[1]["loss"] == pytest.approx(logs[0]["loss"], rel=1e-5)
    for a, b in zip(plain.get_weights(), normalised.get_weights(), strict=True):
        np.testing.assert_allclose(b, a, rtol=1e-4, atol=1e-6)
    assert np.abs(plain.get_weights()[0] - before[0]).max() > 1e-4


class Penalised(layers.Layer):
    """Adds a loss that does not depend on the images, and one that does."""

    def call(self, x):
        self.add_loss(ops.convert_to_tensor(3.0))
        self.add_loss(ops.mean(x))
        return x


def with_own_losses(kind):
    images = keras.Input((8, 8, 1))
    x = layers.Flatten()(images)
    options = {}
    if kind == "kernel":
        options["kernel_regularizer"] = keras.regularizers.L2(0.5)
    if kind == "bias and activity":
        options["bias_regularizer"] = keras.regularizers.L1(0.5)
        options["bias_initializer"] = "ones"
        options["activity_regularizer"] = keras.regularizers.L2(0.25)
    if kind == "add_loss":
        x = Penalised()(x)
    return keras.Model(images, layers.Dense(4, **options)(x))


class TwoViews(objectives.Standard):
    """Shows the same images twice, so that what each pass adds is known."""

    def views(self, classifier, x, targets, seed):
        return {"clean": x, "adv": x}, targets


@pytest.mark.parametrize("kind", ["kernel", "bias and activity", "add_loss"])
@pytest.mark.parametrize("objective", [objectives.Standard, TwoViews])
def test_losses_of_the_network_are_added_once_as_keras_adds_them(kind, objective):
    # The smallest ball leaves the images as they are.
    attack = attacks.PGD(epsilon=1e-9, step_size=1e-9, steps=1, random_start=None)
    ours, theirs = with_own_losses(kind), with_own_losses(kind)
    theirs.set_weights(ours.get_weights())
    trainer = compiled(ours, objective=objective(attack=attack))
    logs = trainer.fit(X, Y, batch_size=32, shuffle=False, verbose=0).history
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    theirs.compile(optimizer=keras.optimizers.SGD(0.1), loss=loss)
    expected = theirs.fit(X, Y, batch_size=32, shuffle=False, verbose=0).history["loss"]
    assert logs["loss"][0] == pytest.approx(expected[0], rel=1e-5)
    for a, b in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
    if kind != "add_loss":
        assert logs["regularization"][0] == pytest.approx(logs["loss"][0] - logs["ce_adv"][0], rel=1e-4)
    evaluated = trainer.evaluate(X, Y, verbose=0, return_dict=True)["loss"]
    assert evaluated == pytest.approx(theirs.evaluate(X, Y, verbose=0), rel=1e-4)


def test_terms_are_means_over_examples():
    trainer = compiled(rate=0.0)
    logs = trainer.fit(X[:20], Y[:20], batch_size=16, shuffle=False, verbose=0).history
    assert logs["ce_adv"][0] == pytest.approx(logs["loss"][0], rel=1e-6)


def test_numbers_of_numpy():
    trainer = compiled(weight_decay=np.float32(0.5), seed=np.int64(3))
    assert (trainer.weight_decay, trainer.root_seed) == (0.5, 3)
    for bad in ({"seed": -1}, {"seed": 0.5}, {"weight_decay": "much"}, {"weight_decay": np.nan}):
        (name,) = bad
        with pytest.raises(ValueError, match=name):
            compiled(**bad)


REPLICAS = """
import json, sys
import tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
import keras, numpy as np
from sharedkeras import attacks, objectives, training
from sharedkeras.layers import GaussianStochastic

rng = np.random.default_rng(0)
x, y = rng.random((32, 8, 8, 1), dtype="float32"), rng.integers(0, 3, 32)
ATTACK = attacks.PGD(epsilon=0.1, step_size=0.02, steps=2)

def network():
    images = keras.Input((8, 8, 1))
    h = keras.layers.Conv2D(4, 3, kernel_regularizer="l2", activity_regularizer="l2")(images)
    h = keras.layers.Flatten()(keras.layers.ReLU()(h))
    h, _, _ = GaussianStochastic(4, name="latent", seed=0)(h)
    return keras.Model(images, keras.layers.Dense(3)(h))

def run(strategy):
    keras.utils.set_random_seed(0)
    with strategy.scope():
        model = network()
        # HSIC compares the examples of a replica, so that its weight is 0 here.
        objective = objectives.SharedInformation(attack=ATTACK, beta=0.1, lam=0.0)
        trainer = training.RobustTrainer(model, objective, seed=1, weight_decay=0.01)
        trainer.compile(optimizer=keras.optimizers.SGD(0.01, momentum=0.9))
    logs = trainer.fit(x, y, batch_size=16, epochs=2, shuffle=False, verbose=0).history
    logs.pop("hsic")
    logs["evaluated"] = trainer.evaluate(x, y, batch_size=16, verbose=0)
    return logs, model.get_weights()

one, two = run(tf.distribute.get_strategy()), run(tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]))
for name in one[0]:
    np.testing.assert_allclose(one[0][name], two[0][name], rtol=1e-5, err_msg=name)
for a, b in zip(one[1], two[1]):
    np.testing.assert_allclose(a, b, atol=1e-5)

# Equal images get other starts, whichever replica they are on.
strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
with strategy.scope():
    trainer = training.RobustTrainer(network(), objectives.Standard(attack=ATTACK), seed=1)
same = np.full((4, 8, 8, 1), 0.5, "float32"), np.zeros(4, "int32")
batches = strategy.experimental_distribute_dataset(tf.data.Dataset.from_tensor_slices(same).batch(4))
views = strategy.run(lambda batch: trainer.craft(batch)[0]["adv"], args=(next(iter(batches)),))
views = np.concatenate([v.numpy() for v in strategy.experimental_local_results(views)])
assert len(np.unique(views.reshape(4, -1), axis=0)) == 4
print("equal")
"""


@pytest.mark.tensorflow
def test_two_replicas_train_as_one_device_does():
    done = subprocess.run([sys.executable, "-c", REPLICAS], capture_output=True, text=True, timeout=280)
    assert done.stdout.strip().endswith("equal"), done.stderr[-3000:]

"""The trainer: what a step does to weights, statistics and randomness."""

import dataclasses

import keras
import numpy as np
import pytest
from keras import ops

from sharedkeras import attacks, data, losses, models, objectives, training
from sharedkeras.attacks import registry
from sharedkeras.layers import GaussianStochastic
from sharedkeras.math import random
from sharedkeras.training import checkpoint

PGD = attacks.PGD(epsilon=0.1, step_size=0.05, steps=2)


def numpy(x):
    return ops.convert_to_numpy(x)


def small(latent=4, batch_norm=True):
    inputs = keras.Input((8, 8, 1))
    x = keras.layers.Conv2D(4, 3, name="conv")(inputs)
    if batch_norm:
        x = keras.layers.BatchNormalization(momentum=0.9, name="bn")(x)
    x = keras.layers.Flatten(name="features")(keras.layers.ReLU()(x))
    if latent:
        x, _, _ = GaussianStochastic(latent, name="latent", seed=0)(x)
    return keras.Model(inputs, keras.layers.Dense(3, name="logits")(x))


@pytest.fixture
def batch():
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, 24).astype("int32")
    x = np.clip(0.3 * y[:, None, None, None] + 0.3 * rng.random((24, 8, 8, 1)), 0, 1)
    return x.astype("float32"), y


def compiled(network, objective, rate=0.05, **arguments):
    trainer = training.RobustTrainer(network, objective, **arguments)
    trainer.compile(optimizer=keras.optimizers.SGD(rate))
    return trainer


def test_a_step_is_the_gradient_of_the_objective_on_the_crafted_views(batch):
    x, y = batch
    objective = objectives.Standard(attack=PGD)
    network = small(latent=None, batch_norm=False)
    weights = [w.copy() for w in network.get_weights()]
    trainer = compiled(network, objective, seed=3)
    trainer.fit(x, y, batch_size=24, epochs=1, shuffle=False, verbose=0)
    after = network.get_weights()
    # The same step by hand: craft with the key of update 0, then a plain Keras step on the result.
    twin = small(latent=None, batch_norm=False)
    twin.set_weights(weights)
    key = random.key(random.key(3, "train", 0), "attack")
    adv = numpy(PGD(models.FrozenClassifier(twin), x, y, seed=key))
    twin.compile(
        optimizer=keras.optimizers.SGD(0.05),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    twin.train_on_batch(adv, y)
    for a, b, before in zip(after, twin.get_weights(), weights, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)
        assert np.abs(a - before).max() > 1e-5


def test_batch_norm_sees_each_view_once_and_the_attack_not_at_all(batch):
    x, y = batch
    network = small()
    conv = network.get_layer("conv")
    objective = objectives.SharedInformation(attack=PGD)
    # A vanishing rate keeps the convolution, so that what BatchNorm saw can be computed again.
    trainer = compiled(network, objective, rate=1e-12, seed=1)
    trainer.fit(x, y, batch_size=24, epochs=1, shuffle=False, verbose=0)
    mean = numpy(network.get_layer("bn").moving_mean + 0)
    one = numpy(conv(x)).mean(axis=(0, 1, 2))
    key = random.key(random.key(1, "train", 0), "attack")
    untouched = small()
    untouched.set_weights(network.get_weights())
    untouched.get_layer("bn").moving_mean.assign(np.zeros(4))
    untouched.get_layer("bn").moving_variance.assign(np.ones(4))
    adv = numpy(PGD(models.FrozenClassifier(untouched), x, y, seed=key))
    two = numpy(conv(adv)).mean(axis=(0, 1, 2))
    # Two updates with momentum 0.9: the clean batch, then the adversarial one.
    np.testing.assert_allclose(mean, 0.9 * (0.1 * one) + 0.1 * two, rtol=1e-4, atol=1e-6)


def test_all_terms_are_logged(batch):
    x, y = batch
    trainer = compiled(small(), objectives.SharedInformation(attack=PGD), weight_decay=1e-2)
    history = trainer.fit(x, y, batch_size=12, epochs=2, verbose=0).history
    assert set(history) == {"loss", "ce_adv", "ce_clean", "skl", "hsic", "weight_decay"}
    for name in ("loss", "skl"):
        assert len(history[name]) == 2


def test_weight_decay_is_coupled(batch):
    x, y = batch
    objective = objectives.Standard(attack=PGD)
    plain, decayed = small(latent=None, batch_norm=False), small(latent=None, batch_norm=False)
    decayed.set_weights(plain.get_weights())
    before = [w.copy() for w in plain.get_weights()]
    for network, decay in ((plain, 0.0), (decayed, 0.5)):
        trainer = compiled(network, objective, rate=0.1, weight_decay=decay)
        trainer.fit(x, y, batch_size=24, epochs=1, shuffle=False, verbose=0)
    for a, b, w in zip(plain.get_weights(), decayed.get_weights(), before, strict=True):
        np.testing.assert_allclose(a - b, 0.1 * 0.5 * w, atol=2e-6)


def test_evaluate_gives_loss_and_accuracy_of_plain_images(batch):
    x, y = batch
    network = small()
    trainer = compiled(network, objectives.SharedInformation(attack=PGD))
    result = trainer.evaluate(x, y, verbose=0, return_dict=True)
    logits = numpy(network(x))
    assert result["accuracy"] == pytest.approx((logits.argmax(1) == y).mean())
    expected = numpy(losses.cross_entropy(y, logits)).mean()
    assert result["loss"] == pytest.approx(expected, rel=1e-4)


def test_same_seed_same_weights_other_seed_others(batch):
    x, y = batch
    results = []
    for seed in (0, 0, 1):
        keras.utils.set_random_seed(5)
        network = small()
        trainer = compiled(network, objectives.Standard(attack=PGD), seed=seed)
        trainer.fit(x, y, batch_size=12, epochs=1, shuffle=False, verbose=0)
        results.append(np.concatenate([w.ravel() for w in network.get_weights()]))
    np.testing.assert_allclose(results[0], results[1], atol=1e-6)
    assert np.abs(results[0] - results[2]).max() > 1e-5


def test_training_learns(batch):
    x, y = batch
    network = small()
    trainer = training.RobustTrainer(network, objectives.SharedInformation(attack=PGD, beta=0.1))
    trainer.compile(optimizer=keras.optimizers.Adam(0.01))
    trainer.fit(data.Batches(x, y, 12), epochs=40, shuffle=False, verbose=0)
    adv = PGD(models.FrozenClassifier(network), x, y, seed=9)
    assert (numpy(network(adv)).argmax(1) == y).mean() > 0.9


@pytest.mark.parametrize("name", objectives.names())
def test_every_objective_trains_and_its_memory_is_kept(batch, name):
    x, y = batch
    own = objectives.get(name)().attack
    objective = objectives.get(name)(attack=dataclasses.replace(own, epsilon=0.1))
    trainer = compiled(small(), objective, ema_decay=0.9)
    before = [numpy(v) for v in objective.variables]
    history = trainer.fit(data.Batches(x, y, 8), epochs=1, shuffle=False, verbose=0).history
    assert set(history) == {"loss", *objective.terms}
    assert np.isfinite([values[0] for values in history.values()]).all()
    kept = {id(v) for v in checkpoint.variables(trainer)}
    assert all(id(v) in kept for v in (*objective.variables, *trainer.average.variables))
    for variable, value in zip(objective.variables, before, strict=True):
        # Three updates: every example was met once, and what alternates has changed its side.
        assert not np.array_equal(numpy(variable), value)


def test_a_noisy_step_serves_an_attack_on_the_divergence(batch):
    x, y = batch
    objective = objectives.TRADES(attack=attacks.NFGSM(epsilon=0.1))
    history = compiled(small(), objective).fit(x, y, batch_size=12, epochs=1, verbose=0).history
    # From the clean image itself the divergence would have no gradient; from noise it has.
    assert history["kl"][0] > 0


def test_carlini_wagner_crafts_in_graph(batch):
    x, y = batch
    attack = attacks.CarliniWagner(c=1.0, steps=3, learning_rate=0.05, compat="torchattacks")
    trainer = compiled(small(), objectives.Standard(attack=attack))
    history = trainer.fit(x, y, batch_size=12, epochs=1, verbose=0).history
    assert np.isfinite(history["loss"][0])


@pytest.mark.parametrize("name", registry.names())
def test_every_attack_by_name_trains(batch, name):
    x, y = batch
    attack = registry.get(name)(epsilon=3.0 if name == "cw" else 0.3)
    trainer = compiled(small(latent=None), objectives.MART(attack=attack))
    alone = numpy(attack(trainer.network, x, y, seed=0))
    assert np.array_equal(alone, x) == (name == "none")
    history = trainer.fit(x, y, batch_size=12, epochs=1, verbose=0).history
    # The divergence of the two predictions, weighted: none without an attack.
    assert np.isfinite(history["loss"][0])
    assert (history["kl"][0] > 1e-6) == (name != "none")


def test_l2_attack_crafts_in_graph(batch):
    x, y = batch
    attack = attacks.PGD(norm="l2", epsilon=0.5, step_size=0.2, steps=3)
    trainer = compiled(small(), objectives.Standard(attack=attack))
    assert np.isfinite(trainer.fit(x, y, batch_size=12, epochs=1, verbose=0).history["loss"][0])


def test_missing_latent_layer():
    with pytest.raises(ValueError, match="latent_dim"):
        training.RobustTrainer(small(latent=None), objectives.SharedInformation(attack=PGD))


def test_negative_weight_decay():
    with pytest.raises(ValueError, match="weight_decay"):
        training.RobustTrainer(small(), objectives.Standard(attack=PGD), weight_decay=-1)


def test_sample_weights_are_refused(batch):
    x, y = batch
    trainer = compiled(small(), objectives.Standard(attack=PGD))
    with pytest.raises(ValueError, match="Sample weights"):
        trainer.fit(x, y, sample_weight=np.ones(24, "float32"), batch_size=12, verbose=0)


def sequential():
    return keras.Sequential(small(latent=None).layers)


def in_a_list():
    network = small(latent=None)
    return keras.Model([network.input], [network.output])


@pytest.mark.parametrize("make", [sequential, in_a_list])
def test_every_kind_of_network_trains_as_its_functional_twin_does(batch, make):
    x, y = batch

    def trained(make):
        keras.utils.set_random_seed(0)
        network = make()
        trainer = compiled(network, objectives.Standard(attack=PGD), seed=3)
        trainer.fit(x, y, batch_size=12, epochs=2, shuffle=False, verbose=0)
        assert trainer.evaluate(x, y, verbose=0, return_dict=True)["accuracy"] > 0.3
        return network.get_weights()

    for a, b in zip(trained(lambda: small(latent=None)), trained(make), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_subclassed_network_trains_where_nothing_is_tapped(batch):
    class Own(keras.Model):
        def __init__(self):
            super().__init__()
            self.inner = small(latent=None)

        def call(self, x, training=False):
            return self.inner(x, training=training)

    x, y = batch
    keras.utils.set_random_seed(0)
    expected = small(latent=None)
    keras.utils.set_random_seed(0)
    network = Own()
    with pytest.raises(ValueError, match="must be built"):
        training.RobustTrainer(network, objectives.Standard(attack=PGD))
    network(x)
    with pytest.raises(ValueError, match="has no"):
        training.RobustTrainer(network, objectives.SharedInformation(attack=PGD))
    for each in (expected, network):
        compiled(each, objectives.Standard(attack=PGD), seed=3).fit(
            x, y, batch_size=12, shuffle=False, verbose=0
        )
    for a, b in zip(expected.get_weights(), network.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_taps_need_a_functional_network(batch):
    class Own(keras.Model):
        def __init__(self, names):
            super().__init__()
            self.parts = [keras.layers.Dense(3, name=name) for name in names]

        def call(self, x):
            x = keras.ops.reshape(x, (-1, 64))
            return self.parts[0](x)

    objective = objectives.SharedInformation(attack=PGD)
    network = Own(objective.taps)
    network(batch[0])
    with pytest.raises(ValueError, match=r"copy, .* must be functional"):
        training.RobustTrainer(network, objectives.Standard(attack=PGD), ema_decay=0.9)
    with pytest.raises(ValueError, match=r"network must be functional\. Received: .* of type Own"):
        training.RobustTrainer(network, objective)

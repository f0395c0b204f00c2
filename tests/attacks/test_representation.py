"""The attack on a layer: box, closed forms, lock-step against SciPy, guides, training in graph."""

import dataclasses
import functools
import threading

import keras
import numpy as np
import pytest
from keras import ops
from scipy import optimize

from sharedkeras import backend, evaluation, objectives, training
from sharedkeras.attacks.representation import lbfgs_graph, lbfgs_scipy
from sharedkeras.attacks.representation.representation import Representation
from sharedkeras.layers import GaussianStochastic
from sharedkeras.models import FrozenClassifier

EPSILON = 0.1


def numpy(x):
    return ops.convert_to_numpy(x)


def make(*, batch_norm=False, sample=False):
    keras.utils.set_random_seed(0)
    inputs = keras.Input((6, 6, 1))
    x = keras.layers.Conv2D(4, 3, activation="tanh", name="conv")(inputs)
    if batch_norm:
        x = keras.layers.BatchNormalization(name="bn")(x)
    x = keras.layers.Flatten(name="features")(x)
    x, _, _ = GaussianStochastic(5, name="latent", seed=1, sample_at_inference=sample)(x)
    return keras.Model(inputs, keras.layers.Dense(3, name="logits")(x))


def plain():
    keras.utils.set_random_seed(0)
    inputs = keras.Input((6, 6, 1))
    x = keras.layers.Dense(5, activation="tanh", name="features")(keras.layers.Flatten()(inputs))
    return keras.Model(inputs, keras.layers.Dense(3)(x))


def activations(network, layer, x):
    return numpy(FrozenClassifier(network).tap(layer).predict(x)).reshape(len(x), -1)


@pytest.fixture(scope="module")
def classifier():
    return FrozenClassifier(make())


@pytest.fixture(scope="module")
def batch(classifier):
    rng = np.random.default_rng(0)
    x, guide = rng.random((2, 9, 6, 6, 1)).astype("float32")
    x[0, :3], x[1, :3] = 0.0, 1.0  # where the box is cut off by the image
    return x, numpy(classifier.predict(x)).argmax(axis=1).astype("int32"), guide


ATTACK = Representation(layer="latent", epsilon=EPSILON, steps=4)
LONG = 41  # so many steps are a loop of the graph on every backend, which compiles fast


def in_graph(attack, classifier, x, y, guide):
    """The same call inside a graph, where no host code can run."""

    def call(view, x, y, guide):
        result = attack.run(view, x, y, guide=guide, seed=0)
        return result.adversarial, result.success, result.best_loss

    return [numpy(t) for t in classifier.compiled(("in graph", attack), call)(x, y, guide)]


@pytest.mark.parametrize("layer", ["conv", "features", "latent", "logits"])
def test_nearer_to_the_guide_and_in_the_box(classifier, batch, layer):
    x, y, guide = batch
    attack = dataclasses.replace(ATTACK, layer=layer)
    result = attack.run(classifier, x, y, guide=guide, seed=0, trace=True)
    adv = numpy(result.adversarial)
    assert adv.dtype == x.dtype
    assert np.abs(adv - x).max() <= EPSILON + 1e-6
    assert adv.min() >= 0 and adv.max() <= 1
    phi = [activations(classifier.network, layer, images) for images in (x, adv, guide)]
    before, after = (np.linalg.norm(p - phi[2], axis=1) for p in phi[:2])
    ratio = numpy(result.trace["distance_ratio"])
    assert np.all(ratio < 0.99)
    np.testing.assert_allclose(ratio, after / before, rtol=1e-4)
    np.testing.assert_allclose(-numpy(result.best_loss), after**2, rtol=1e-3)
    labels = [numpy(classifier.predict(images)).argmax(axis=1) for images in (adv, guide)]
    assert np.array_equal(numpy(result.success), labels[0] != y)
    assert np.array_equal(numpy(result.trace["label_of_guide"]), labels[0] == labels[1])
    assert np.all(np.isinf(numpy(result.distance)[labels[0] == y]))
    curve = numpy(result.trace["loss"])
    assert curve.shape == (4, 9)
    assert np.all(np.diff(curve, axis=0) <= 0)


def linear(weights, units):
    inputs = keras.Input((4, 4, 1))
    x = keras.layers.Dense(units, use_bias=False, name="phi")(keras.layers.Flatten()(inputs))
    network = keras.Model(inputs, keras.layers.Dense(2, name="logits")(x))
    network.get_layer("phi").set_weights([weights])
    return FrozenClassifier(network)


def test_one_linear_feature_ends_in_the_corner():
    rng = np.random.default_rng(0)
    weights = rng.normal(size=(16, 1)).astype("float32")
    x, y = np.full((1, 4, 4, 1), 0.5, "float32"), np.zeros(1, "int32")
    guide = (0.5 + 0.4 * np.sign(weights)).reshape(x.shape).astype("float32")
    attack = Representation(layer="phi", epsilon=EPSILON, steps=LONG)
    classifier = linear(weights, 1)
    corner = EPSILON * np.sign(weights).ravel()
    adv = numpy(attack(classifier, x, y, guide=guide, seed=0))
    np.testing.assert_allclose((adv - x).ravel(), corner, atol=1e-5)
    adv, _, _ = in_graph(attack, classifier, x, y, guide)
    np.testing.assert_allclose((adv - x).ravel(), corner, atol=1e-5)


def test_linear_features_reach_the_least_squares_solution():
    rng = np.random.default_rng(1)
    weights = (np.eye(16) + 0.2 * rng.normal(size=(16, 16))).astype("float32")
    x = rng.random((4, 4, 4, 1)).astype("float32")
    guide, y = np.roll(x, 1, axis=0), np.zeros(4, "int32")
    attack = Representation(layer="phi", epsilon=EPSILON, steps=LONG)
    classifier = linear(weights, 16)
    solved = numpy(attack(classifier, x, y, guide=guide, seed=0))
    graph, _, value = in_graph(attack, classifier, x, y, guide)
    for i in range(4):
        low, high = (np.clip(x[i] + s * EPSILON, 0, 1).ravel() for s in (-1, 1))
        matrix = weights.T.astype("float64")
        best = optimize.lsq_linear(matrix, matrix @ guide[i].ravel(), (low, high), tol=1e-12)
        np.testing.assert_allclose(solved[i].ravel(), best.x, atol=2e-3)
        np.testing.assert_allclose(graph[i].ravel(), best.x, atol=2e-2)
        np.testing.assert_allclose(-value[i], 2 * best.cost, rtol=1e-3)


def test_a_guide_within_reach_is_met_exactly(classifier, batch):
    x, y, _ = batch
    guide = np.clip(x + 0.5 * EPSILON, 0, 1)
    attack = dataclasses.replace(ATTACK, steps=60)
    result = attack.run(classifier, x, y, guide=guide, seed=0, trace=True)
    assert numpy(result.trace["distance_ratio"]).max() < 1e-2
    itself = attack.run(classifier, x, y, guide=x, seed=0, trace=True)
    assert np.array_equal(numpy(itself.adversarial), x)
    assert np.array_equal(numpy(itself.trace["distance_ratio"]), np.ones(9))


def quartic(centre):
    """A function with coupled variables whose minimum lies partly outside of the box."""

    def both(point):
        d = (point - centre).ravel()
        total = d.sum()
        value = np.sum(d**2) + 0.3 * np.sum(d**4) + 0.5 * total**2
        return value, (2 * d + 1.2 * d**3 + total).reshape(point.shape)

    return both


def test_lock_step_is_scipy_on_each_row_alone():
    rng = np.random.default_rng(2)
    centres = rng.normal(size=(21, 3, 4))
    starts, low, high = np.zeros_like(centres), np.full_like(centres, -0.6), np.full_like(centres, 0.6)
    sizes = []

    def evaluate(rows, points):
        sizes.append(len(rows))
        pairs = [quartic(centres[row])(point) for row, point in zip(rows, points, strict=True)]
        return [v for v, _ in pairs], np.stack([g for _, g in pairs])

    points, values, counts = lbfgs_scipy.minimise(evaluate, starts, low, high, steps=9, history=5)
    for i, centre in enumerate(centres):
        alone = optimize.minimize(
            lambda p, c=centre: tuple(np.ravel(t) if np.ndim(t) else t for t in quartic(c.ravel())(p)),
            starts[i].ravel(),
            jac=True,
            method="L-BFGS-B",
            bounds=[(-0.6, 0.6)] * 12,
            options={"maxiter": 9, "maxcor": 5, "ftol": 0.0, "gtol": 0.0},
        )
        assert np.array_equal(points[i].ravel(), alone.x)
        assert values[-1, i] == alone.fun
        assert counts[i] == alone.nfev
    assert len(sizes) == counts.max()  # one call a round, however many rows wait
    assert sizes[0] == 21 and set(sizes) <= {21, 11}


def test_lock_step_passes_errors_on_and_ends_its_threads():
    before = threading.active_count()

    def fails(rows, points):
        if rows[0] == 0 and points[0, 0] != 0:
            raise RuntimeError("no memory")
        return np.sum(points**2 + points, axis=1), 2 * points + 1

    box = np.ones((4, 2))
    with pytest.raises(RuntimeError, match="no memory"):
        lbfgs_scipy.minimise(fails, 0 * box, -box, box, steps=5, history=3)

    with pytest.raises(ValueError, match="bound"):
        lbfgs_scipy.minimise(fails, 0 * box, box, -box, steps=5, history=3)
    assert threading.active_count() == before


def test_a_batch_is_its_images_one_by_one(classifier, batch):
    x, y, guide = batch
    whole = ATTACK.run(classifier, x, y, guide=guide, seed=0)
    for part in ([0], [1], [2, 3, 4], [5, 6, 7, 8]):
        some = ATTACK.run(classifier, x[part], y[part], guide=guide[part], seed=0)
        np.testing.assert_allclose(numpy(some.adversarial), numpy(whole.adversarial)[part], atol=1e-5)
        assert np.array_equal(numpy(some.success), numpy(whole.success)[part])


def test_default_guides_are_the_other_half(classifier, batch):
    x, _, _ = batch
    y = np.array([0, 1, 2, 0, 1, 2, 0, 1, 0], "int32")
    expected = [4, 5, 6, 7, 8, 0, 1, 2, 4]  # the last one's opposite, 3, has its own label
    explicit = ATTACK.run(classifier, x, y, guide=x[expected], seed=0)
    default = ATTACK.run(classifier, x, y, seed=0)
    np.testing.assert_allclose(numpy(default.adversarial), numpy(explicit.adversarial), atol=1e-6)
    alike = ATTACK(classifier, x[:4], np.zeros(4, "int32"), seed=0)
    plain = ATTACK(classifier, x[:4], np.zeros(4, "int32"), guide=x[[2, 3, 0, 1]], seed=0)
    np.testing.assert_allclose(numpy(alike), numpy(plain), atol=1e-6)


@pytest.mark.numeric
def test_epsilon_per_example_and_start(classifier, batch):
    x, y, guide = batch
    epsilon = np.linspace(0.01, 0.1, 9).astype("float32")
    adv = numpy(ATTACK(classifier, x, y, guide=guide, seed=0, epsilon=epsilon))
    size = np.abs(adv - x).max(axis=(1, 2, 3))
    assert np.all(size <= epsilon + 1e-6)
    np.testing.assert_allclose(size, epsilon, rtol=0.1)
    long = dataclasses.replace(ATTACK, steps=40)
    solved = long.run(classifier, x, y, guide=guide, seed=0)
    results = [
        solved,
        ATTACK.run(classifier, x, y, guide=guide, seed=0, start=solved.adversarial),
        ATTACK.run(classifier, x, y, guide=guide, seed=0),
    ]
    least, after, without = (np.sqrt(-numpy(r.best_loss)) for r in results)
    # Batches of other sizes round the activations, of size 1, a little differently.
    assert np.all(after <= least + 1e-6)
    assert np.all(without >= least + 1e-4)


def test_latent_means_the_mean_and_noise_is_held_still(batch):
    x, y, guide = batch
    noisy, still = (FrozenClassifier(make(sample=s)) for s in (True, False))
    results = [ATTACK.run(c, x, y, guide=guide, seed=0) for c in (noisy, still)]
    np.testing.assert_allclose(*(numpy(r.adversarial) for r in results), atol=1e-5)
    on_logits = dataclasses.replace(ATTACK, layer="logits").run(noisy, x, y, guide=guide, seed=0)
    assert np.all(np.isfinite(numpy(on_logits.best_loss)))


def test_the_last_layer_is_found(batch):
    x, y, guide = batch
    for network, name in ((make(), "latent"), (plain(), "features")):
        expected, found = (
            Representation(layer=layer, epsilon=EPSILON, steps=4).run(network, x, y, guide=guide, seed=0)
            for layer in (name, None)
        )
        assert np.all(numpy(found.best_loss) < 0)
        np.testing.assert_allclose(*(numpy(r.adversarial) for r in (found, expected)), atol=1e-6)


def test_without_a_dense_layer_at_the_end_the_layer_must_be_named(batch):
    x, y, guide = batch
    inputs = keras.Input((6, 6, 1))
    pooled = keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(3, 3, name="conv")(inputs))
    network = keras.Model(inputs, pooled)
    with pytest.raises(ValueError, match="dense layer of logits"):
        Representation(epsilon=EPSILON).run(network, x, y, guide=guide, seed=0)
    named = Representation(layer="conv", epsilon=EPSILON, steps=2)
    assert np.all(np.isfinite(numpy(named.run(network, x, y, guide=guide, seed=0).best_loss)))


def test_what_is_compiled_sees_new_weights(batch):
    x, y, guide = batch
    network = make(batch_norm=True)
    classifier = FrozenClassifier(network)
    ATTACK(classifier, x, y, guide=guide, seed=0)
    rng = np.random.default_rng(0)
    network.set_weights([np.abs(w + rng.normal(size=w.shape) * 0.3) for w in network.get_weights()])
    classifier.refresh()
    again = ATTACK.run(classifier, x, y, guide=guide, seed=0)
    fresh = ATTACK.run(FrozenClassifier(network), x, y, guide=guide, seed=0)
    np.testing.assert_allclose(numpy(again.best_loss), numpy(fresh.best_loss), rtol=1e-4)
    assert len(classifier._compiled) == 1  # nothing is compiled again for every batch


def test_in_graph_it_is_nearly_as_good(classifier, batch):
    x, y, guide = batch
    attack = dataclasses.replace(ATTACK, steps=LONG)
    host = attack.run(classifier, x, y, guide=guide, seed=0)
    adv, success, value = in_graph(attack, classifier, x, y, guide)
    assert np.abs(adv - x).max() <= EPSILON + 1e-6
    assert adv.min() >= 0 and adv.max() <= 1
    phi = [activations(classifier.network, "latent", images) for images in (x, adv, guide)]
    before, after = (np.sum((p - phi[2]) ** 2, axis=1) for p in phi[:2])
    np.testing.assert_allclose(-value, after, rtol=1e-3)
    least = -numpy(host.best_loss)
    assert np.all(after - least <= 0.1 * (before - least))
    assert np.array_equal(success, numpy(classifier.predict(adv)).argmax(axis=1) != y)


def test_projected_lbfgs_never_rises():
    rng = np.random.default_rng(3)
    centres = rng.normal(size=(5, 2, 2, 1)).astype("float32")
    box = np.full_like(centres, 0.6)

    def evaluate(x):
        d = x - centres
        value = ops.sum(ops.square(d) + 0.3 * d**4, axis=(1, 2, 3))
        return value, 2 * d + 1.2 * d**3

    def solve(start, steps):
        return lbfgs_graph.minimise(evaluate, start, start - box, start + box, steps=steps, history=3)

    start = ops.zeros_like(centres)
    values = [numpy(evaluate(start)[0])]
    for steps in (1, 2, LONG):
        x, value = backend.compile(functools.partial(solve, steps=steps))(start)
        np.testing.assert_allclose(numpy(value), numpy(evaluate(x)[0]), rtol=1e-5)
        values.append(numpy(value))
    assert np.all(np.diff(values, axis=0) <= 0)
    np.testing.assert_allclose(numpy(x), np.clip(centres, -box, box), atol=1e-3)


def test_is_judged_like_any_attack(classifier, batch):
    x, y, _ = batch
    report = evaluation.evaluate(classifier.network, x, y, {"ara": ATTACK}, batch_size=9)
    success = numpy(ATTACK.run(classifier, x, y, seed=0).success)
    assert np.array_equal(report.flags["ara"], ~success)
    assert report.settings["attacks"]["ara"]["layer"] == "latent"


def test_trains(batch):
    x, y, _ = batch
    x, y = x[:8], y[:8]
    network = make(batch_norm=True)
    attack = Representation(layer="latent", epsilon=EPSILON, steps=3, history=2)
    trainer = training.RobustTrainer(network, objectives.Standard(attack=attack))
    trainer.compile(optimizer=keras.optimizers.SGD(0.05))
    weights = [w.copy() for w in network.get_weights()]
    history = trainer.fit(x, y, batch_size=4, epochs=2, verbose=0)
    assert np.all(np.isfinite(history.history["loss"]))
    assert any(np.any(a != b) for a, b in zip(weights, network.get_weights(), strict=True))
    views, _ = trainer.craft((ops.convert_to_tensor(x), ops.convert_to_tensor(y)))
    assert np.abs(numpy(views["adv"]) - x).max() <= EPSILON + 1e-6


@pytest.mark.parametrize(
    "arguments",
    [
        {"layer": ""},
        {"layer": 3},
        {"norm": "l2"},
        {"epsilon": 0.0},
        {"epsilon": float("nan")},
        {"steps": 0},
        {"history": 0},
    ],
)
def test_bad_arguments(arguments):
    with pytest.raises(ValueError, match="Received"):
        Representation(**{"layer": "latent", **arguments})


def test_bad_calls(classifier, batch):
    x, y, guide = batch
    with pytest.raises(ValueError, match="loss cannot replace"):
        ATTACK(classifier, x, y, seed=0, loss=lambda y, logits: logits[:, 0])
    with pytest.raises(ValueError, match="one image for each"):
        ATTACK(classifier, x, y, seed=0, guide=guide[:3])
    with pytest.raises(ValueError, match="nowhere"):
        dataclasses.replace(ATTACK, layer="nowhere")(classifier, x, y, seed=0)


def test_configuration_is_a_value():
    assert dataclasses.asdict(ATTACK)["layer"] == "latent"
    assert dataclasses.replace(ATTACK) == ATTACK
    assert "layer='latent'" in repr(ATTACK)


@pytest.mark.parametrize("layer", ["conv", "bn"])
def test_the_folded_view_meets_the_same_activation(layer):
    # The judge attacks a view whose convolutions have swallowed the normalisation behind them.
    keras.utils.set_random_seed(0)
    inputs = keras.Input((6, 6, 1))
    x = keras.layers.BatchNormalization(name="bn")(keras.layers.Conv2D(4, 3, name="conv")(inputs))
    network = keras.Model(inputs, keras.layers.Dense(3)(keras.layers.Flatten()(x)))
    network.get_layer("bn").moving_variance.assign([0.2, 3.0, 0.5, 1.5])
    x, guide = np.random.default_rng(0).random((2, 4, 6, 6, 1)).astype("float32")
    attack = Representation(layer=layer, epsilon=EPSILON, steps=3)
    view = FrozenClassifier(network)
    y = numpy(view.predict(x)).argmax(axis=1)
    own, folded = (attack.run(c, x, y, seed=0, guide=guide).best_loss for c in (view, view.folded))
    np.testing.assert_allclose(numpy(folded), numpy(own), rtol=1e-5)
    report = evaluation.evaluate(network, x, y, {"representation": attack}, verbose=False)
    assert report.clean == 1.0

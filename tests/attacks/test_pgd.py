"""PGD and FGSM: what they promise, closed forms, golden values, bad input."""

import dataclasses

import keras
import numpy as np
import pytest
from keras import ops
from support.golden import M1, M2, images

from sharedkeras import attacks, backend, losses
from sharedkeras.attacks import registry
from sharedkeras.models import FrozenClassifier

SIZE = {
    "linf": lambda d: np.abs(d).max(axis=(1, 2, 3)),
    "l2": lambda d: np.sqrt((d**2).sum(axis=(1, 2, 3))),
    "l1": lambda d: np.abs(d).sum(axis=(1, 2, 3)),
}
EPSILON = {"linf": 0.1, "l2": 1.0, "l1": 5.0}


def numpy(x):
    return ops.convert_to_numpy(x)


@pytest.fixture(scope="module")
def classifier():
    return FrozenClassifier(M2())


@pytest.fixture(scope="module")
def batch():
    x, y = images("M2", 12)
    return x, y


def pgd(norm, **changes):
    epsilon = EPSILON[norm]
    return attacks.PGD(norm=norm, epsilon=epsilon, step_size=epsilon / 4, steps=6, **changes)


@pytest.mark.parametrize("norm", EPSILON)
@pytest.mark.parametrize("random_start", ["uniform", "gaussian", None])
def test_inside_the_ball_and_the_image(classifier, batch, norm, random_start):
    x, y = batch
    result = pgd(norm, random_start=random_start).run(classifier, x, y, seed=0)
    adv = numpy(result.adversarial)
    assert SIZE[norm](adv - x).max() <= EPSILON[norm] + 1e-6
    assert adv.min() >= 0 and adv.max() <= 1
    wrong = numpy(classifier.predict(adv)).argmax(1) != y
    assert np.array_equal(numpy(result.success), wrong)
    np.testing.assert_allclose(numpy(result.distance)[wrong], SIZE[norm](adv - x)[wrong], rtol=1e-4)
    assert np.all(np.isinf(numpy(result.distance)[~wrong]))


@pytest.mark.parametrize("norm", EPSILON)
def test_raises_the_loss(classifier, batch, norm):
    x, y = batch
    before = numpy(losses.cross_entropy(y, classifier.predict(x)))
    adv = pgd(norm, random_start=None)(classifier, x, y, seed=0)
    after = numpy(losses.cross_entropy(y, classifier.predict(adv)))
    assert np.all(after > before)


def linear(weights):
    inputs = keras.Input((4, 4, 1))
    network = keras.Model(inputs, keras.layers.Dense(2, use_bias=False)(keras.layers.Flatten()(inputs)))
    network.layers[-1].set_weights([np.stack([weights, -weights], axis=1)])
    return FrozenClassifier(network)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_linear_model_reaches_the_optimum(norm):
    weights = np.random.default_rng(0).normal(size=16).astype("float32")
    x, y = np.full((1, 4, 4, 1), 0.5, "float32"), np.zeros(1, "int32")
    attack = attacks.PGD(norm=norm, epsilon=0.2, step_size=0.1, steps=4, random_start=None)
    d = (numpy(attack(linear(weights), x, y, seed=0)) - x).ravel()
    best = -0.2 * np.sign(weights) if norm == "linf" else -0.2 * weights / np.linalg.norm(weights)
    np.testing.assert_allclose(d, best, atol=1e-5)


def test_fgsm_is_one_step_to_the_edge(classifier, batch):
    x, y = batch
    adv = numpy(attacks.FGSM(norm="linf", epsilon=0.03)(classifier, x, y, seed=0))
    inner = (x > 0.03) & (x < 0.97)
    moved = np.abs(adv - x)[inner]
    # A gradient of exactly zero leaves its pixel; all others go to the edge.
    assert np.all((moved < 1e-7) | (np.abs(moved - 0.03) < 1e-6))
    assert (moved > 0.02).mean() > 0.99


@pytest.mark.parametrize("size", [1, 5, 12])
def test_batch_size_and_order_do_not_matter(classifier, batch, size):
    x, y = batch
    attack = dataclasses.replace(pgd("linf"), steps=1)
    whole = numpy(attack(classifier, x, y, seed=3))
    order = np.random.default_rng(1).permutation(12)
    parts = np.empty_like(whole)
    for i in range(0, 12, size):
        part = order[i : i + size]
        parts[part] = numpy(attack(classifier, x[part], y[part], seed=3, index=part.astype("int32")))
    # The draws are equal; a gradient within rounding of zero may change its sign.
    assert np.mean(np.abs(parts - whole) > 1e-6) < 1e-3


def test_seeds_differ(classifier, batch):
    x, y = batch
    one, two = (numpy(pgd("linf")(classifier, x, y, seed=s)) for s in (0, 1))
    assert np.abs(one - two).max() > 0.01


def test_start_is_used(classifier, batch):
    x, y = batch
    start = np.clip(x + 0.05, 0, 1)
    attack = attacks.PGD(epsilon=0.1, step_size=1e-7, steps=1)
    adv = numpy(attack(classifier, x, y, seed=0, start=start))
    np.testing.assert_allclose(adv, start, atol=1e-6)


def test_epsilon_per_example(classifier, batch):
    x, y = batch
    epsilon = np.linspace(0.01, 0.1, 12).astype("float32")
    adv = numpy(pgd("linf", random_start=None)(classifier, x, y, seed=0, epsilon=epsilon))
    np.testing.assert_allclose(SIZE["linf"](adv - x), epsilon, rtol=0.1)
    assert np.all(SIZE["linf"](adv - x) <= epsilon + 1e-6)


def test_steps_without_a_size_reach_across_each_examples_ball():
    weights = np.random.default_rng(0).normal(size=16).astype("float32")
    x, y = np.full((2, 4, 4, 1), 0.5, "float32"), np.zeros(2, "int32")
    epsilon = np.array([0.1, 0.2], "float32")
    attack = attacks.PGD(step_size=None, steps=5, random_start=None)

    def moved(steps):
        few = dataclasses.replace(attack, steps=steps, step_size=None)
        return np.abs(numpy(few(linear(weights), x, y, seed=0, epsilon=epsilon)) - x).max(axis=(1, 2, 3))

    np.testing.assert_allclose(moved(5), epsilon, rtol=1e-5)
    # One step of 2.5 epsilon is projected; of five, each goes half an epsilon.
    np.testing.assert_allclose(moved(1), epsilon, rtol=1e-5)
    trace = attack.run(linear(weights), x, y, seed=0, epsilon=epsilon, trace=True).trace["loss"]
    gains = np.diff(np.log(np.expm1(numpy(trace))), axis=0)
    # The logits' difference, 2 w . d, grows by 2 |w|_1 epsilon / 2 a step until the edge is reached.
    expected = np.abs(weights).sum() * np.stack([epsilon, epsilon, 0 * epsilon, 0 * epsilon])
    np.testing.assert_allclose(gains, expected, rtol=1e-3, atol=1e-4)


def test_restarts_only_help(classifier, batch):
    x, y = batch
    weak = attacks.PGD(epsilon=0.02, step_size=0.005, steps=2)
    once = weak.run(classifier, x, y, seed=0)
    many = dataclasses.replace(weak, restarts=4).run(classifier, x, y, seed=0)
    assert np.all(numpy(many.success) >= numpy(once.success))
    assert np.all(numpy(many.best_loss) >= numpy(once.best_loss))
    assert np.all(numpy(many.queries) == 4 * numpy(once.queries))


def test_keep_best_returns_the_largest_loss(classifier, batch):
    x, y = batch
    # Steps as large as the ball overshoot, so that the last iterate is often not the best.
    wild = attacks.PGD(epsilon=0.03, step_size=0.05, steps=7, keep_best=True)
    result = wild.run(classifier, x, y, seed=0)
    loss = numpy(losses.cross_entropy(y, classifier.predict(result.adversarial)))
    np.testing.assert_allclose(loss, numpy(result.best_loss), rtol=1e-4, atol=1e-5)
    last = dataclasses.replace(wild, keep_best=False)(classifier, x, y, seed=0)
    assert np.all(loss >= numpy(losses.cross_entropy(y, classifier.predict(last))) - 1e-4)


def test_trace_holds_the_loss_before_each_step(classifier, batch):
    x, y = batch
    attack = dataclasses.replace(pgd("linf"), random_start=None)
    plain, traced = (attack.run(classifier, x, y, seed=0, trace=t) for t in (False, True))
    assert np.array_equal(numpy(plain.adversarial), numpy(traced.adversarial))
    trace = numpy(traced.trace["loss"])
    assert trace.shape == (6, 12)
    np.testing.assert_allclose(
        trace[0], numpy(losses.cross_entropy(y, classifier.predict(x))), rtol=1e-4
    )
    assert np.mean(np.diff(trace, axis=0) > 0) > 0.8


@pytest.mark.parametrize(("name", "build"), [("M1", M1), ("M2", M2)])
@pytest.mark.parametrize("steps", [1, 5, 20])
def test_agrees_with_torchattacks(golden, name, build, steps):
    with np.load(golden / "pgd.npz") as archive:
        expected = archive[f"{name}_steps{steps}"]
    x, y = images(name, 16)
    epsilon, step_size = (0.3, 0.01) if name == "M1" else (0.031, 0.003)
    attack = attacks.PGD(epsilon=epsilon, step_size=step_size, steps=steps, random_start=None)
    adv = numpy(attack(FrozenClassifier(build()), x, y, seed=0))
    differ = np.abs(adv - expected) > 1e-5
    # A pixel differs where its gradient is within rounding of zero, and on M1's dark, flat borders the
    # signs of a few such pixels change what follows.
    assert differ.mean() <= {1: 2e-4, 5: 2e-3, 20: 5e-2}[steps]
    before = numpy(losses.cross_entropy(y, FrozenClassifier(build()).predict(expected)))
    after = numpy(losses.cross_entropy(y, FrozenClassifier(build()).predict(adv)))
    np.testing.assert_allclose(after, before, rtol=2e-3, atol=1e-5)


@pytest.mark.parametrize(
    "arguments",
    [
        {"norm": "l7"},
        {"epsilon": 0.0},
        {"epsilon": -0.1},
        {"epsilon": float("nan")},
        {"step_size": 0},
        {"steps": 0},
        {"steps": 2.5},
        {"random_start": "somewhere"},
        {"restarts": 0},
        {"loss": "hinge"},
        {"eot_samples": 0},
    ],
)
def test_bad_arguments(arguments):
    with pytest.raises(ValueError, match="Received"):
        attacks.PGD(**arguments)


# What else they ask: the guides' activations, and which images are wrong as they are.
FURTHER = {"representation": 1, "cw": 1}


@pytest.mark.parametrize("name", registry.names())
def test_training_attacks_say_what_they_cost(classifier, batch, name):
    x, _ = batch
    y = numpy(classifier.predict(x)).argmax(axis=1).astype("int32")
    # C&W counts what an example needed: all of one step for each of three c, where none succeeds.
    options = {"steps": 1, "search_steps": 3, "learning_rate": 1e-4} if name == "cw" else {}
    attack = registry.get(name)(epsilon=0.05, **options)
    assert name != "cw" or attack.gradients == 3

    def queries(x, y):
        return attack.run(classifier, x, y, seed=0).queries

    # One forward pass for each gradient, and one to see what came out.
    expected = attack.gradients + 1 + FURTHER.get(name, 0)
    in_graph = backend.compile(queries)(ops.convert_to_tensor(x), ops.convert_to_tensor(y))
    np.testing.assert_array_equal(numpy(in_graph), expected)
    if name != "representation":  # Outside of a graph SciPy solves, at its own pace.
        np.testing.assert_array_equal(numpy(queries(x, y)), expected)


def test_unknown_training_attack():
    with pytest.raises(ValueError, match="n-fgsm"):
        registry.get("nothing")


def test_fgsm_refuses_a_negative_epsilon():
    with pytest.raises(ValueError, match="epsilon"):
        attacks.FGSM(epsilon=-1.0)


def test_configuration_is_a_value():
    attack = attacks.PGD(epsilon=0.1)
    assert dataclasses.asdict(attack)["epsilon"] == 0.1
    assert attack == attacks.PGD(epsilon=0.1)
    assert "epsilon=0.1" in repr(attack)
    with pytest.raises(dataclasses.FrozenInstanceError):
        attack.epsilon = 0.2

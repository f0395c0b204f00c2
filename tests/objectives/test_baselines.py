"""The baselines' losses against the official code's values and gradients, and their inner attacks."""

import keras
import numpy as np
import pytest
from keras import ops
from support.gradients import value_and_grads

from sharedkeras import attacks, models, objectives

CASES = range(5)


def loss_and_grads(objective, clean, adv, label):
    """Returns an objective's loss of two views' logits, and its gradients with respect to them."""

    def total(clean, adv):
        outputs = {"clean": {"logits": clean}, "adv": {"logits": adv}}
        return objective.loss({"label": label}, outputs)["loss"]

    return value_and_grads(total, [clean, adv], "float32")


def logits_of(golden_losses, case):
    return (golden_losses[f"adv{case}_{name}"] for name in ("logits_nat", "logits_adv", "labels"))


def check(got, expected_value, expected_grads):
    value, grads = got
    assert value == pytest.approx(float(expected_value), rel=1e-5)
    for grad, expected in zip(grads, expected_grads, strict=True):
        assert np.linalg.norm(grad - expected) <= max(1e-5 * np.linalg.norm(expected), 1e-9)


@pytest.mark.parametrize("beta", [1, 6])
@pytest.mark.parametrize("case", CASES)
def test_trades_is_the_official_loss(golden_losses, case, beta):
    got = loss_and_grads(objectives.TRADES(beta=beta), *logits_of(golden_losses, case))
    expected = [golden_losses[f"adv{case}_trades_beta{beta}_grad_{v}"] for v in ("nat", "adv")]
    check(got, golden_losses[f"adv{case}_trades_beta{beta}_loss"], expected)


def log_softmax(z):
    z = z - z.max(axis=1, keepdims=True)
    return z - np.log(np.exp(z).sum(axis=1, keepdims=True))


def mart(clean, adv, label, beta, constants):
    """Computes MART's loss in NumPy, with the official code's three small constants or zeros."""
    one, two, three = constants
    rows = np.arange(len(label))
    p, q = np.exp(log_softmax(clean)), np.exp(log_softmax(adv))
    wrong = np.where(np.arange(q.shape[1]) == label[:, None], -1, q).argmax(axis=1)
    bce = -log_softmax(adv)[rows, label] - np.log(one - q[rows, wrong] + two)
    kl = np.sum(p * (log_softmax(clean) - np.log(q + two)), axis=1)
    return np.mean(bce) + beta * np.mean(kl * (three - p[rows, label]))


# Case 3 is saturated: there the official constants are the loss, and NumPy without them is infinite.
@pytest.mark.parametrize("beta", [5, 6])
@pytest.mark.parametrize("case", [0, 1, 2, 4])
def test_mart_is_the_official_loss_without_its_constants(golden_losses, case, beta):
    clean, adv, label = logits_of(golden_losses, case)
    official = mart(clean, adv, label, beta, (1.0001, 1e-12, 1.0000001))
    assert official == pytest.approx(float(golden_losses[f"adv{case}_mart_beta{beta}_loss"]), rel=1e-10)
    value, grads = loss_and_grads(objectives.MART(beta=beta), clean, adv, label)
    assert value == pytest.approx(mart(clean, adv, label, beta, (1.0, 0.0, 1.0)), rel=1e-5)
    # The gradient by central differences of the same NumPy function.
    for which, grad in enumerate(grads):
        for row, column in ((0, 0), (-1, 2), (len(label) // 2, 3)):
            sides = []
            for step in (1e-6, -1e-6):
                moved = [clean.copy(), adv.copy()]
                moved[which][row, column] += step
                sides.append(mart(*moved, label, beta, (1.0, 0.0, 1.0)))
            assert grad[row, column] == pytest.approx((sides[0] - sides[1]) / 2e-6, rel=1e-4, abs=1e-6)


def test_mart_of_saturated_logits_is_finite(golden_losses):
    value, grads = loss_and_grads(objectives.MART(), *logits_of(golden_losses, 3))
    assert np.isfinite(value)
    assert all(np.isfinite(grad).all() for grad in grads)


@pytest.mark.parametrize("case", CASES)
def test_simplified_mma_is_the_tables_loss(golden_losses, case):
    got = loss_and_grads(objectives.MMASimplified(), *logits_of(golden_losses, case))
    expected = [golden_losses[f"adv{case}_mma_grad_{v}"] for v in ("nat", "adv")]
    check(got, golden_losses[f"adv{case}_mma_loss"], expected)


def test_gat_is_cross_entropy_and_squared_distance(golden_losses):
    clean, adv, label = logits_of(golden_losses, 0)
    value, grads = loss_and_grads(objectives.GAT(weight=3.0), clean, adv, label)
    log_p, q = log_softmax(clean), np.exp(log_softmax(adv))
    difference = q - np.exp(log_p)
    expected = -log_p[np.arange(16), label].mean() + 3.0 * np.sum(difference**2, axis=1).mean()
    assert value == pytest.approx(expected, rel=1e-5)
    # The distance's gradient through the softmax of the adversarial logits.
    slope = 2 * difference
    by_hand = 3.0 / 16 * q * (slope - np.sum(q * slope, axis=1, keepdims=True))
    np.testing.assert_allclose(grads[1], by_hand, rtol=1e-4, atol=1e-7)


@pytest.fixture(scope="module")
def linear():
    """A linear network of two classes, and the direction in which the second gains on the first."""
    inputs = keras.Input((4, 4, 1))
    logits = keras.layers.Dense(2, use_bias=False)(keras.layers.Flatten()(inputs))
    network = keras.Model(inputs, logits)
    kernel = np.random.default_rng(1).normal(size=(16, 2)).astype("float32")
    network.set_weights([kernel])
    return models.FrozenClassifier(network), kernel[:, 1] - kernel[:, 0]


@pytest.fixture(scope="module")
def images():
    # Away from 0 and 1, so that no pixel is clipped.
    x = np.random.default_rng(0).uniform(0.3, 0.7, (32, 4, 4, 1)).astype("float32")
    label = (np.arange(32) % 2).astype("int32")
    return x, {"label": ops.convert_to_tensor(label), "index": ops.arange(32, dtype="int32")}


def gain(adv, x, direction):
    return (ops.convert_to_numpy(adv) - x).reshape(len(x), -1) @ direction


def test_trades_attacks_the_divergence(linear, images):
    classifier, direction = linear
    x, targets = images
    attack = attacks.PGD(epsilon=0.1, step_size=0.02, steps=12, random_start="gaussian")
    objective = objectives.TRADES(attack=attack)
    views, _ = objective.views(classifier, ops.convert_to_tensor(x), targets, 3)
    np.testing.assert_array_equal(ops.convert_to_numpy(views["clean"]), x)
    # The divergence grows with the distance of the two logits, whichever side the start lies on; the
    # cross-entropy would move all images of a class to one side.
    moved = gain(views["adv"], x, direction)
    np.testing.assert_allclose(np.abs(moved), 0.1 * np.abs(direction).sum(), rtol=1e-4)
    for label in (0, 1):
        assert len(set(np.sign(moved[label::2]))) == 2


def test_trades_leaves_an_attack_its_own_goal(linear, images):
    classifier, _ = linear
    x, targets = images
    attack = attacks.CarliniWagner(epsilon=2.0, steps=20, search_steps=1, initial_c=5.0)
    objective = objectives.TRADES(attack=attack)
    assert objective.queries == 0
    views, _ = objective.views(classifier, ops.convert_to_tensor(x), targets, 3)
    alone = attack(classifier, ops.convert_to_tensor(x), targets["label"], seed=0)
    found, expected = map(ops.convert_to_numpy, (views["adv"], alone))
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert np.any(found != x)


def test_gat_is_guided_in_every_other_update(linear, images):
    classifier, direction = linear
    x, targets = images
    objective = objectives.GAT(attack=attacks.FGSM(epsilon=0.1), weight=1e4)
    size = 0.1 * np.abs(direction).sum()
    towards = np.where(ops.convert_to_numpy(targets["label"]) == 0, 1.0, -1.0)
    plain, guided = (
        gain(objective.views(classifier, ops.convert_to_tensor(x), targets, 3)[0]["adv"], x, direction)
        for _ in range(2)
    )
    # The step of the cross-entropy moves every image towards the other class. With a large weight the
    # guide decides, and moves it on to the side on which the random signs have put it.
    assert np.all(plain * towards > 0)
    assert np.all(np.abs(plain) <= size * (1 + 1e-5))
    assert np.any(guided * towards < 0)
    assert int(ops.convert_to_numpy(objective.variables[0] + 0)) == 0


def margin_of(x, label, direction):
    """The Linf distance of each image to the boundary of the linear network; below 0 if wrong."""
    towards = np.where(label == 0, 1.0, -1.0)
    return -towards * (x.reshape(len(x), -1) @ direction) / np.abs(direction).sum()


def test_mma_finds_each_examples_margin(linear, images):
    classifier, direction = linear
    x, targets = images
    label = ops.convert_to_numpy(targets["label"])
    attack = attacks.PGD(epsilon=0.1, step_size=None, steps=10)
    objective = objectives.MMA(attack=attack, search_steps=20, examples=40)
    margin = margin_of(x, label, direction)
    views, after = objective.views(classifier, ops.convert_to_tensor(x), targets, 3)
    distance = np.abs(ops.convert_to_numpy(views["adv"]) - x).max(axis=(1, 2, 3))
    right = margin > 0
    assert 4 < right.sum() < 28
    np.testing.assert_array_equal(ops.convert_to_numpy(after["right"]), right)
    near = right & (margin < 0.14)
    # Inside the pixels' range the attack on a linear network finds the exact corner.
    np.testing.assert_allclose(distance[near], margin[near], rtol=1e-3)
    np.testing.assert_array_equal(
        ops.convert_to_numpy(after["inside"])[margin < 0.149], right[margin < 0.149]
    )
    memory = ops.convert_to_numpy(objective.memory)
    expected = np.where(right, np.maximum(distance, 0.016), 0.016)
    np.testing.assert_allclose(memory[:32], expected, rtol=1e-5)
    np.testing.assert_allclose(memory[32:], 0.016, rtol=1e-6)


def test_mma_counts_each_example_once():
    label = np.array([0, 0, 0], "int32")
    clean = np.array([[2.0, 0], [2.0, 0], [-1.0, 0]], "float32")
    adv = np.array([[0.1, 0], [0.3, 0], [-3.0, 0]], "float32")
    targets = {
        "label": label,
        "right": np.array([True, True, False]),
        "inside": np.array([True, False, False]),
        "size": np.array([0.1, 0.5, 0.2], "float32"),
    }
    outputs = {"clean": {"logits": clean}, "adv": {"logits": adv}}
    terms = objectives.MMA().loss(targets, outputs)
    terms = {name: float(ops.convert_to_numpy(value)) for name, value in terms.items()}

    def ce(z):
        return np.log1p(np.exp(-z))

    assert terms["ce_boundary"] == pytest.approx(ce(0.1) / 3, rel=1e-5)
    assert terms["ce_wrong"] == pytest.approx(ce(-1.0) / 3, rel=1e-5)
    assert terms["ce_clean"] == pytest.approx((2 * ce(2.0) + ce(-1.0)) / 3, rel=1e-5)
    expected = 2 / 3 * (terms["ce_boundary"] + terms["ce_wrong"]) + 1 / 3 * terms["ce_clean"]
    assert terms["loss"] == pytest.approx(expected, rel=1e-5)


def test_noisy_step_is_not_projected(linear, images):
    classifier, direction = linear
    x, targets = images
    attack = attacks.NFGSM(epsilon=0.05, noise=2.0, length=1.0)
    label, index = targets["label"], targets["index"]
    adv = ops.convert_to_numpy(attack(classifier, x, label, seed=1, index=index))
    towards = np.where(ops.convert_to_numpy(label) == 0, 1.0, -1.0)[:, None]
    step = 0.05 * towards * np.sign(direction)
    noise = (adv - x).reshape(32, 16) - step
    # What is left without the step is uniform in twice the ball.
    assert np.abs(noise).max() <= 0.1 + 1e-6
    assert np.abs(noise.mean()) < 3 * 0.1 / np.sqrt(3 * noise.size)
    assert noise.std() == pytest.approx(0.1 / np.sqrt(3), rel=0.1)
    assert np.abs(adv - x).max() > 0.14


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("trades", {"beta": -1.0}),
        ("mart", {"beta": float("nan")}),
        ("gat", {"weight": -1.0}),
        ("mma", {"smallest": 2.0}),
        ("mma", {"clean": 1.5}),
        ("mma", {"search_steps": 0}),
        ("mma-simplified", {"label_smoothing": 1.0}),
        ("standard", {"label_smoothing": -0.1}),
        ("gat", {"attack": attacks.CarliniWagner()}),
        ("mma", {"attack": attacks.Representation()}),
    ],
)
def test_bad_options(name, options):
    with pytest.raises(ValueError, match="Received"):
        objectives.get(name)(**options)


@pytest.mark.parametrize("options", [{"epsilon": 0}, {"noise": -1.0}, {"length": 0.0}])
def test_bad_noisy_step(options):
    with pytest.raises(ValueError, match="Received"):
        attacks.NFGSM(**options)

"""APGD: what it promises, its schedule, what never changes a verdict, bad input."""

import dataclasses

import keras
import numpy as np
import pytest
from keras import layers, ops

from sharedkeras import backend, losses
from sharedkeras.attacks.apgd.apgd import APGD, GLANCE, effective_loss
from sharedkeras.attacks.apgd.momentum import checkpoints
from sharedkeras.attacks.apgd.sparse import SparseMoves
from sharedkeras.math import norms
from sharedkeras.math.projections import project_to_ball_and_box
from sharedkeras.models import FrozenClassifier

EPSILON = {"linf": 0.03, "l2": 0.2, "l1": 0.8}
LOSSES = ("ce", "dlr", "dlr-targeted", "margin")
SHAPE = (6, 6, 2)


def numpy(value):
    return ops.convert_to_numpy(value)


def network(classes=5, noise=False, seed=1):
    keras.utils.set_random_seed(seed)
    inputs = keras.Input(SHAPE)
    hidden = layers.Dense(24, activation="relu")(layers.Flatten()(inputs))
    if noise:
        hidden = Noise()(hidden)
    return keras.Model(inputs, layers.Dense(classes)(hidden))


class Noise(layers.Layer):
    """A layer that is random at inference."""

    def __init__(self):
        super().__init__()
        self.seed_generator = keras.random.SeedGenerator(0)

    def call(self, x):
        return x + keras.random.normal(ops.shape(x), 0.0, 0.05, seed=self.seed_generator)


def examples(classifier, count, seed=0):
    x = np.random.default_rng(seed).uniform(size=(count, *SHAPE)).astype("float32")
    return x, numpy(classifier.predict(x)).argmax(axis=1).astype("int32")


@pytest.fixture(scope="module")
def classifier():
    return FrozenClassifier(network())


@pytest.fixture(scope="module")
def batch(classifier):
    return examples(classifier, 128)


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        (100, [22, 41, 57, 70, 80, 87, 93, 99]),
        (50, [11, 21, 30, 38, 45]),
        (20, [4, 7, *range(9, 21)]),
        (10, [*range(2, 11)]),
        (1, [1]),
    ],
)
def test_checkpoints(steps, expected):
    assert checkpoints(steps) == expected


@pytest.mark.parametrize(
    ("norm", "loss"),
    [*(("linf", loss) for loss in LOSSES), ("l2", "ce"), ("l2", "dlr-targeted"), ("l1", "ce")],
)
def test_promises(classifier, batch, norm, loss):
    x, y = batch
    epsilon = EPSILON[norm]
    attack = APGD(norm=norm, epsilon=epsilon, loss=loss, steps=15, targets=2)
    result = attack.run(classifier, x, y, seed=0)
    adv, success = numpy(result.adversarial), numpy(result.success)
    size = numpy(norms.get(norm).size(ops.convert_to_tensor(adv - x)))
    assert (size <= epsilon + 1e-6).all()
    assert adv.min() >= 0 and adv.max() <= 1
    wrong = numpy(classifier.predict(adv)).argmax(axis=1) != y
    np.testing.assert_array_equal(success, wrong)
    assert 0 < success.sum() < len(y)
    np.testing.assert_allclose(numpy(result.distance), np.where(success, size, np.inf), rtol=1e-6)
    np.testing.assert_array_equal(adv, numpy(attack(classifier, x, y, seed=0)))


@pytest.mark.parametrize(
    ("norm", "loss"), [("linf", "ce"), ("linf", "dlr"), ("linf", "margin"), ("l2", "ce"), ("l1", "ce")]
)
def test_best_loss_and_trace(classifier, batch, norm, loss):
    x, y = batch
    attack = APGD(norm=norm, epsilon=EPSILON[norm], loss=loss, steps=30)
    result = attack.run(classifier, x, y, seed=3, trace=True)
    history, sizes = numpy(result.trace["loss"]), numpy(result.trace["step_size"])
    start, best = numpy(result.trace["loss_start"]), numpy(result.best_loss)
    assert history.shape == sizes.shape == (30, len(y))
    if norm == "l1":  # The phases before the last climb in larger balls.
        history, sizes = history[-12:], sizes[-12:]
        assert (best >= history.max(axis=0)).all()
        return
    np.testing.assert_array_equal(best, np.maximum(start, history.max(axis=0)))
    assert (sizes[0] == np.float32(2) * np.float32(EPSILON[norm])).all()
    halved = sizes[1:] / sizes[:-1]
    assert set(np.unique(halved)) <= {0.5, 1.0}
    assert set(np.flatnonzero((halved < 1).any(axis=1)) + 1) <= set(checkpoints(30))
    untraced = attack.run(classifier, x, y, seed=3)
    np.testing.assert_array_equal(numpy(untraced.adversarial), numpy(result.adversarial))
    assert (numpy(result.queries) == 30 + 1).all()


def test_a_robust_point_keeps_its_best_iterate(classifier, batch):
    x, y = batch
    attack = APGD(epsilon=0.02, loss="ce", steps=15)
    result = attack.run(classifier, x, y, seed=0)
    robust = ~numpy(result.success)
    value = numpy(losses.cross_entropy(y, classifier.predict(result.adversarial)))
    assert robust.any()
    np.testing.assert_allclose(value[robust], numpy(result.best_loss)[robust], rtol=1e-5)


def test_one_step_reaches_the_best_corner_of_a_linear_network():
    """The first step of 2 epsilon crosses the ball from wherever it starts."""
    linear = keras.Sequential([keras.Input(SHAPE), layers.Flatten(), layers.Dense(2)])
    classifier = FrozenClassifier(linear)
    x, y = examples(classifier, 8)
    w = numpy(linear.layers[-1].kernel).reshape(*SHAPE, 2)
    gradient = np.stack([w[..., 1 - k] - w[..., k] for k in y])
    result = APGD(epsilon=0.1, loss="margin", steps=1).run(classifier, x, y, seed=0)
    corner = np.clip(x + 0.1 * np.sign(gradient), 0, 1).astype("float32")
    expected = losses.margin(y, classifier.predict(corner))
    np.testing.assert_allclose(numpy(result.best_loss), numpy(expected), atol=1e-5)
    np.testing.assert_allclose(numpy(result.adversarial), corner, atol=1e-6)


def test_the_start_is_where_it_begins(classifier, batch):
    x, y = batch
    start = np.clip(x + 0.03, 0, 1)
    result = APGD(epsilon=0.08, steps=2).run(classifier, x, y, seed=0, start=start, trace=True)
    expected = losses.cross_entropy(y, classifier.predict(start))
    np.testing.assert_allclose(numpy(result.trace["loss_start"]), numpy(expected), rtol=1e-6)


def test_restarts_only_add(classifier, batch):
    x, y = batch
    few, many = (APGD(epsilon=0.03, steps=5, restarts=n).run(classifier, x, y, seed=0) for n in (1, 4))
    assert (numpy(many.success) >= numpy(few.success)).all()
    assert (numpy(many.best_loss) >= numpy(few.best_loss)).all()
    standing = ~numpy(many.success)
    assert (numpy(many.queries)[standing] == 4 * 6).all()
    assert numpy(many.queries).max() <= 4 * 6


def test_targets_that_are_left_out_are_the_first(classifier, batch):
    x, y = batch
    first, others, all_ = (
        numpy(
            APGD(loss="dlr-targeted", steps=3, epsilon=0.02, **targets)
            .run(classifier, x, y, seed=0)
            .success
        )
        for targets in ({"targets": 2}, {"targets": 4, "skip": 2}, {"targets": 4})
    )
    np.testing.assert_array_equal(first | others, all_)
    assert not np.array_equal(others, all_)


@pytest.mark.parametrize("norm", EPSILON)
@pytest.mark.parametrize("loss", ["ce", "dlr-targeted"])
def test_a_run_that_is_cut_off_is_the_beginning_of_the_whole(classifier, batch, norm, loss):
    x, y = batch
    whole = APGD(norm=norm, epsilon=0.5 * EPSILON[norm], loss=loss, steps=30, targets=2)
    entire = whole.run(classifier, x, y, seed=3, trace=True)
    for made in (2, 9, 20):  # In L1 the first 18 iterations are in larger balls.
        short = dataclasses.replace(whole, stop_after=made)
        result = short.run(classifier, x, y, seed=3, trace=True)
        losses_, all_losses = (numpy(r.trace["loss"]) for r in (result, entire))
        runs = 2 if loss == "dlr-targeted" else 1
        expected = all_losses.reshape(runs, 30, -1)[:, :made].reshape(runs * made, -1)
        np.testing.assert_allclose(losses_, expected, rtol=1e-4, atol=1e-5)
        early = numpy(short.run(classifier, x, y, seed=3, early_stop=True).success)
        np.testing.assert_array_equal(early, numpy(result.success))
        assert (early <= numpy(entire.success)).all()
        assert early.any() == (norm != "l1" or made == 20)
        size = norms.get(norm).size(result.adversarial - x)
        assert numpy(size).max() <= whole.epsilon * (1 + 1e-5)
        phases = 1 if norm != "l1" else np.searchsorted([9, 18], made) + 1
        targeted = loss == "dlr-targeted"  # The ranks of the targets take a pass.
        assert numpy(result.queries).max() == short.most_queries(5) + targeted
        assert short.most_queries(5) == runs * (made + phases)
    assert dataclasses.replace(whole, stop_after=30).most_queries(5) == whole.most_queries(5)


def test_what_a_glance_breaks_is_known_to_be_broken():
    whole = APGD(loss="dlr-targeted", steps=20, targets=4)
    rest = dataclasses.replace(whole, skip=2)
    glance = dataclasses.replace(rest, stop_after=GLANCE)
    assert glance in rest.implied_by()
    assert glance in whole.implied_by()
    # A glance is no evidence of what withstands, and no longer run's successes are a glance's.
    assert all(glance not in parts for parts in whole.divisions())
    assert all(attack.stop_after == GLANCE for attack in glance.implied_by())


def test_at_least_one_target_is_tried(classifier, batch):
    x, y = batch  # Of five classes four are wrong.
    kept, last = (
        APGD(loss="dlr-targeted", steps=3, epsilon=0.02, targets=9, skip=skip) for skip in (8, 3)
    )
    assert (
        kept.most_queries(5) == last.most_queries(5) < APGD(loss="dlr-targeted", steps=3).most_queries(5)
    )
    found = [attack.run(classifier, x, y, seed=0).adversarial for attack in (kept, last)]
    np.testing.assert_array_equal(*map(numpy, found))


def test_more_targets_only_add(classifier, batch):
    x, y = batch
    found = [
        APGD(loss="dlr-targeted", steps=3, epsilon=0.02, targets=t).run(classifier, x, y, seed=0)
        for t in (1, 4, 9)
    ]
    assert (numpy(found[0].success) <= numpy(found[1].success)).all()
    standing = ~numpy(found[1].success)
    for result, runs in zip(found, (1, 4, 4), strict=True):  # Five classes have four wrong ones.
        assert (numpy(result.queries)[standing] == 1 + runs * 4).all()
        assert standing.any()
    np.testing.assert_array_equal(numpy(found[1].adversarial), numpy(found[2].adversarial))


@pytest.mark.parametrize("loss", ["ce", "dlr-targeted"])
def test_no_verdict_depends_on_the_batch(classifier, batch, loss):
    x, y = batch
    attack = APGD(epsilon=0.03, loss=loss, steps=12, targets=2)
    index = np.arange(128, dtype="int32")
    whole = numpy(attack.run(classifier, x, y, seed=5).success)
    assert 0 < whole.sum() < 128
    for size in (1, 7):
        rows = [index[i : i + size] for i in range(0, 21, size)]
        parts = [attack.run(classifier, x[r], y[r], seed=5, index=r).success for r in rows]
        np.testing.assert_array_equal(np.concatenate([numpy(p) for p in parts]), whole[:21])


@pytest.mark.parametrize(
    ("norm", "loss"), [("linf", "ce"), ("linf", "dlr-targeted"), ("l2", "ce"), ("l1", "ce")]
)
def test_stopping_early_changes_no_verdict(classifier, batch, norm, loss):
    x, y = batch
    attack = APGD(norm=norm, epsilon=1.3 * EPSILON[norm], loss=loss, targets=2, restarts=2)
    full, early = (attack.run(classifier, x, y, seed=1, early_stop=stop) for stop in (False, True))
    np.testing.assert_array_equal(numpy(early.success), numpy(full.success))
    assert numpy(early.queries).sum() < 0.9 * numpy(full.queries).sum()
    robust = ~numpy(full.success)
    assert 0 < robust.sum() < 128
    np.testing.assert_allclose(
        numpy(early.best_loss)[robust], numpy(full.best_loss)[robust], rtol=2e-2, atol=2e-2
    )
    wrong = numpy(classifier.predict(early.adversarial)).argmax(axis=1) != y
    np.testing.assert_array_equal(wrong, numpy(early.success))


def test_a_run_ends_when_every_point_is_broken(classifier, batch):
    x, y = batch
    result = APGD(epsilon=1.0, restarts=3).run(classifier, x, y, seed=0, early_stop=True)
    assert numpy(result.success).all()
    assert numpy(result.queries).max() < 30


def test_inside_a_graph(classifier, batch):
    x, y = batch
    attack = APGD(epsilon=0.03, restarts=2, steps=4)
    graph = backend.compile(lambda x, y: attack(classifier, x, y, seed=0))
    inside = numpy(graph(ops.convert_to_tensor(x), ops.convert_to_tensor(y)))
    success = numpy(classifier.predict(inside)).argmax(axis=1) != y
    np.testing.assert_array_equal(success, numpy(attack.run(classifier, x, y, seed=0).success))


def test_a_loss_without_labels(classifier, batch):
    x, y = batch
    clean = classifier.predict(x)
    result = APGD(epsilon=0.06, steps=6).run(
        classifier, x, clean, seed=0, loss=losses.kl_categorical, early_stop=True
    )
    assert not numpy(result.success).any()
    assert (numpy(result.best_loss) > 0).all()
    custom = APGD(epsilon=0.06, steps=6, loss=losses.margin).run(classifier, x, y, seed=0)
    assert numpy(custom.success).any()


def test_radii_of_its_own_for_each_example(classifier, batch):
    x, y = batch
    epsilon = np.linspace(0.01, 0.1, len(y)).astype("float32")
    result = APGD(steps=6).run(classifier, x, y, seed=0, epsilon=epsilon, early_stop=True)
    size = np.abs(numpy(result.adversarial) - x).max(axis=(1, 2, 3))
    assert (size <= epsilon + 1e-6).all()
    assert (size > 0.9 * epsilon).all()


@pytest.mark.parametrize(
    ("classes", "names"),
    [(2, ("margin", "margin-targeted")), (3, ("dlr", "margin-targeted")), (4, ("dlr", "dlr-targeted"))],
)
def test_few_classes(classes, names):
    attacks = [APGD(epsilon=0.1, steps=5, loss=loss) for loss in ("dlr", "dlr-targeted")]
    assert tuple(effective_loss(attack, classes) for attack in attacks) == names
    classifier = FrozenClassifier(network(classes))
    x, y = examples(classifier, 16)
    for attack in attacks:
        assert numpy(attack.run(classifier, x, y, seed=0).success).any()


def test_a_randomised_network_costs_its_draws():
    classifier = FrozenClassifier(network(noise=True))
    x, y = examples(classifier, 16)
    result = APGD(epsilon=0.06, steps=4, eot_samples=3, loss="dlr").run(classifier, x, y, seed=0)
    assert (numpy(result.queries) == 3 * (1 + 4)).all()
    assert numpy(result.success).any()


def test_not_a_number_is_no_success(batch):
    x, y = batch
    inputs = keras.Input(SHAPE)
    features = layers.Dense(5)(layers.Flatten()(inputs))
    broken = keras.Model(inputs, ops.where(features > 0.3, ops.full_like(features, np.nan), features))
    result = APGD(steps=6).run(FrozenClassifier(broken), x, y, seed=0)
    logits = numpy(FrozenClassifier(broken).predict(result.adversarial))
    assert np.isfinite(numpy(result.adversarial)).all()
    assert np.isfinite(logits[numpy(result.success)]).all()


@pytest.mark.tensorflow  # JAX computes in float64 only where JAX_ENABLE_X64 is set.
def test_float64():
    inputs = keras.Input(SHAPE, dtype="float64")
    flat = layers.Flatten(dtype="float64")(inputs)
    classifier = FrozenClassifier(keras.Model(inputs, layers.Dense(5, dtype="float64")(flat)))
    x = np.random.default_rng(0).uniform(size=(8, *SHAPE))
    y = numpy(classifier.predict(x)).argmax(axis=1).astype("int32")
    result = APGD(epsilon=0.05, steps=6).run(classifier, x, y, seed=0)
    assert numpy(result.adversarial).dtype == "float64"


def test_sparse_projection():
    """Against bisection in NumPy: inside and outside the ball, pixels at 0 and 1."""
    rng = np.random.default_rng(0)
    x = rng.uniform(size=(6, *SHAPE)).astype("float32")
    x[:2] = np.round(x[:2])
    scale = np.array([1, 0.1, 0.01, 3, 1, 1]).reshape(-1, 1, 1, 1)
    point = (x + scale * rng.normal(size=x.shape)).astype("float32")
    epsilon = np.array([2, 3, 5, 0.5, 1, 0.1], "float32")
    projected = numpy(project_to_ball_and_box(*map(ops.convert_to_tensor, (x, point, epsilon))))
    for centre, outside, radius, found in zip(x, point, epsilon, projected, strict=True):
        t = outside.astype("float64") - centre
        room = np.where(t > 0, 1 - centre, centre)
        at = lambda level, t=t, room=room: np.minimum(np.maximum(np.abs(t) - level, 0), room)  # noqa: E731
        low, high = 0.0, np.abs(t).max() if at(0).sum() > radius else 0.0
        for _ in range(100):
            middle = (low + high) / 2
            low, high = (middle, high) if at(middle).sum() > radius else (low, middle)
        np.testing.assert_allclose(found, centre + np.sign(t) * at(high), atol=1e-6)


def test_sparse_phases():
    moves = SparseMoves()
    assert moves.phases(100) == [(3.0, 30), (2.0, 30), (1.0, 40)]
    assert [sum(n for _, n in moves.phases(steps)) for steps in (1, 2, 3, 7)] == [1, 2, 3, 7]


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"norm": "l3"}, "norm"),
        ({"loss": "dlr_targeted"}, "loss"),
        ({"epsilon": 0.0}, "epsilon"),
        ({"epsilon": float("nan")}, "epsilon"),
        ({"steps": 0}, "steps"),
        ({"steps": 2.5}, "steps"),
        ({"restarts": 0}, "restarts"),
        ({"targets": 0}, "targets"),
        ({"targets": 3, "skip": 3}, "skip"),
        ({"skip": -1}, "skip"),
        ({"skip": 1.0}, "skip"),
        ({"stop_after": 0}, "stop_after"),
        ({"stop_after": 2.5}, "stop_after"),
        ({"steps": 10, "stop_after": 11}, "stop_after"),
        ({"rho": 1.0}, "rho"),
        ({"rho": -0.5}, "rho"),
        ({"eot_samples": 0}, "eot_samples"),
    ],
)
def test_bad_input(changes, match):
    with pytest.raises(ValueError, match=f"`?{match}`?.*Received: {match}="):
        APGD(**changes)

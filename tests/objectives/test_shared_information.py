"""The options of the shared-information objective: what each takes away, adds or replaces."""

import itertools

import keras
import numpy as np
import pytest
from keras import ops
from support.gradients import value_and_grads

from sharedkeras import attacks, losses, models, objectives, recipes, training
from sharedkeras.layers import GaussianStochastic
from sharedkeras.objectives import estimators

PGD = attacks.PGD(epsilon=0.1, step_size=0.05, steps=2)
CLEAN_LOGITS, CLEAN_Z, CLEAN_MEAN, ADV_LOGITS, ADV_Z = 0, 1, 2, 4, 5  # Places in `arrays()`.
LABEL = np.array([0, 1, 2, 0, 1, 2, 0, 1], "int32")


def numpy(x):
    return ops.convert_to_numpy(x)


def shared(**options):
    return objectives.SharedInformation(attack=PGD, **options)


def arrays(views=2):
    """Makes `(logits, z, mean, scale)` for each view."""
    rng = np.random.default_rng(0)
    found = []
    for _ in range(views):
        logits, z, mean, scale = rng.normal(size=(8, 3)), *rng.normal(size=(3, 8, 4))
        found += [v.astype("float32") for v in (logits, z, mean, np.exp(scale))]
    return found


def outputs_of(arrays):
    names = ("clean", "adv", "adv2")
    views = [arrays[i : i + 4] for i in range(0, len(arrays), 4)]
    return {n: {"logits": v[0], "latent": tuple(v[1:])} for n, v in zip(names, views, strict=False)}


def grads_of(objective, arrays, *which):
    """Returns the loss, and its gradients by the arrays of these numbers."""

    def total(*some):
        given = list(arrays)
        for number, array in zip(which, some, strict=True):
            given[number] = array
        return objective.loss({"label": LABEL}, outputs_of(given))["loss"]

    return value_and_grads(total, [arrays[number] for number in which], "float32")


def terms_of(objective, arrays):
    terms = objective.loss({"label": LABEL}, outputs_of(arrays))
    return {name: float(numpy(value)) for name, value in terms.items()}


@pytest.mark.parametrize(
    ("off", "left_out", "kept"),
    [
        ({"alpha": 1.0}, CLEAN_LOGITS, ADV_LOGITS),
        ({"alpha": 0.0}, ADV_LOGITS, CLEAN_LOGITS),
        ({"beta": 0.0, "lam": 1.0}, CLEAN_MEAN, CLEAN_Z),
        ({"lam": 0.0}, CLEAN_Z, CLEAN_MEAN),
    ],
)
def test_a_weight_of_zero_takes_its_term_out_of_the_gradient(off, left_out, kept):
    given = arrays()
    given[left_out][:] = np.inf  # In no other term; 0 times what follows from it would not be 0.
    value, (none, some) = grads_of(shared(**off), given, left_out, kept)
    assert np.isfinite(value)
    assert not none.any()
    assert np.abs(some).max() > 1e-5


def test_softmax_compares_probabilities():
    objective = shared(location="softmax", alpha=0.5, beta=2.0, lam=0.7)
    assert objective.taps == ()
    clean, adv = (a.astype("float64") for a in arrays()[::4])
    outputs = {"clean": {"logits": arrays()[0]}, "adv": {"logits": arrays()[4]}}
    terms = {k: float(numpy(v)) for k, v in objective.loss({"label": LABEL}, outputs).items()}
    p, q = (np.exp(z) / np.exp(z).sum(axis=1, keepdims=True) for z in (clean, adv))
    skl = 0.5 * np.sum((p - q) * np.log(p / q), axis=1).mean()
    dependence = float(numpy(losses.hsic(p.astype("float32"), q.astype("float32"))))
    ce = [-np.log(v[np.arange(8), LABEL]).mean() for v in (q, p)]
    assert terms["skl"] == pytest.approx(skl, rel=1e-5)
    assert terms["hsic"] == pytest.approx(dependence, rel=1e-4)
    expected = 0.5 * sum(ce) + 2.0 * skl - 0.7 * dependence
    assert terms["loss"] == pytest.approx(expected, rel=1e-5)


def test_mige_gives_its_gradient_and_no_value():
    given = arrays()
    value, grads = grads_of(shared(estimator="mige", lam=0.7), given, CLEAN_Z, ADV_Z)
    _, expected = value_and_grads(losses.mige, [given[CLEAN_Z], given[ADV_Z]], "float32")
    for grad, one in zip(grads, expected, strict=True):
        np.testing.assert_allclose(grad, -0.7 * one, rtol=1e-4, atol=1e-5)
    # Its value is no dependence, and stays out of the loss.
    assert value == pytest.approx(terms_of(shared(lam=0.0), given)["loss"], rel=1e-6)
    logged = terms_of(shared(estimator="mige", lam=0.7), given)["mige"]
    assert logged == pytest.approx(float(numpy(losses.mige(given[CLEAN_Z], given[ADV_Z]))), rel=1e-4)


@pytest.mark.parametrize("weight", [0.0, 0.7])
def test_the_weight_slows_the_representations_and_not_the_critic(weight):
    keras.utils.set_random_seed(0)
    layer = losses.MINE(units=(8, 8))
    x, y = arrays()[1], arrays()[5]
    measure = estimators.Critic(layer, pace=0.2)
    measure.build((None, 4))
    variables = [ops.convert_to_tensor(v) for v in layer.trainable_variables]
    value = float(numpy(layer(x, y)))
    state = [numpy(v) for v in layer.non_trainable_variables]

    def bound(kernel, x, weight=None):
        pairs = [(v, ops.convert_to_tensor(a)) for v, a in zip(layer.variables, now(), strict=True)]
        pairs = [(v, kernel if v is layer.hidden[0].kernel else a) for v, a in pairs]
        with keras.StatelessScope(state_mapping=pairs):
            if weight is None:
                return layer(x, y, training=True)
            return measure.measure(x, ops.convert_to_tensor(y), weight)[1]

    def now():
        values = {id(v): a for v, a in zip(layer.trainable_variables, variables, strict=True)}
        values |= {id(v): a for v, a in zip(layer.non_trainable_variables, state, strict=True)}
        return [values[id(v)] for v in layer.variables]

    kernel = numpy(layer.hidden[0].kernel)
    _, plain = value_and_grads(bound, [kernel, x], "float32")
    reward, grads = value_and_grads(lambda k, x: bound(k, x, weight), [kernel, x], "float32")
    assert reward == pytest.approx(weight * value, abs=1e-6)
    np.testing.assert_allclose(grads[0], 0.2 * plain[0], rtol=1e-5, atol=1e-8)
    np.testing.assert_allclose(grads[1], weight * plain[1], rtol=1e-5, atol=1e-7)


class Measured(keras.Model):
    """Lets a critic measure what two halves of a row share, beside a network that does not learn."""

    def __init__(self, critic):
        super().__init__()
        self.critic = critic
        self.tracked = list(critic.layers)
        self.built = True

    def call(self, rows, training=False):
        half = rows.shape[1] // 2
        return self.critic.measure(rows[:, :half], rows[:, half:], 0.0)[1]

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        return -y_pred


@pytest.mark.slow
@pytest.mark.parametrize(("pace", "holds"), [(0.03, True), (1.0, False)])
def test_the_critic_holds_its_bound_at_the_rate_of_residual_networks(pace, holds):
    keras.utils.set_random_seed(0)
    rng = np.random.default_rng(0)
    mean = 0.3 * rng.normal(size=(128 * 40, 256))
    pairs = [mean + 0.1 * rng.normal(size=mean.shape) for _ in range(2)]  # As the two latents are.
    rows = np.concatenate(pairs, axis=1).astype("float32")
    critic = estimators.Critic(losses.MINE(), pace=pace)
    critic.build((None, 256))
    model = Measured(critic)
    model.compile(optimizer=keras.optimizers.SGD(0.1, momentum=0.9))
    model.fit(rows, np.zeros(len(rows)), batch_size=128, epochs=8, verbose=0)
    bound = float(numpy(critic.layer(rows[:1024, :256], rows[:1024, 256:])))
    assert (bound > 1.0) == holds, bound


def test_three_views_are_means_over_pairs():
    given = arrays(3)
    terms = terms_of(shared(strengths=(1.0, 0.5), alpha=0.3, beta=2.0, lam=0.7), given)
    views = [given[i : i + 4] for i in (0, 4, 8)]
    ce = [float(numpy(ops.mean(losses.cross_entropy(LABEL, v[0])))) for v in views]
    pairs = [(views[i], views[j]) for i, j in itertools.combinations(range(3), 2)]
    skl = np.mean([numpy(losses.symmetrised_kl_gaussian(*a[2:], *b[2:])).mean() for a, b in pairs])
    dependence = np.mean([float(numpy(losses.hsic(a[1], b[1]))) for a, b in pairs])
    assert terms["ce_adv"] == pytest.approx((ce[1] + ce[2]) / 2, rel=1e-5)
    assert terms["ce_clean"] == pytest.approx(ce[0], rel=1e-5)
    assert terms["skl"] == pytest.approx(skl, rel=1e-5)
    assert terms["hsic"] == pytest.approx(dependence, rel=1e-5)
    expected = 0.3 * terms["ce_adv"] + 0.7 * ce[0] + 2.0 * skl - 0.7 * dependence
    assert terms["loss"] == pytest.approx(expected, rel=1e-5)


def test_one_batch_scores_as_separate_views_do():
    given = arrays()
    together = [np.concatenate(pair) for pair in zip(given[:4], given[4:], strict=True)]
    outputs = {"all": {"logits": together[0], "latent": tuple(together[1:])}}
    found = shared(concatenated=True).loss({"label": LABEL}, outputs)
    expected = terms_of(shared(), given)
    assert {k: float(numpy(v)) for k, v in found.items()} == pytest.approx(expected, rel=1e-6)


def small(**latent):
    inputs = keras.Input((6, 6, 1))
    x = keras.layers.Conv2D(3, 3, name="conv")(inputs)
    x = keras.layers.BatchNormalization(momentum=0.9, name="bn")(x)
    x = keras.layers.Flatten(name="features")(keras.layers.ReLU()(x))
    x, _, _ = GaussianStochastic(4, name="latent", seed=0, **latent)(x)
    return keras.Model(inputs, keras.layers.Dense(3, name="logits")(x))


@pytest.fixture
def images():
    return np.random.default_rng(0).random((8, 6, 6, 1)).astype("float32")


def test_views_by_strength(images):
    classifier = models.FrozenClassifier(small())
    targets = {"label": ops.convert_to_tensor(LABEL), "index": ops.arange(8, dtype="int32")}
    x = ops.convert_to_tensor(images)
    plain, _ = shared().views(classifier, x, targets, 0)
    views, _ = shared(strengths=(1.0, 0.5, 0.5)).views(classifier, x, targets, 0)
    assert list(views) == ["clean", "adv", "adv2", "adv3"]
    np.testing.assert_array_equal(numpy(views["adv"]), numpy(plain["adv"]))
    for name in ("adv2", "adv3"):
        assert np.abs(numpy(views[name]) - images).max() == pytest.approx(0.05, abs=1e-6)
    # Each view has a random start of its own.
    assert np.abs(numpy(views["adv2"]) - numpy(views["adv3"])).max() > 1e-3
    one, _ = shared(strengths=(1.0, 0.5, 0.5), concatenated=True).views(classifier, x, targets, 0)
    np.testing.assert_array_equal(numpy(one["all"]), np.concatenate([numpy(v) for v in views.values()]))


def test_batch_norm_of_one_batch_sees_all_views_at_once(images):
    network = small()
    objective = shared(concatenated=True)
    trainer = training.RobustTrainer(network, objective, seed=0)
    views = {"all": np.concatenate([images, 1 - images])}
    trainer(views, training=True)
    together = numpy(network.get_layer("conv")(views["all"])).mean(axis=(0, 1, 2))
    moving = numpy(network.get_layer("bn").moving_mean + 0)
    np.testing.assert_allclose(moving, 0.1 * together, rtol=1e-4, atol=1e-6)


def test_shared_noise_cancels_between_views(images):
    network = small()
    layer = network.get_layer("latent")
    kernel, bias = layer.projection.get_weights()
    kernel[:, 4:] = 0.0  # Every image has the same scale.
    layer.projection.set_weights([kernel, bias])
    views = {"clean": images, "adv": 1 - images}
    noise = {}
    for shares in (True, False):
        trainer = training.RobustTrainer(network, shared(shared_noise=shares), seed=0)
        for call in range(2):
            outputs = {
                k: [numpy(v) for v in o["latent"]] for k, o in trainer(views, training=True).items()
            }
            (z, mean, scale), (z_adv, mean_adv, _) = outputs["clean"], outputs["adv"]
            left = (z_adv - z) - (mean_adv - mean)
            if shares:
                np.testing.assert_allclose(left, 0, atol=1e-5)
            else:  # The difference of two standard normals.
                assert np.std(left / scale) == pytest.approx(np.sqrt(2), rel=0.4)
            noise[shares, call] = (z - mean) / scale
    # The next update draws anew.
    assert np.abs(noise[True, 0] - noise[True, 1]).max() > 0.1


def test_a_step_trains_the_critic_with_the_network(images):
    keras.utils.set_random_seed(0)
    network = small()
    trainer = training.RobustTrainer(network, shared(estimator="mine"), seed=0)
    trainer.compile(optimizer=keras.optimizers.SGD(0.05))
    (critic,) = trainer.objective.layers
    assert critic.hidden[0].kernel.shape == (8, 512)
    tracked = {id(v) for v in trainer.trainable_variables}
    assert all(id(v) in tracked for v in critic.trainable_variables)
    before, mean = numpy(critic.last.kernel + 0), float(numpy(critic.mean + 0))
    history = trainer.fit(images, LABEL, batch_size=8, epochs=2, verbose=0).history
    assert set(history) == {"loss", "ce_adv", "ce_clean", "skl", "mine"}
    # At lambda times the rate it would move by 1e-3 of this.
    assert np.abs(numpy(critic.last.kernel + 0) - before).max() > 1e-5
    assert float(numpy(critic.mean + 0)) != mean
    config = network.get_config()
    assert "mine" not in str(config).lower()


def test_the_critic_needs_shapes():
    class Subclassed(keras.Model):
        def __init__(self):
            super().__init__()
            self.last = keras.layers.Dense(3)

        def call(self, x, training=False):
            return self.last(ops.reshape(x, (-1, 36)))

    network = Subclassed()
    network(np.zeros((1, 6, 6, 1), "float32"))
    with pytest.raises(ValueError, match="must be functional"):
        training.RobustTrainer(network, shared(estimator="mine", location="softmax"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"estimator": "nothing"}, "known are .*'hsic', 'mige', 'mine'"),
        ({"location": "nothing"}, "known are .*'softmax', 'z'"),
        ({"strengths": ()}, "Received: strengths"),
        ({"strengths": 0.5}, "Received: strengths"),
        ({"strengths": (1.0, -1.0)}, "Received: strengths"),
        ({"shared_noise": True, "concatenated": True}, "share their noise"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(ValueError, match=message):
        shared(**options)


def test_an_estimator_of_ones_own_is_known_by_its_name(monkeypatch):
    monkeypatch.setattr(estimators, "_ESTIMATORS", dict(estimators._ESTIMATORS))
    estimators.register("product", lambda objective: estimators.Function(lambda x, y: ops.mean(x * y)))
    given = arrays()
    terms = terms_of(shared(estimator="product", alpha=0.0, beta=0.0, lam=0.5), given)
    product = np.mean(given[1] * given[5])
    assert terms["product"] == pytest.approx(product, abs=1e-6)
    assert terms["loss"] == pytest.approx(terms["ce_clean"] - 0.5 * product, rel=1e-5)
    with pytest.raises(ValueError, match="taken"):
        estimators.register("hsic", lambda objective: None)


def test_a_recipe_sets_the_options():
    recipe = recipes.get("quickstart")
    options = {"estimator": "mige", "beta": 0, "strengths": [1.0, 0.5], "location": "softmax"}
    objective = recipes.Recipe(
        name="x", source="x", dataset="mnist-mini", model=recipe.model, objective_options=options
    ).make_objective()
    assert (objective.estimator, objective.location) == ("mige", "softmax")
    assert objective.beta == 0  # And no ramp to it.

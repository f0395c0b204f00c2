"""Randomised networks: verdicts by many draws, candidates, the deterministic mean beside them."""

import keras
import numpy as np
import pytest
from keras import ops

from sharedkeras import evaluation
from sharedkeras.attacks import PGD, Attack, AttackResult
from sharedkeras.evaluation.stochastic import stochastic
from sharedkeras.layers import GaussianStochastic
from sharedkeras.models import FrozenClassifier

EPSILON = 0.1
PGD5 = PGD(epsilon=EPSILON, step_size=0.03, steps=5, random_start=None)
SMALL = {
    "epsilon": EPSILON,
    "version": "custom",
    "attacks": {"pgd": PGD(epsilon=EPSILON, step_size=0.03, steps=3, eot_samples=4)},
    "mean_version": "custom",
    "mean_attacks": {"pgd": PGD5},
    "batch_size": 16,
}


def make(*, shift=-5.0, sample=True, name="noisy"):
    keras.utils.set_random_seed(0)
    inputs = keras.Input((6, 6, 1))
    x = keras.layers.Flatten(name="features")(inputs * 4.0)
    layer = GaussianStochastic(4, name="latent", shift=shift, sample_at_inference=sample, seed=3)
    return keras.Model(inputs, keras.layers.Dense(3, name="logits")(layer(x)[0]), name=name)


def logits(network, x):
    return ops.convert_to_numpy(network(x, training=False))


@pytest.fixture(scope="module")
def network():
    return make()


@pytest.fixture(scope="module")
def data():
    x = np.random.default_rng(0).random((30, 6, 6, 1)).astype("float32")
    y = logits(make(sample=False), x).argmax(axis=1).astype("int32")
    y[:4] = (y[:4] + 1) % 3  # misclassified without an attack
    return x, y


@pytest.fixture(scope="module")
def report(network, data):
    return stochastic(network, *data, **SMALL)


def test_flags_are_the_verdicts_of_the_mean_logits(network, data, report):
    x, y = data
    assert list(report.flags) == ["clean", "pgd", "transfer-mean"]
    assert not report.flags["clean"][:4].any()
    assert 0 < report.robust < report.clean
    assert np.abs(report.adversarial - x).max() <= EPSILON + 1e-6
    draws = np.stack([logits(network, report.adversarial) for _ in range(400)])
    mean = draws.mean(axis=0)
    margin = np.sort(mean, axis=1)[:, -1] - np.sort(mean, axis=1)[:, -2]
    error = 2 * draws.std(axis=0).max(axis=1) / np.sqrt(32)  # of a difference of two logits, at most
    clear = margin > 4 * error
    assert clear.mean() > 0.6
    assert np.array_equal((mean.argmax(axis=1) == y)[clear], report.robust_flags[clear])
    assert np.array_equal(report.predictions["adversarial"] == y, report.robust_flags)
    alike = (report.adversarial == x).all(axis=(1, 2, 3))
    assert np.array_equal(alike, report.robust_flags | ~report.flags["clean"])
    found = np.isfinite(report.distance["pgd"])
    assert np.array_equal(found, report.flags["clean"] & ~report.flags["pgd"])


def test_the_accuracy_of_single_draws(report):
    sampled = report.settings["sampled_accuracy"]
    assert list(sampled) == ["clean", "pgd", "transfer-mean", "worst"]
    # A draw of little noise is near the mean; the worst case of all candidates is the lowest.
    assert abs(sampled["clean"] - report.clean) < 0.1
    assert sampled["worst"] <= min(sampled["pgd"], sampled["transfer-mean"]) + 0.02
    assert report.settings["samples"] == 32


def test_the_deterministic_mean_stands_beside_it(network, data, report):
    x, y = data
    twin = make(sample=False)
    twin.set_weights(network.get_weights())
    alone = evaluation.evaluate(twin, x, y, {"pgd": PGD5}, batch_size=16)
    mean = report.settings["deterministic_mean"]
    assert mean["clean"] == alone.clean and mean["robust"] == alone.robust
    assert mean["accuracy"] == {"pgd": alone.accuracy["pgd"]}
    assert network.get_layer("latent").sample_at_inference  # the network itself stays random
    assert report.settings["weights_sha256"] == evaluation.weights_digest(network)
    finding = next(f for f in report.findings if f.code == "stochastic")
    assert f"{100 * alone.robust:.1f} %" in finding.message


def test_the_seed_decides_every_draw(network, data, report):
    logits(network, data[0])  # moves the layer's generator, which is of no matter
    twin = make(sample=False)
    twin.set_weights(network.get_weights())
    again = stochastic(network, *data, mean_network=twin, **SMALL)
    assert again.settings["sampled_accuracy"] == report.settings["sampled_accuracy"]
    assert np.array_equal(again.adversarial, report.adversarial)
    other = stochastic(network, *data, seed=1, **SMALL)
    assert other.settings["sampled_accuracy"] != report.settings["sampled_accuracy"]


def test_without_noise_worth_speaking_of_it_is_the_mean(data):
    x, y = data
    quiet = make(shift=-40.0)
    result = stochastic(quiet, x, y, **SMALL)
    assert result.clean == result.settings["deterministic_mean"]["clean"] == 26 / 30
    assert result.robust == result.settings["deterministic_mean"]["robust"]
    shares = result.settings["sampled_accuracy"]
    assert shares["worst"] == result.robust and shares["clean"] == result.clean


class Still(Attack):
    """Returns images made beforehand."""

    norm = "linf"
    __dataclass_fields__: dict = {}  # noqa: RUF012

    def __init__(self, images, epsilon=EPSILON):
        self.images, self.epsilon = images, epsilon

    def run(self, classifier, x, y, *, seed, index, **_):
        assert isinstance(classifier, FrozenClassifier)
        nothing = np.zeros(len(x))
        found = self.images[index]
        return AttackResult(found, nothing.astype(bool), nothing, nothing, nothing.astype("int32"))


def test_of_several_candidates_the_worst_is_kept(network, data, report):
    x, y = data
    far = np.clip(x + 0.5, 0, 1)
    broken = x.copy()
    broken[5] = np.nan
    attacks = {
        "nothing": Still(x),
        "found": Still(report.adversarial),
        "outside": Still(far),
        "broken": Still(broken),
    }
    changes = {
        "attacks": attacks,
        "mean_attacks": {"none": PGD(epsilon=EPSILON, step_size=1e-9, steps=1, random_start=None)},
    }
    result = stochastic(network, x, y, **{**SMALL, **changes})
    for name in ("outside", "broken"):
        assert np.array_equal(result.flags[name], result.flags["clean"])
    fell = result.flags["clean"] & ~result.flags["found"]
    assert fell.sum() >= 3
    assert np.array_equal(result.adversarial[fell], report.adversarial[fell])


def test_the_rand_version_runs(network, data):
    x, y = data
    result = stochastic(
        network, x[:4], y[:4], epsilon=0.02, mean_version="custom", mean_attacks={"pgd": PGD5}
    )
    assert list(result.flags) == ["clean", "apgd-ce", "apgd-dlr", "transfer-mean"]
    assert result.settings["attacks"]["apgd-ce"]["eot_samples"] == 20


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"samples": 8}, "samples"),
        ({"epsilon": 0.0}, "epsilon"),
        ({"batch_size": 0}, "batch_size"),
        ({"attacks": None}, "custom"),
        ({"version": "rand"}, "custom"),
        ({"attacks": {}}, "at least one attack"),
        ({"attacks": {"clean": PGD5}}, "must map"),
    ],
)
def test_bad_arguments(network, data, changes, message):
    with pytest.raises(ValueError, match=message):
        stochastic(network, *data, **{**SMALL, **changes})


def test_a_deterministic_network_is_refused(data):
    with pytest.raises(ValueError, match="autoattack"):
        stochastic(make(sample=False), *data, **SMALL)
    with pytest.raises(TypeError, match=r"keras.Model"):
        stochastic(lambda x: x, *data, mean_network=make(sample=False), **SMALL)

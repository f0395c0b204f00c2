"""The judging loop: worst case, verification, batches, resuming, and everything one may hand it."""

import dataclasses

import keras
import numpy as np
import pytest
from keras import ops
from support.cpu import half_precision

from sharedkeras import evaluation
from sharedkeras.attacks import APGD, FAB, FGSM, PGD, Attack, AttackResult, Square
from sharedkeras.evaluation.judging.attack_batch import attack_batch
from sharedkeras.evaluation.judging.batches import bucket
from sharedkeras.models.classifiers.callable import CallableClassifier

ATTACKS = {
    "fgsm": FGSM(epsilon=0.1),
    "pgd": PGD(epsilon=0.1, step_size=0.03, steps=5),
}


def make(classes=3, scale=4.0, shape=(6, 6, 1), seed=0):
    keras.utils.set_random_seed(seed)
    inputs = keras.Input(shape)
    x = keras.layers.Flatten()(inputs)
    return keras.Model(inputs, keras.layers.Dense(classes)(x * scale), name="toy")


@pytest.fixture(scope="module")
def network():
    return make()


@pytest.fixture(scope="module")
def data(network):
    rng = np.random.default_rng(0)
    x = rng.random((40, 6, 6, 1)).astype("float32")
    y = ops.convert_to_numpy(network(x)).argmax(axis=1).astype("int32")
    y[:5] = (y[:5] + 1) % 3  # five points that are misclassified without an attack
    return x, y


def test_flags_tell_the_truth(network, data):
    x, y = data
    report = evaluation.evaluate(network, x, y, ATTACKS, batch_size=16, seed=0)
    assert report.clean == 35 / 40
    assert not report.flags["clean"][:5].any()
    assert 0 < report.robust < report.clean
    predicted = ops.convert_to_numpy(network(report.adversarial)).argmax(axis=1)
    assert np.array_equal(predicted == y, report.robust_flags)
    assert np.abs(report.adversarial - x).max() <= 0.1 + 1e-6
    alike = (report.adversarial == x).all(axis=(1, 2, 3))
    assert np.array_equal(alike, report.robust_flags | ~report.flags["clean"])
    assert report.robust <= min(report.accuracy.values())


def test_independent_attacks_are_alone(network, data):
    x, y = data
    both = evaluation.evaluate(network, x, y, ATTACKS, batch_size=40)
    for name, attack in ATTACKS.items():
        alone = evaluation.evaluate(network, x, y, {name: attack}, batch_size=40)
        assert np.array_equal(alone.flags[name], both.flags[name])


def test_cascade_never_flips_back_and_ends_at_the_worst_case(network, data):
    x, y = data
    report = evaluation.autoattack(
        network, x, y, epsilon=0.1, version="custom", attacks=ATTACKS, batch_size=16
    )
    assert np.all(report.flags["fgsm"] >= report.flags["pgd"])
    alone = evaluation.evaluate(network, x, y, ATTACKS, batch_size=16)
    assert np.array_equal(report.robust_flags, alone.robust_flags)
    assert report.robust == report.accuracy["pgd"]


@pytest.mark.numeric
@pytest.mark.parametrize("batch_size", [1, 7, 64])
def test_batch_size_does_not_matter(network, data, batch_size):
    x, y = data
    one = evaluation.evaluate(network, x, y, ATTACKS, batch_size=40, seed=1)
    other = evaluation.evaluate(network, x, y, ATTACKS, batch_size=batch_size, seed=1)
    for name in ATTACKS:
        assert np.array_equal(one.flags[name], other.flags[name])


@pytest.mark.slow
@pytest.mark.numeric
def test_order_and_slices_do_not_matter(network, data):
    x, y = data
    arguments = {"epsilon": 0.1, "version": "custom", "attacks": ATTACKS, "batch_size": 8}
    whole = evaluation.autoattack(network, x, y, **arguments)
    order = np.random.default_rng(1).permutation(40)
    mixed = evaluation.autoattack(network, x[order], y[order], index=order, **arguments)
    assert np.array_equal(mixed.robust_flags, whole.robust_flags[order])
    slices = [evaluation.autoattack(network, x, y, shard=(i, 3), **arguments) for i in range(3)]
    merged = evaluation.merge(slices)
    for name in ("clean", *ATTACKS):
        assert np.array_equal(merged.flags[name], whole.flags[name])
    # Slices of unequal size, all smaller than the batch, are slices of the same evaluation.
    arguments["batch_size"] = 64
    slices = [evaluation.autoattack(network, x, y, shard=(i, 3), **arguments) for i in range(3)]
    assert [report.n for report in slices] == [14, 13, 13]
    assert np.array_equal(evaluation.merge(slices).robust_flags, whole.robust_flags)


def test_resumed_evaluation_ends_with_the_same_verdicts(network, data, tmp_path):
    x, y = data
    arguments = {"batch_size": 8, "seed": 2}
    whole = evaluation.evaluate(network, x, y, ATTACKS, **arguments)

    @dataclasses.dataclass(frozen=True, kw_only=True)
    class Dies(PGD):
        def run(self, *args, **kwargs):
            if not stop:
                raise KeyboardInterrupt
            stop.pop()
            return super().run(*args, **kwargs)

        __repr__ = PGD.__repr__

    attacks = {"fgsm": ATTACKS["fgsm"], "pgd": Dies(**dataclasses.asdict(ATTACKS["pgd"]))}
    stop = [1, 1]
    with pytest.raises(KeyboardInterrupt):
        evaluation.evaluate(network, x, y, attacks, resume_from=tmp_path / "j", **arguments)
    # Five batches of FGSM, two of PGD.
    assert len(list((tmp_path / "j").glob("*.npz"))) == 5 + 2
    stop = [1] * 3  # of five batches, three are left
    resumed = evaluation.evaluate(network, x, y, attacks, resume_from=tmp_path / "j", **arguments)
    assert not stop
    for name in attacks:
        expected = whole.flags[name] if name == "fgsm" else resumed.flags[name]
        assert np.array_equal(resumed.flags[name], expected)
    again = evaluation.evaluate(network, x, y, attacks, resume_from=tmp_path / "j", **arguments)
    assert np.array_equal(again.adversarial, resumed.adversarial)


def test_damaged_entry_is_made_again(network, data, tmp_path):
    x, y = data
    first = evaluation.evaluate(network, x, y, ATTACKS, batch_size=8, resume_from=tmp_path / "j")
    for entry in (tmp_path / "j").glob("*.npz"):
        entry.write_bytes(entry.read_bytes()[:100])
    again = evaluation.evaluate(network, x, y, ATTACKS, batch_size=8, resume_from=tmp_path / "j")
    assert np.array_equal(first.adversarial, again.adversarial)


def test_journal_of_another_evaluation_is_refused(network, data, tmp_path):
    x, y = data
    evaluation.evaluate(network, x, y, ATTACKS, batch_size=8, resume_from=tmp_path / "j")
    with pytest.raises(ValueError, match="another evaluation"):
        evaluation.evaluate(network, x, y, ATTACKS, batch_size=8, seed=1, resume_from=tmp_path / "j")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.txt").write_text("x")
    with pytest.raises(ValueError, match="empty directory"):
        evaluation.evaluate(network, x, y, ATTACKS, resume_from=tmp_path / "other")


@dataclasses.dataclass(frozen=True)
class Cheat(Attack):
    """Claims success for images that are none."""

    kind: str
    norm: str = "linf"
    epsilon: float = 0.1

    def run(self, classifier, x, y, **_):
        adv = np.array(x)
        if self.kind == "outside":
            adv = 1 - adv
        elif self.kind == "nan":
            adv[:] = np.nan
        elif self.kind == "bright":
            adv = adv + 0.099
        n = len(adv)
        return AttackResult(adv, np.ones(n, bool), np.zeros(n), np.zeros(n), np.zeros(n, int))


@pytest.mark.parametrize("kind", ["clean", "outside", "nan"])
def test_false_claims_are_not_believed(network, data, kind):
    x, y = data
    report = evaluation.evaluate(network, x, y, {"cheat": Cheat(kind)}, batch_size=16)
    assert report.accuracy["cheat"] == report.clean


def test_images_above_one_are_not_believed(network, data):
    x, _ = data
    bright = np.clip(x + 0.95, 0, 1).astype("float32")
    labels = ops.convert_to_numpy(network(bright)).argmax(axis=1).astype("int32")
    report = evaluation.evaluate(network, bright, labels, {"cheat": Cheat("bright")}, batch_size=16)
    assert report.accuracy["cheat"] == report.clean == 1


def test_all_points_misclassified(network, data):
    x, _ = data
    wrong = (ops.convert_to_numpy(network(x)).argmax(axis=1) + 1) % 3
    report = evaluation.autoattack(network, x, wrong, epsilon=0.1, version="custom", attacks=ATTACKS)
    assert report.clean == report.robust == 0
    assert np.array_equal(report.adversarial, x)


def test_single_example(network, data):
    x, y = data
    report = evaluation.evaluate(network, x[10:11], y[10:11], ATTACKS)
    assert report.n == 1


def test_epsilon_zero_is_the_clean_accuracy(network, data):
    x, y = data
    report = evaluation.autoattack(network, x, y, epsilon=0)
    assert report.robust == report.clean
    assert list(report.accuracy) == ["apgd-ce", "apgd-t", "fab-t", "square"]
    assert [f.code for f in report.findings][:1] == ["empty-ball"]


def test_images_that_are_not_square():
    network = make(shape=(4, 7, 3))
    x = np.random.default_rng(0).random((6, 4, 7, 3)).astype("float32")
    y = ops.convert_to_numpy(network(x)).argmax(axis=1)
    report = evaluation.evaluate(network, x, y, ATTACKS)
    assert report.adversarial.shape == x.shape


def test_nan_logits_are_refused(data):
    x, y = data
    inputs = keras.Input((6, 6, 1))
    out = keras.layers.Dense(3)(keras.layers.Flatten()(inputs))
    broken = keras.Model(inputs, out)
    broken.layers[-1].set_weights([np.full((36, 3), np.nan, "float32"), np.zeros(3, "float32")])
    with pytest.raises(ValueError, match="not finite"):
        evaluation.evaluate(broken, x, y, ATTACKS)


def test_labels_beyond_the_classes(network, data):
    x, y = data
    with pytest.raises(ValueError, match=r"classes from 0 to 2\. Received: labels 1\.\.7"):
        evaluation.evaluate(network, x, np.where(y == 0, 7, y), ATTACKS)


@pytest.mark.parametrize(
    ("change", "error", "match"),
    [
        (lambda x: (255 * x).astype("uint8"), TypeError, "255"),
        (lambda x: x * 2, ValueError, r"\[0, 1\]"),
        (lambda x: x[0], ValueError, "rank|shape"),
        (lambda x: np.where(x > 0.5, np.nan, x), ValueError, "finite|NaN"),
        (lambda x: x[:0], ValueError, "Received"),
    ],
)
def test_bad_images(network, data, change, error, match):
    x, y = data
    bad = change(x)
    with pytest.raises((error, ValueError), match=match):
        evaluation.evaluate(network, bad, y[: len(bad)], ATTACKS)


def test_images_of_another_shape_are_refused(network, data):
    x, y = data
    # As many numbers as the network's images have: Keras would take them.
    with pytest.raises(ValueError, match=r"input shape, \(6, 6, 1\).*\(40, 4, 9, 1\)"):
        evaluation.evaluate(network, x.reshape(-1, 4, 9, 1), y, ATTACKS)


def test_a_single_logit_of_a_callable_is_refused(data):
    x, y = data
    single, attacks = make(classes=1), {"square": Square(epsilon=0.1, queries=2)}
    with pytest.raises(ValueError, match="at least 2 classes"):
        evaluation.evaluate(lambda x: ops.convert_to_numpy(single(x)), x, 0 * y, attacks)


@pytest.mark.slow
@half_precision
def test_half_precision_logits(network, data):
    """The network of `network` with its last layer in bfloat16: what is attacked are its logits."""
    x, y = data
    inputs = keras.Input((6, 6, 1))
    logits = keras.layers.Dense(3, dtype="mixed_bfloat16")(keras.layers.Flatten()(inputs) * 4.0)
    half = keras.Model(inputs, logits)
    half.set_weights(network.get_weights())
    assert keras.backend.standardize_dtype(half(x[:1]).dtype) == "bfloat16"
    attacks = {
        "apgd-ce": APGD(epsilon=0.1, steps=5),
        "fab": FAB(epsilon=0.1, steps=5),
        "square": Square(epsilon=0.1, queries=20),
        "pgd": ATTACKS["pgd"],
    }
    report = evaluation.autoattack(half, x, y, epsilon=0.1, version="custom", attacks=attacks)
    found = ops.convert_to_numpy(ops.cast(half(report.adversarial), "float32")).argmax(axis=1)
    assert np.array_equal(found == y, report.robust_flags)
    exact = evaluation.autoattack(network, x, y, epsilon=0.1, version="custom", attacks=attacks)
    assert np.sum(exact.robust_flags != report.robust_flags) <= 3


def test_bad_labels(network, data):
    x, y = data
    for labels in (y[:5], y.astype("float32"), np.eye(3)[y], y - 1):
        with pytest.raises((ValueError, TypeError), match="Received"):
            evaluation.evaluate(network, x, labels, ATTACKS)


def test_bad_attacks(network, data):
    x, y = data
    with pytest.raises(ValueError, match="at least one attack"):
        evaluation.evaluate(network, x, y, {})
    with pytest.raises(ValueError, match=r"sharedkeras\.attacks"):
        evaluation.evaluate(network, x, y, {"pgd": "pgd20"})
    with pytest.raises(ValueError, match="needs gradients"):
        evaluation.evaluate(lambda x: np.zeros((len(x), 3)), x, y, ATTACKS)
    with pytest.raises(ValueError, match="Unknown attack"):
        evaluation.paper_attacks("mnist", ["pgd20", "magic"])
    with pytest.raises(ValueError, match="Unknown dataset"):
        evaluation.paper_attacks("imagenet")
    with pytest.raises(ValueError, match="Unknown version"):
        evaluation.autoattack(network, x, y, version="strong")
    with pytest.raises(ValueError, match="custom"):
        evaluation.autoattack(network, x, y, version="standard", attacks=ATTACKS)
    with pytest.raises(ValueError, match="epsilon"):
        evaluation.autoattack(network, x, y, epsilon=-1)
    with pytest.raises(ValueError, match="shard"):
        evaluation.autoattack(network, x, y, shard=(3, 3))


def test_paper_attacks_are_table_2():
    mnist = evaluation.paper_attacks("mnist")
    assert (mnist["pgd40"].epsilon, mnist["pgd40"].step_size, mnist["pgd40"].steps) == (0.3, 0.01, 40)
    cifar = evaluation.paper_attacks("cifar100", ["pgd20", "cw"])
    assert (cifar["pgd20"].epsilon, cifar["pgd20"].step_size) == (0.031, 0.003)
    assert (cifar["cw"].c, cifar["cw"].steps, cifar["cw"].learning_rate) == (1.0, 20, 0.01)
    assert mnist["cw"].learning_rate == 0.003


def test_buckets_are_few():
    sizes = {bucket(n, 256) for n in range(1, 257)}
    assert sizes == {8, 16, 24, 32, 48, 64, 96, 128, 192, 256}
    sizes = {bucket(n, 250) for n in range(1, 251)}
    assert sizes == {8, 16, 24, 32, 48, 63, 94, 125, 188, 250}
    for full in (1, 5, 8, 9, 31, 250, 257):
        assert all(n <= bucket(n, full) <= max(8, full) for n in range(1, full + 1))
        assert bucket(full, full) == full


def test_what_fills_a_batch_up_is_dropped_by_the_attacks(network, data):
    x, y = data
    seen = []

    @dataclasses.dataclass(frozen=True, kw_only=True)
    class Sees(PGD):
        def run(self, classifier, x, y, **kwargs):
            predicted = ops.convert_to_numpy(classifier.predict(x)).argmax(axis=1)
            seen.append(np.array(predicted == y))
            return super().run(classifier, x, y, **kwargs)

    attack = Sees(**dataclasses.asdict(ATTACKS["pgd"]))
    report = evaluation.evaluate(network, x, y, {"pgd": attack}, batch_size=32)
    assert [(len(right), right.sum()) for right in seen] == [(32, 32), (8, 3)]
    want = evaluation.evaluate(network, x, y, {"pgd": attack}, batch_size=35)  # Nothing to fill up.
    assert np.array_equal(report.flags["pgd"], want.flags["pgd"])


@pytest.mark.parametrize(("left", "size"), [(1, 8), (28, 28), (33, 36), (44, 44), (97, 100), (100, 100)])
def test_few_rows_fill_up_what_an_attack_passes_through_hundreds_of_times(left, size):
    sizes = []

    class Counts(Attack):
        norm, epsilon = "linf", 0.1

        def run(self, classifier, x, y, **_):
            sizes.append(len(x))
            nothing = np.zeros(len(x))
            return AttackResult(x, nothing > 0, nothing, nothing, nothing)

    x, y = np.zeros((left, 2, 2, 1), "float32"), np.zeros(left, "int32")
    classifier = CallableClassifier(lambda x: np.tile(np.float32([1, 0]), (len(x), 1)))
    done = attack_batch(classifier, Counts(), x, y, np.arange(left), 0, 100, 100)
    assert sizes == [size]
    assert done["success"].shape == (left,)


def test_ensembles_have_the_published_settings():
    standard = evaluation.ensemble("standard", norm="linf", epsilon=0.1)
    assert list(standard) == ["apgd-ce", "apgd-t", "fab-t", "square"]
    assert (standard["apgd-ce"].steps, standard["apgd-ce"].restarts) == (100, 1)
    assert (standard["apgd-t"].targets, standard["fab-t"].targets) == (9, 9)
    assert (standard["square"].queries, standard["square"].rescale_schedule) == (5000, False)
    plus = evaluation.ensemble("plus", norm="l2", epsilon=0.5)
    assert list(plus) == ["apgd-ce", "apgd-dlr", "fab", "square", "apgd-t", "fab-t"]
    assert [plus[n].restarts for n in ("apgd-ce", "apgd-dlr", "fab", "fab-t")] == [5, 5, 5, 1]
    rand = evaluation.ensemble("rand", norm="linf", epsilon=0.1)
    assert [a.eot_samples for a in rand.values()] == [20, 20]
    assert list(evaluation.ensemble("paper", norm="linf", epsilon=0.1)) == [
        "apgd-ce",
        "apgd-dlr",
        "fab",
        "square",
    ]

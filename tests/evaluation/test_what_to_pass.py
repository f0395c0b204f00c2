"""What an evaluation is given: numbers of every kind are taken, and what cannot be used is explained."""

import sys
import types

import keras
import numpy as np
import pytest
from keras import ops

from sharedkeras import evaluation
from sharedkeras.attacks import APGD, FGSM, PGD, Square
from sharedkeras.evaluation.suites.ensemble import ensemble

N = 8
X = np.random.default_rng(0).random((N, 4, 4, 1)).astype("float32")
SQUARE = {"square": Square(epsilon=0.1, queries=3)}
QUIET = {"verbose": False, "batch_size": N}


def linear(x, classes=3):
    weights = np.random.default_rng(1).normal(size=(16, classes)).astype("float32")
    return x.reshape(len(x), -1) @ weights


Y = linear(X).argmax(axis=1)


@pytest.mark.parametrize(
    "attacks",
    [
        [SQUARE["square"]],
        (("square", SQUARE["square"]),),
        SQUARE["square"],
        "square",
        Square,
        None,
    ],
    ids=lambda a: type(a).__name__,
)
def test_attacks_go_in_a_dict(attacks):
    expected = r"a dict from a name to an attack.*\{\"pgd20\": PGD"
    with pytest.raises(ValueError, match=expected):
        evaluation.evaluate(linear, X, Y, attacks, **QUIET)
    given = {"version": "custom", "epsilon": 0.1, "attacks": attacks}
    with pytest.raises(ValueError, match=expected if attacks is not None else "goes with version"):
        evaluation.autoattack(linear, X, Y, **QUIET, **given)


class WithGradient:
    """Stands for a torch tensor that NumPy cannot take."""

    __module__ = "torch"

    def __array__(self, *_, **__):
        raise RuntimeError("Can't call numpy() on Tensor that requires grad.")


@pytest.mark.parametrize(
    ("outputs", "received"),
    [
        (
            lambda z: {"logits": z, "probabilities": z},
            r"dict with the keys \['logits', 'probabilities'\]",
        ),
        (lambda z: {"logits": z.tolist()}, r"dict with the keys \['logits'\]"),
        (lambda z: None, "NoneType"),
        (lambda z: '{"logits": [1, 2]}', "str"),
        (lambda z: WithGradient(), r"torch\.WithGradient"),
        (lambda z: [{"label": 1}] * len(z), "list"),
        (lambda z: (z, z[:, :2]), "tuple"),
    ],
    ids=range(7),
)
def test_an_endpoint_must_return_an_array(outputs, received):
    with pytest.raises(ValueError, match=rf"NumPy array of shape \(batch, K\).*type .*{received}"):
        evaluation.evaluate(lambda x: outputs(linear(x)), X, Y, SQUARE, **QUIET)


def test_an_endpoint_may_return_lists_of_numbers():
    taken = evaluation.evaluate(lambda x: linear(x).tolist(), X, Y, SQUARE, checks=False, **QUIET)
    assert taken.clean == 1


def later(outputs):
    """An endpoint whose answers change after two calls."""
    calls = []

    def answer(x):
        calls.append(None)
        return outputs(linear(x)) if len(calls) > 2 else linear(x)

    return answer


SHAPES = {
    "a row missing": (lambda z: z[:-1], "for 8 images"),
    "a row too many": (lambda z: np.concatenate([z, z[:1]]), "for 8 images"),
    "twice": (lambda z: np.concatenate([z, z]), "for 8 images"),
    "transposed": (lambda z: z.T, "for 8 images"),
    "class numbers": (lambda z: z.argmax(axis=1), "for 8 images"),
    "an axis too many": (lambda z: z[:, None], "for 8 images"),
    "the best two": (lambda z: np.sort(z)[:, 1:], "2 classes after 3"),
}


@pytest.mark.parametrize("kind", SHAPES)
def test_an_endpoint_must_return_a_row_of_all_classes_for_each_image(kind):
    outputs, message = SHAPES[kind]
    if "classes after" not in message:
        with pytest.raises(ValueError, match=message):
            evaluation.evaluate(lambda x: outputs(linear(x)), X, Y, SQUARE, **QUIET)
    with pytest.raises(ValueError, match=message):
        evaluation.evaluate(later(outputs), X, Y, SQUARE, **QUIET)


def test_an_endpoint_may_scale_its_images_in_place():
    def endpoint(x):
        x -= 0.5
        return linear(x)

    before = X.copy()
    one, other = (
        evaluation.evaluate(f, X, Y, SQUARE, **QUIET) for f in (lambda x: linear(x - 0.5), endpoint)
    )
    np.testing.assert_array_equal(X, before)
    np.testing.assert_array_equal(other.flags["square"], one.flags["square"])
    np.testing.assert_array_equal(other.adversarial, one.adversarial)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (Y % 3 + 1, r"from 0 to 2\. They begin at 1: take `y - 1`\. Received: labels 1\.\.3"),
        (Y + 5, r"from 0 to 2\. Received"),
        (Y - 1, r"from 0 "),
    ],
    ids=range(3),
)
@pytest.mark.parametrize("kind", ["function", "network"])
def test_labels_are_the_networks_classes(kind, labels, message):
    labels = np.where(np.arange(N) < 3, labels - Y + np.arange(N), labels)  # All classes are there.
    network = linear if kind == "function" else keras_network(lambda z: z)
    with pytest.raises(ValueError, match=message):
        evaluation.evaluate(network, X, labels, SQUARE, **QUIET)


def test_two_inputs_are_refused_by_name():
    inputs = [keras.Input((4, 4, 1)), keras.Input((4, 4, 1))]
    logits = keras.layers.Dense(3)(keras.layers.Flatten()(keras.layers.Add()(inputs)))
    with pytest.raises(ValueError, match=r"must have one input, images.*with 2 inputs"):
        evaluation.evaluate(keras.Model(inputs, logits, name="two"), X, Y, SQUARE, **QUIET)


def test_a_torch_module_is_explained():
    module = types.new_class("Linear", (), {}, lambda body: body.update(__module__="torch.nn.modules"))
    network = module()
    network_type = type("Mine", (module,), {"__call__": lambda self, x: linear(x)})
    for given in (network, network_type()):
        with pytest.raises(TypeError, match=r"Wrap a torch module.*torch\.from_numpy"):
            evaluation.evaluate(given, X, Y, SQUARE, **QUIET)


def keras_network(outputs):
    keras.utils.set_random_seed(0)
    images = keras.Input((4, 4, 1))
    logits = keras.layers.Dense(3)(keras.layers.Flatten()(images))
    return keras.Model(images, outputs(logits))


@pytest.mark.parametrize(
    ("outputs", "select", "match"),
    [
        (lambda z: {"a": z, "b": z * 2}, None, r"outputs \['a', 'b'\]; `select` must name one"),
        (lambda z: {"a": z, "b": z * 2}, "c", r"`select` must name one.*'c'"),
        (lambda z: [z, z * 2], None, "`select` must be the number of one"),
        (lambda z: [z, z * 2], 2, "`select` must be the number of one.*2"),
        (lambda z: [z, z * 2], "a", "`select` must be the number of one.*'a'"),
    ],
)
def test_select_names_an_output(outputs, select, match):
    with pytest.raises(ValueError, match=match):
        evaluation.evaluate(keras_network(outputs), X, Y, SQUARE, select=select, **QUIET)


NUMBERS = {
    "numpy": (np.int64, np.float64),
    "narrow numpy": (np.uint8, np.float32),
    "array": (np.array, np.array),
    "tensor": (ops.convert_to_tensor, ops.convert_to_tensor),
}


@pytest.mark.parametrize("kind", NUMBERS)
def test_numbers_of_every_kind_are_taken(kind):
    whole, real = NUMBERS[kind]
    plain = {"epsilon": 0.125, "queries": 3, "batch_size": 4, "seed": 1, "shard": (0, 2)}
    given = {
        "epsilon": real(0.125),
        "queries": whole(3),
        "batch_size": whole(4),
        "seed": whole(1),
        "shard": (whole(0), whole(2)),
    }
    one = evaluation.black_box(linear, X, Y, verbose=False, **plain)
    other = evaluation.black_box(linear, X, Y, verbose=False, **given)
    assert np.array_equal(one.robust_flags, other.robust_flags)
    assert (one.settings, one.seed) == (other.settings, other.seed)


@pytest.mark.parametrize(
    ("given", "match"),
    [
        ({"epsilon": np.float32(-1)}, "epsilon"),
        ({"epsilon": np.nan}, "epsilon"),
        ({"epsilon": "8/255"}, "epsilon"),
        ({"epsilon": np.array([0.1, 0.2])}, "epsilon"),
        ({"epsilon": 8.0}, "divide by 255, as in epsilon=8/255"),
        ({"batch_size": 0}, "batch_size"),
        ({"batch_size": 2.5}, "batch_size"),
        ({"batch_size": True}, "batch_size"),
        ({"seed": 0.5}, "seed"),
        ({"seed": -1}, "seed"),
        ({"shard": (2, 2)}, "shard"),
        ({"shard": 3}, "shard"),
        ({"shard": (0.0, 2.0)}, "shard"),
        ({"index": np.zeros(N, int)}, "index"),
        ({"index": np.arange(N) - 1}, "index"),
        ({"index": np.arange(N) / 2}, "index"),
        ({"index": np.arange(N - 1)}, "index"),
    ],
    ids=str,
)
def test_numbers_out_of_range_are_refused(given, match):
    with pytest.raises(ValueError, match=match):
        evaluation.black_box(linear, X, Y, **{"epsilon": 0.1, "queries": 3, **QUIET, **given})


def test_large_epsilons_are_right_in_other_norms():
    report = evaluation.black_box(linear, X, Y, norm="l2", epsilon=2.0, queries=3, **QUIET)
    assert report.settings["epsilon"] == 2.0


# What stands in where there are few classes is said by the rule that the attack itself follows.


@pytest.mark.parametrize("classes", [2, 3, 4, 5])
@pytest.mark.parametrize("version", ["standard", "plus", "paper", "quick"])
def test_the_finding_of_few_classes_says_what_the_attacks_do(version, classes):
    from sharedkeras.attacks.apgd.apgd import effective_loss

    module = sys.modules["sharedkeras.evaluation.autoattack"]
    attacks = ensemble(version, norm="linf", epsilon=0.1)
    found = module._few_classes(types.SimpleNamespace(num_classes=classes), attacks)
    losses = {effective_loss(a, classes) for a in attacks.values() if isinstance(a, APGD)}
    message = found[0].message if found else ""
    assert ("targeted DLR" in message) == ("margin-targeted" in losses)
    assert ("DLR (needs 3" in message) == ("margin" in losses)


def test_the_stand_in_of_an_empty_ball_is_the_same_in_every_process():
    module = sys.modules["sharedkeras.evaluation.autoattack"]
    assert repr(module._Nothing()) == "_Nothing(norm='linf', epsilon=0.0)"
    assert module._Nothing() == module._Nothing()


def test_other_attacks_know_of_no_few_classes():
    module = sys.modules["sharedkeras.evaluation.autoattack"]
    attacks = {"pgd": PGD(), "fgsm": FGSM(), "square": Square()}
    assert module._few_classes(types.SimpleNamespace(num_classes=2), attacks) == []

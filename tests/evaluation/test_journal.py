"""A directory of finished work belongs to one evaluation, and is believed as far as it is verified."""

import dataclasses
import functools
import json
import os
import sys
from typing import ClassVar

import keras
import numpy as np
import pytest
from keras import layers, ops

from sharedkeras import evaluation
from sharedkeras.attacks import APGD, FGSM, PGD, Attack, AttackResult, Square
from sharedkeras.evaluation.judging import identity, inputs, journal, kept, provenance, sealed
from sharedkeras.evaluation.judging.journal import Journal
from sharedkeras.models import CallableClassifier, FrozenClassifier

N = 12
X = np.random.default_rng(0).random((N, 4, 4, 1)).astype("float32")
WEIGHTS = np.random.default_rng(1).normal(size=(16, 3)).astype("float32")
QUIET = {"checks": False, "verbose": False, "batch_size": 4}


def linear(x, scale=4.0):
    return np.float32(scale) * (x.reshape(len(x), -1) @ WEIGHTS)


Y = linear(X).argmax(axis=1)


@dataclasses.dataclass(frozen=True)
class Draw(Attack):
    """A random image of the ball for each example; remembers which examples it was asked for."""

    norm: str = "linf"
    epsilon: float = 0.5
    black_box: ClassVar[bool] = True
    asked: ClassVar[list] = []
    dies_after: ClassVar[list] = []

    def craft(self, task):
        x, y, index = map(ops.convert_to_numpy, (task.x, task.y, task.index))
        if self.dies_after and not self.dies_after[0]:
            raise KeyboardInterrupt
        if self.dies_after:
            self.dies_after[0] -= 1
        noise = np.stack(
            [np.random.default_rng((task.seed, i)).choice([-1, 1], x.shape[1:]) for i in index]
        )
        adv = np.clip(x + self.epsilon * noise, 0, 1).astype("float32")
        success = ops.convert_to_numpy(task.classifier.predict(adv)).argmax(axis=1) != y
        self.asked.extend(index[: len(np.unique(index))].tolist())
        zeros = np.zeros(len(x))
        return AttackResult(np.where(success[:, None, None, None], adv, x), success, zeros, zeros, zeros)


@pytest.fixture
def asked():
    Draw.asked.clear()
    Draw.dies_after.clear()
    yield Draw.asked
    Draw.dies_after.clear()


def judged(home, network=linear, x=X, y=Y, attacks=None, **options):
    attacks = {"draw": Draw()} if attacks is None else attacks
    return evaluation.evaluate(network, x, y, attacks, resume_from=home, **{**QUIET, **options})


def same(a, b):
    assert a.flags.keys() == b.flags.keys()
    for name in a.flags:
        assert np.array_equal(a.flags[name], b.flags[name]), name
    assert np.array_equal(a.adversarial, b.adversarial)
    for name in a.distance:
        assert np.array_equal(a.distance[name], b.distance[name])
    assert np.array_equal(a.predictions["adversarial"], b.predictions["adversarial"])


def entries(home):
    return sorted(home.glob("*.npz"))


# What is done is found again.


def test_nothing_is_attacked_twice(asked, tmp_path):
    first = judged(tmp_path)
    assert sorted(asked) == list(range(N))
    assert 0 < first.robust < 1
    asked.clear()
    same(judged(tmp_path), first)
    same(judged(tmp_path, batch_size=5), first)
    same(
        judged(tmp_path, attacks={"by another name": Draw()}),
        judged(None, attacks={"by another name": Draw()}),
    )
    assert sorted(asked) == list(range(N))  # Those of the evaluation without a directory.


def test_a_kill_costs_the_batch_at_work(asked, tmp_path):
    alone = judged(None)
    asked.clear()
    Draw.dies_after.append(2)
    with pytest.raises(KeyboardInterrupt):
        judged(tmp_path)
    assert sorted(asked) == list(range(8))
    Draw.dies_after.clear()
    asked.clear()
    same(judged(tmp_path, batch_size=3), alone)
    assert sorted(asked) == list(range(8, N))


def test_more_attacks_and_other_orders_use_what_is_done(asked, tmp_path):
    first, second = Draw(), Draw(epsilon=0.4)
    judged(tmp_path, attacks={"a": first})
    asked.clear()
    two = {"b": second, "a": first}
    arguments = {"epsilon": 0.5, "version": "custom", "batch_size": 4, "verbose": False}
    cascade = evaluation.autoattack(linear, X, Y, attacks=two, resume_from=tmp_path, **arguments)
    assert sorted(asked) == list(range(N))  # `second` alone.
    same(cascade, evaluation.autoattack(linear, X, Y, attacks=two, **arguments))
    asked.clear()
    judged(tmp_path, attacks=two)
    assert not asked


def test_an_attack_that_saw_few_examples_goes_on_with_the_others(asked, tmp_path):
    arguments = {"epsilon": 0.5, "version": "custom", "batch_size": 4, "verbose": False}
    attacks = {"a": Draw(), "b": Draw(epsilon=0.4)}
    cascade = evaluation.autoattack(linear, X, Y, attacks=attacks, resume_from=tmp_path, **arguments)
    asked.clear()
    same(judged(tmp_path, attacks={"b": attacks["b"]}), judged(None, attacks={"b": attacks["b"]}))
    assert sorted(asked[:-N]) == np.flatnonzero(~cascade.flags["a"]).tolist()


@pytest.mark.parametrize(
    "other",
    [
        Draw(epsilon=0.4),
        dataclasses.make_dataclass("Draw", [], bases=(Draw,), frozen=True)(),
    ],
    ids=["settings", "class"],
)
def test_another_attack_finds_nothing(asked, tmp_path, other):
    judged(tmp_path)
    asked.clear()
    judged(tmp_path, attacks={"draw": other})
    assert sorted(asked) == list(range(N))


def test_standard_goes_on_where_quick_stopped(tmp_path, monkeypatch):
    network = keras_network()
    y = network.predict(X, verbose=0).argmax(axis=1)
    small = {
        "quick": {"apgd-ce": APGD(epsilon=0.1, steps=3), "apgd-t": APGD(epsilon=0.1, steps=2)},
        "standard": {
            "apgd-ce": APGD(epsilon=0.1, steps=3),
            "apgd-t": APGD(epsilon=0.1, steps=2),
            "square": Square(epsilon=0.1, queries=5),
        },
    }
    module = sys.modules["sharedkeras.evaluation.autoattack"]  # Whose function bears its name.
    monkeypatch.setattr(module, "ensemble", lambda version, **_: small[version])
    arguments = {"epsilon": 0.1, "batch_size": N, "verbose": False}
    evaluation.autoattack(network, X, y, version="quick", resume_from=tmp_path, **arguments)
    before = set(entries(tmp_path))
    report = evaluation.autoattack(network, X, y, version="standard", resume_from=tmp_path, **arguments)
    added = set(entries(tmp_path)) - before
    assert {p.name[:16] for p in added} == {kept.attack_key(small["standard"]["square"])}
    alone = evaluation.autoattack(network, X, y, version="standard", **arguments)
    same(report, alone)
    assert report.findings == alone.findings


def test_an_empty_ball_is_resumed(tmp_path):
    arguments = {"epsilon": 0, "resume_from": tmp_path, "verbose": False}
    network = keras_network()
    y = network.predict(X, verbose=0).argmax(axis=1)
    first = evaluation.autoattack(network, X, y, **arguments)
    second = evaluation.autoattack(network, X, y, **arguments)
    assert first.robust == second.robust == 1
    assert list(second.accuracy) == ["apgd-ce", "apgd-t", "fab-t", "square"]


def test_gradients_are_looked_at_where_the_kept_work_did_not(tmp_path):
    def flat(x):
        return ops.where(ops.max(x, axis=(1, 2, 3), keepdims=True) > 0.5, ops.round(x), x)

    images = keras.Input((4, 4, 1))
    network = keras.Model(images, layers.Dense(3)(layers.Flatten()(layers.Lambda(flat)(images))))
    x = X * np.float32(0.5)
    y = network.predict(x, verbose=0).argmax(axis=1)
    attacks = {"pgd": PGD(epsilon=0.05, step_size=0.02, steps=3)}
    judged(tmp_path, network, x, y, attacks)
    report = judged(tmp_path, network, x, y, attacks, checks=True)
    assert "zero-gradient-at-end" in {f.code for f in report.findings}
    again = judged(tmp_path, network, x, y, attacks, checks=True)
    assert again.findings == report.findings


# A directory belongs to one evaluation.


def keras_network(
    activation="relu", last=None, seed=0, filters=4, name=None, scale=1.0, padding="valid", **more
):
    keras.utils.set_random_seed(seed)
    images = keras.Input((4, 4, 1))
    hidden = layers.Conv2D(filters, 3, activation=activation, padding=padding, name=name, **more)(images)
    outputs = layers.Dense(3)(layers.GlobalAveragePooling2D()(hidden)) * scale
    return keras.Model(images, outputs if last is None else last(outputs))


def parts(network, x=X, y=Y, index=None, seed=0, select=None):
    frozen = FrozenClassifier(network, select)
    examples = inputs.checked_examples(frozen, x, y, index)
    return provenance.fingerprint(frozen, examples, seed)


def differing(a, b):
    return {name for name in a if a[name] != b[name]}


@pytest.mark.parametrize(
    "change",
    [
        {"activation": "tanh"},
        {"activation": "leaky_relu"},
        {"activation": lambda t: ops.relu(t) - 1e-9},
        {"last": layers.Softmax()},
        {"last": layers.Activation("sigmoid")},
        {"last": layers.Lambda(lambda t: t * 2, output_shape=(3,))},
        {"scale": 1.0001},
        {"padding": "same"},
        {"dilation_rate": 1, "data_format": "channels_last", "dtype": "mixed_bfloat16"},
    ],
    ids=("tanh", "leaky", "function", "softmax", "sigmoid", "lambda", "scale", "padding", "dtype"),
)
def test_what_a_network_computes_tells_it_apart(change):
    assert differing(parts(keras_network()), parts(keras_network(**change))) == {"architecture"}


def subclassed(activation, factor, flip):
    class Scaled(layers.Layer):
        def __init__(self, times):
            super().__init__()
            self.times = times.pop()  # Of a list, which no configuration holds.

        def call(self, x):
            return x * self.times

    class Network(keras.Model):
        def __init__(self, chosen):
            super().__init__()
            self.hidden = layers.Dense(4, activation=chosen[0])
            self.scaled, self.out = Scaled([factor]), layers.Dense(3)

        def call(self, x):
            return self.out(self.scaled(self.hidden(ops.reshape(x, (-1, 16)))))

    class Flipped(Network):
        def call(self, x):
            return super().call(1 - x)

    keras.utils.set_random_seed(0)
    network = (Flipped if flip else Network)([activation])
    network(X)
    return network


def test_subclassed_networks_are_told_apart():
    one = parts(subclassed("relu", 2.0, False))
    assert not differing(one, parts(subclassed("relu", 2.0, False)))
    for change in (("tanh", 2.0, False), ("relu", 3.0, False), ("relu", 2.0, True)):
        assert differing(one, parts(subclassed(*change))) == {"architecture"}, change


def test_functions_are_told_apart_by_what_they_compute():
    def lam(function):
        return keras_network(last=layers.Lambda(function, output_shape=(3,)))

    def times(factor):
        return lambda t: t * factor

    double = parts(lam(lambda t: t * 2))
    assert not differing(double, parts(lam(lambda t: t * 2)))
    assert differing(double, parts(lam(lambda t: t * 3))) == {"architecture"}
    assert not differing(parts(lam(times(2))), parts(lam(times(2))))
    assert differing(parts(lam(times(2))), parts(lam(times(3)))) == {"architecture"}


def test_a_layer_whose_gradient_alone_changes_tells_networks_apart():
    class Plain(layers.Layer):
        def call(self, x):
            return x

    class Masked(layers.Layer):
        def call(self, x):
            return ops.stop_gradient(x)

    Masked.__qualname__ = Plain.__qualname__
    Masked.__name__ = "Plain"
    one, other = (parts(keras_network(last=kind())) for kind in (Plain, Masked))
    assert differing(one, other) == {"architecture"}


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"x": X * np.float32(0.5)}, "images"),
        ({"x": X.astype("float64").astype("float32")[:, ::-1].copy()}, "images"),
        ({"y": (Y + 1) % 3}, "labels"),
        ({"index": np.arange(N) + 1}, "numbers of the examples"),
        ({"seed": 1}, "seed"),
    ],
)
def test_what_is_judged_tells_evaluations_apart(change, name):
    network = keras_network()
    assert differing(parts(network), parts(network, **change)) == {name}


def test_weights_and_select_tell_networks_apart():
    assert differing(parts(keras_network()), parts(keras_network(seed=1))) == {"weights"}
    images = keras.Input((4, 4, 1))
    flat = layers.Flatten()(images)
    two = keras.Model(images, [layers.Dense(3)(flat), layers.Dense(3)(flat)])
    assert differing(parts(two, select=0), parts(two, select=1)) == {"select"}


def test_the_way_layers_are_joined_tells_networks_apart():
    def joined(choose):
        keras.utils.set_random_seed(0)
        images = keras.Input((4, 4, 1))
        flat = layers.Flatten()(images)
        first = layers.Dense(16)(flat)
        second = layers.Dense(16)(first)
        return keras.Model(images, layers.Subtract()(choose(flat, first, second)))

    def skip(flat, first, second):
        return [second, first]

    assert not differing(parts(joined(skip)), parts(joined(skip)))
    for other in (lambda a, b, c: [c, a], lambda a, b, c: [b, c], lambda a, b, c: [c, c]):
        assert differing(parts(joined(skip)), parts(joined(other))) == {"architecture"}


def test_the_same_network_is_known_again(tmp_path):
    network = keras_network(name="one")
    expected = parts(network)
    assert not differing(expected, parts(keras_network(name="other")))
    assert not differing(expected, parts(keras_network(kernel_regularizer="l2")))
    network.save(tmp_path / "network.keras")
    assert not differing(expected, parts(keras.models.load_model(tmp_path / "network.keras")))
    network.compile("sgd", "mse")
    network.trainable = False
    # `weights` lists trainable weights first, so that freezing a part of them may reorder it.
    assert not differing(expected, parts(network)) - {"weights"}
    _ = FrozenClassifier(network).folded
    assert not differing(expected, parts(network)) - {"weights"}
    sequence = keras.Sequential([keras.Input((4, 4, 1)), layers.Flatten(), layers.Dense(3, name="x")])
    config = sequence.get_config()
    config["name"], config["layers"][2]["config"]["name"] = "y", "z"
    twin = keras.Sequential.from_config(config)
    twin.set_weights(sequence.get_weights())
    assert not differing(parts(sequence), parts(twin))


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"seed": 1}, r"seed \(0 there, 1 here\)"),
        ({"x": X * np.float32(0.5)}, "images"),
        ({"y": (Y + 1) % 3}, "labels"),
        ({"index": np.arange(N) + 1}, "numbers of the examples"),
        ({"network": lambda x: linear(x, 4.1)}, "logits of the probe images"),
        ({"network": lambda x: linear(x)[:, ::-1]}, "logits of the probe images"),
    ],
)
def test_another_evaluation_is_refused_with_what_differs(tmp_path, change, match):
    judged(tmp_path)
    with pytest.raises(ValueError, match=f"another evaluation, which differs in: {match}"):
        judged(tmp_path, **change)


def test_other_networks_are_refused_with_what_differs(tmp_path):
    network = keras_network()
    y = network.predict(X, verbose=0).argmax(axis=1)
    attacks = {"draw": Draw()}
    judged(tmp_path, network, y=y, attacks=attacks)
    for other, match in (
        (keras_network("tanh"), "architecture"),
        (keras_network(seed=1), "weights"),
        (keras_network(last=layers.Softmax()), "architecture"),
        (lambda x: network.predict(x, verbose=0), "weights, architecture"),
    ):
        with pytest.raises(ValueError, match=f"differs in: {match}"):
            judged(tmp_path, other, y=y, attacks=attacks)


def test_logits_that_differ_by_rounding_are_the_same_network(tmp_path, asked):
    judged(tmp_path)
    asked.clear()
    judged(tmp_path, lambda x: linear(x) * np.float32(1 + 1e-5))
    assert not asked


class File:
    """Stands for a file of another framework's, which tells the digest of all that it loads."""

    def __init__(self, sha256):
        self.sha256 = sha256

    def __call__(self, x):
        return linear(x)


def test_a_file_is_known_by_its_digest(tmp_path, asked):
    judged(tmp_path, File("a" * 64))
    asked.clear()
    judged(tmp_path, File("a" * 64))
    assert not asked
    with pytest.raises(ValueError, match="differs in: file"):
        judged(tmp_path, File("b" * 64))


def test_another_version_of_the_library_is_refused(tmp_path, monkeypatch):
    judged(tmp_path)
    monkeypatch.setattr(provenance, "__version__", "0.0.0")
    with pytest.raises(ValueError, match="version of sharedkeras"):
        judged(tmp_path)


# What is kept is verified.


def flips(data, count):
    """Yield copies with one bit flipped, all over the file."""
    for place in np.linspace(0, len(data) - 1, count).astype(int):
        damaged = bytearray(data)
        damaged[place] ^= 1 << (place % 8)
        yield bytes(damaged)


def damages(data):
    yield from flips(data, 60)
    directory = data.find(b"PK\x01\x02")
    for place in range(directory, directory + 46):  # One record of the archive's directory.
        yield data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]
    for length in (0, 1, 4, 100, len(data) // 2, len(data) - 1):
        yield data[:length]
    yield bytes(len(data))
    yield data + data


def test_a_damaged_entry_counts_as_not_there(tmp_path):
    book = Journal(tmp_path, lambda: {"of": "mine"})
    index = np.arange(4)
    book.write("00-pgd-00000", index, {"success": np.ones(4, bool)})
    (entry,) = book.read("00-pgd-00000", index)
    assert entry["success"].all()
    path = tmp_path / "00-pgd-00000.npz"
    data = path.read_bytes()
    for number, damaged in enumerate(damages(data)):
        path.write_bytes(damaged)
        assert book.read("00-pgd-00000", index) is None or damaged == data, number
    path.unlink()
    path.mkdir()
    assert book.read("00-pgd-00000", index) is None


def test_an_entry_of_another_evaluation_or_attack_counts_as_not_there(tmp_path):
    index, done = np.arange(4), {"success": np.ones(4, bool)}
    for name in "ab":
        (tmp_path / name).mkdir()
    one, other = (Journal(tmp_path / name, lambda name=name: {"of": name}) for name in "ab")
    one.write("0a-1", index, done)
    data = (tmp_path / "a" / "0a-1.npz").read_bytes()
    (tmp_path / "b" / "0a-1.npz").write_bytes(data)
    (tmp_path / "a" / "0b-1.npz").write_bytes(data)
    assert one.read("0a", index) is not None
    assert one.read("0b", index) is None
    assert other.read("0a", index) is None


def test_nothing_is_decompressed_or_unpickled(tmp_path):
    bomb = tmp_path / "bomb.npz"
    np.savez_compressed(bomb, index=np.zeros(1_000_000))
    assert sealed.unpack(bomb, "chain") is None
    np.savez(bomb, index=np.array([{}], dtype=object))
    assert sealed.unpack(bomb, "chain") is None


def test_damaged_work_is_done_again(tmp_path, asked):
    whole = judged(tmp_path)
    paths = entries(tmp_path)
    assert len(paths) == 3
    paths[0].write_bytes(paths[0].read_bytes()[:-7])
    asked.clear()
    same(judged(tmp_path), whole)
    assert len(asked) == 4
    asked.clear()
    same(judged(tmp_path), whole)
    assert not asked


def forged(entry, x):
    """Tables of claims that are sealed, and false."""
    claims = np.ones(len(entry["index"]), bool)
    own = x[entry["index"]]
    yield "clean images", claims, own
    yield "far away", claims, np.clip(own + 0.5, 0, 1)
    yield "beyond the image", claims, own + 1
    yield "not a number", claims, np.full_like(own, np.nan)
    yield "too few images", claims, own[1:]
    yield "another shape", claims, own[:, 1:]
    yield "another type", claims, own.astype("float64")
    yield "numbers for flags", claims.astype(int), own


def test_claims_that_the_network_does_not_bear_out_are_judged_again(tmp_path, asked):
    whole = judged(tmp_path)
    path = entries(tmp_path)[0]
    head = json.loads((tmp_path / "evaluation.json").read_text())
    chain = f"{head['seal']}/{path.stem}"
    entry = sealed.unpack(path, chain)
    for what, success, adversarial in forged(entry, X):
        path.write_bytes(sealed.pack({**entry, "success": success, "adversarial": adversarial}, chain))
        assert sealed.unpack(path, chain) is not None
        asked.clear()
        same(judged(tmp_path), whole)
        assert sorted(asked) == sorted(entry["index"]), what
        asked.clear()
        same(judged(tmp_path), whole)
        assert not asked, what


def test_distances_and_classes_are_computed_and_not_read(tmp_path):
    whole = judged(tmp_path)
    head = json.loads((tmp_path / "evaluation.json").read_text())
    for path in entries(tmp_path):
        chain = f"{head['seal']}/{path.stem}"
        entry = sealed.unpack(path, chain)
        lies = {name: np.zeros_like(entry[name]) for name in ("distance", "predicted")}
        path.write_bytes(sealed.pack({**entry, **lies}, chain))
    same(judged(tmp_path), whole)


def test_a_damaged_head_counts_as_nothing_done(tmp_path, asked):
    whole = judged(tmp_path)
    head = tmp_path / "evaluation.json"
    data = head.read_bytes()
    heads = [*flips(data, 25), *(data[:length] for length in (0, 1, 12, 30, 400, len(data) - 2))]
    for damaged in [*heads, bytes(len(data))]:
        head.write_bytes(damaged)
        asked.clear()
        same(judged(tmp_path), whole)
        # A flip that leaves the text's meaning, such as that of a space, damages nothing.
        assert len(asked) in (0, N)
        assert json.loads(head.read_text())["format"] == journal.FORMAT


def test_a_damaged_head_costs_a_known_network_nothing(tmp_path, asked):
    network = keras_network()
    y = network.predict(X, verbose=0).argmax(axis=1)
    whole = judged(tmp_path, network, y=y)
    for data in (b"", (tmp_path / "evaluation.json").read_bytes()[:-9]):
        (tmp_path / "evaluation.json").write_bytes(data)
        asked.clear()
        same(judged(tmp_path, network, y=y), whole)
        assert not asked
    (tmp_path / "evaluation.json").unlink()
    other = keras_network(seed=1)
    y = other.predict(X, verbose=0).argmax(axis=1)
    same(judged(tmp_path, other, y=y), judged(None, other, y=y))


@pytest.mark.parametrize(
    "text",
    [
        '{"fingerprint": "of an earlier version"}',
        '{"accuracy": 0.5}',
        "[1, 2]",
        "notes",
    ],
)
def test_a_head_of_another_kind_is_refused(tmp_path, text):
    (tmp_path / "evaluation.json").write_text(text)
    with pytest.raises(ValueError, match="of another kind"):
        judged(tmp_path)
    assert (tmp_path / "evaluation.json").read_text() == text


def test_a_later_format_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(journal, "FORMAT", "sharedkeras-journal/3")
    judged(tmp_path)
    monkeypatch.undo()
    with pytest.raises(ValueError, match="of another kind"):
        judged(tmp_path)


# Litter, other files, and company.


@pytest.mark.parametrize(
    "name",
    [".evaluation.jsonabcd1234.tmp", ".0a1b2c3d4e5f6071-0a1b2c3d4e5f6071.npz_x9f32_1.tmp"],
)
def test_litter_of_a_kill_is_removed(tmp_path, name):
    for text in ("", '{"finger', "PK"):
        (tmp_path / name).write_text(text)
        Journal(tmp_path, lambda: {"of": "mine"})
        assert [p.name for p in tmp_path.iterdir()] == ["evaluation.json"]


@pytest.mark.parametrize("name", ["thesis.txt", "notes.tmp", "data.npz"])
def test_a_directory_of_other_files_is_refused(tmp_path, name):
    (tmp_path / name).write_text("x")
    with pytest.raises(ValueError, match="new or empty directory"):
        judged(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == [name]


def test_another_process_that_opens_the_directory_harms_nothing(tmp_path, monkeypatch):
    replace, mine = os.replace, {"of": "mine"}

    def disturbed(source, target):
        Journal(tmp_path, lambda: mine)  # While this one has written its file and not named it yet.
        replace(source, target)

    book = Journal(tmp_path, lambda: mine)
    monkeypatch.setattr(os, "replace", disturbed)
    book.write("0a-0", np.arange(2), {"success": np.ones(2, bool)})
    assert Journal(tmp_path, lambda: mine).read("0a", np.arange(2)) is not None


def test_a_second_evaluation_at_once_is_refused(tmp_path):
    told = []

    @dataclasses.dataclass(frozen=True)
    class Intruded(Draw):
        def craft(self, task):
            with pytest.raises(FileExistsError, match=rf"works in this.*directory={tmp_path}") as error:
                judged(tmp_path)
            told.append(str(error.value))
            return super().craft(task)

    report = judged(tmp_path, attacks={"draw": Intruded()})
    assert told and "\n" not in told[0]
    assert not (tmp_path / ".lock").exists()
    same(judged(tmp_path), judged(None))
    same(report, judged(None))


# What is known of attacks.


def weighted(weight):
    return lambda y, logits: weight * ops.max(logits, axis=-1)


def test_attacks_are_known_by_settings_and_code():
    key = kept.attack_key
    assert key(PGD(epsilon=0.1)) == key(PGD(epsilon=0.1))
    assert key(PGD(epsilon=0.1)) == key(PGD(epsilon=np.float64(0.1)))
    different = [PGD(epsilon=0.1), PGD(epsilon=0.2), FGSM(epsilon=0.1), APGD(epsilon=0.1)]
    different += [APGD(epsilon=0.1, loss=loss) for loss in (weighted(1.0), weighted(2.0), "dlr")]
    different += [APGD(epsilon=0.1, loss=lambda y, logits: -ops.max(logits, axis=-1))]
    assert len({key(attack) for attack in different}) == len(different)
    assert key(APGD(epsilon=0.1, loss=weighted(1.0))) == key(APGD(epsilon=0.1, loss=weighted(1.0)))
    partial = functools.partial(np.maximum, 1.0)
    assert key(APGD(loss=partial)) == key(APGD(loss=functools.partial(np.maximum, 1.0)))


def test_an_attack_of_which_nothing_can_be_told_is_run_again(tmp_path, asked):
    @dataclasses.dataclass(frozen=True)
    class Session(Draw):
        session: object = None

    attack = Session(session=object())
    assert kept.attack_key(attack) is None
    with pytest.raises(identity.UnknownIdentity, match="of type object"):
        identity.describe(attack)
    first = judged(tmp_path, attacks={"draw": attack})
    asked.clear()
    same(judged(tmp_path, attacks={"draw": attack}), first)
    assert sorted(asked) == list(range(N))
    assert not entries(tmp_path)


def test_a_plain_callable_is_what_is_wrapped():
    examples = inputs.checked_examples(CallableClassifier(linear), X, Y, None)
    found = provenance.fingerprint(CallableClassifier(linear), examples, 0)
    assert {found[name] for name in ("weights", "architecture", "select", "file")} == {None}

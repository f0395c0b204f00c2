"""Slices as Ray tasks are the one run, whatever happens to a worker."""

import dataclasses
import importlib.util
import itertools
import os
import pathlib
import signal
import subprocess
import sys
import time
import uuid
import warnings

import keras
import numpy as np
import pytest
from keras import ops

from sharedkeras import data, evaluation
from sharedkeras.attacks import APGD, Attack, AttackResult, Square
from sharedkeras.layers import GaussianStochastic
from sharedkeras.math import random

SHARDS = 4
EPSILON = 0.1
X, Y = np.zeros((4, 2, 2, 1), "float32"), np.zeros(4, int)

needs_ray = pytest.mark.skipif(
    importlib.util.find_spec("ray") is None,
    reason="needs the extra ray: pip install sharedkeras[ray]",
)
slow = pytest.mark.slow


@dataclasses.dataclass(frozen=True)
class Witness(Attack):
    """Leaves a file each time it is asked to attack, with the draws it was given, and finds nothing.

    `victim` is the slice in which it does harm: "die" the first time, "die always", or "raise", which
    the others await.
    """

    folder: str
    name: str = "witness"
    victim: int = -1
    harm: str = "die"
    norm: str = "linf"
    epsilon: float = EPSILON
    black_box: bool = True

    def run(self, classifier, x, y, *, seed, index, **_):
        i = int(index[0]) % SHARDS
        file = pathlib.Path(self.folder) / f"{self.name}-{i}-{uuid.uuid4().hex}.npz"
        draws = random.uniform(random.key(seed, self.name), ops.convert_to_tensor(index), (3,))
        np.savez(file, index=index, draws=ops.convert_to_numpy(draws), pid=os.getpid())
        if self.harm == "raise":
            if self.victim == i:
                raise ValueError(f"The witness refuses slice {i}.")
            time.sleep(600)
        first = len(runs(self.folder, self.name)[i]) == 1
        if self.victim == i and (first or self.harm == "die always"):
            os.kill(os.getpid(), signal.SIGKILL)
        n = len(x)
        return AttackResult(x, np.zeros(n, bool), np.zeros(n), np.full(n, np.inf), np.zeros(n, int))


def runs(folder, name="witness"):
    """What a witness left: by slice, the list of its runs."""
    left = [[] for _ in range(SHARDS)]
    for path in pathlib.Path(folder).glob(f"{name}-*.npz"):
        with np.load(path) as archive:
            left[int(path.name.split("-")[1])].append(dict(archive))
    return left


def draws(folder, name="witness"):
    """By example, the bits that it was given in any run."""
    found = {}
    for run in itertools.chain(*runs(folder, name)):
        for number, draw in zip(run["index"].tolist(), run["draws"], strict=True):
            found.setdefault(number, set()).add(draw.tobytes())
    return found


def attacks(folder=None, **witness):
    """A quick ensemble; with a folder, witnesses stand before and after the first attack."""
    first = {"apgd": APGD(epsilon=EPSILON, loss="ce", steps=5)}
    last = {"square": Square(epsilon=EPSILON, queries=20)}
    if folder is None:
        return first | last
    before = {"before": Witness(str(folder), "before")}
    return before | first | {"witness": Witness(str(folder), **witness)} | last


@keras.saving.register_keras_serializable(package="tests of ray")
class Centre(keras.layers.Layer):
    """A layer that no worker knows of itself."""

    def call(self, x):
        return 2.0 * x - 1.0


@pytest.fixture(scope="module")
def digits():
    # 42 examples: slices of 11 and of 10.
    return data.load("mnist-mini", "test")[:2], 42


@pytest.fixture(scope="module")
def network(digits):
    keras.utils.set_random_seed(0)
    (x, y), n = digits
    inputs = keras.Input((28, 28, 1))
    h = keras.layers.Conv2D(8, 4, strides=2, activation="relu")(Centre()(inputs))
    h = keras.layers.Flatten()(h)
    z, _, _ = GaussianStochastic(16, name="latent", seed=0)(h)
    cnn = keras.Model(inputs, keras.layers.Dense(10)(z), name="small-cnn")
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    cnn.compile(optimizer=keras.optimizers.Adam(3e-3), loss=loss)
    cnn.fit(x[n : n + 512], y[n : n + 512], epochs=8, batch_size=64, verbose=0)
    return cnn


@pytest.fixture(scope="module")
def judged(network, digits, tmp_path_factory):
    """The one run, with all its draws."""
    (x, y), n = digits
    folder = tmp_path_factory.mktemp("one")
    report = evaluation.autoattack(network, x[:n], y[:n], **arguments(attacks(folder)))
    return report, {name: draws(folder, name) for name in ("before", "witness")}


def arguments(ensemble, **more):
    return {"version": "custom", "attacks": ensemble, "epsilon": EPSILON, "batch_size": 16} | more


def same_verdicts(ours, theirs, names):
    np.testing.assert_array_equal(ours.indices, theirs.indices)
    np.testing.assert_array_equal(ours.labels, theirs.labels)
    np.testing.assert_array_equal(ours.images, theirs.images)
    for name in names:
        np.testing.assert_array_equal(ours.flags[name], theirs.flags[name])
    # The flags say something: neither all nor none are broken by each attack.
    assert theirs.clean > theirs.accuracy["apgd"] > 0
    assert ours.clean == theirs.clean
    assert ours.robust == theirs.robust
    # The attacks differ, for there are witnesses among them.
    assert ours.settings | {"attacks": None} == theirs.settings | {"attacks": None}


def test_without_ray_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ImportError, match=r"pip install sharedkeras\[ray\]"):
        evaluation.autoattack_on_ray(None, X, Y, shards=2)


@needs_ray
def test_importing_the_library_imports_no_ray():
    code = "import sys, sharedkeras; print('ray' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "False"


@needs_ray
@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"shards": 0}, "shards=0"),
        ({"shards": 5}, "at most the number of examples, 4. Received: shards=5"),
        ({"shards": 2, "retries": -1}, "retries=-1"),
        ({"shards": 2, "num_cpus_per_shard": 0}, "num_cpus_per_shard=0"),
        ({"shards": 2, "shard": (0, 2)}, r"Received: shard=\(0, 2\)"),
    ],
)
def test_wrong_arguments_are_refused_before_any_work(wrong, message):
    with pytest.raises(ValueError, match=message):
        evaluation.autoattack_on_ray(None, X, Y, **wrong)


@needs_ray
def test_wrong_images_are_refused_before_any_work():
    with pytest.raises(TypeError, match="Divide by 255"):
        evaluation.autoattack_on_ray(None, X.astype("uint8"), Y, shards=2)


@pytest.fixture(scope="module")
def by_value():
    """Send this file's classes along: the workers cannot import it."""
    import ray

    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
    yield ray
    ray.cloudpickle.unregister_pickle_by_value(sys.modules[__name__])


@needs_ray
@slow
def test_four_slices_are_the_one_run(by_value, network, digits, judged, capfd):
    """On a Ray that the evaluation starts and ends itself; before the tests that share one."""
    ray, ((x, y), n) = by_value, digits
    assert not ray.is_initialized()
    report = evaluation.autoattack_on_ray(
        network,
        x[:n],
        y[:n],
        shards=SHARDS,
        num_cpus_per_shard=max(1, os.cpu_count() // 2),  # Two at a time.
        verbose=True,
        **arguments(attacks()),
    )
    assert not ray.is_initialized()
    same_verdicts(report, judged[0], attacks())
    lines = [line for line in capfd.readouterr().err.splitlines() if line.startswith("slice ")]
    assert sorted(line.split()[1] for line in lines) == ["0/4", "1/4", "2/4", "3/4"]
    # What came through the object store outlives it.
    assert np.isfinite(report.adversarial).all()


@pytest.fixture(scope="module")
def cluster(by_value):
    with warnings.catch_warnings():
        # JAX and Python warn of forks; those of Ray become other programs at once.
        warnings.filterwarnings("ignore", message=r".*\bfork\(\)")
        by_value.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    yield by_value
    by_value.shutdown()


@needs_ray
@slow
def test_an_estimate_makes_its_rounds(cluster, network, digits, tmp_path):
    (x, y), n = digits
    asked = {"epsilon": EPSILON / 4, "version": "estimate", "precision": 0.3, "batch_size": 16}
    one = evaluation.autoattack(network, x[:n], y[:n], **asked)
    with pytest.raises(ValueError, match="that all machines of the cluster share"):
        evaluation.autoattack_on_ray(network, x[:n], y[:n], shards=2, **asked)
    ours = evaluation.autoattack_on_ray(network, x[:n], y[:n], shards=2, resume_from=tmp_path, **asked)
    assert 0 < ours.estimate.judged < ours.estimate.survivors
    assert ours.estimate.sentence == one.estimate.sentence
    for name, flags in one.flags.items():
        np.testing.assert_array_equal(ours.flags[name], flags)


@needs_ray
@slow
@pytest.mark.parametrize("resume", [False, True])
def test_a_killed_worker_costs_its_slice_alone(cluster, network, digits, judged, tmp_path, resume):
    (x, y), n = digits
    witnesses, journal = tmp_path / "witnesses", tmp_path / "journal"
    witnesses.mkdir()
    report = evaluation.autoattack_on_ray(
        network,
        x[:n],
        y[:n],
        shards=SHARDS,
        resume_from=journal if resume else None,
        **arguments(attacks(witnesses, victim=2)),
    )
    assert cluster.is_initialized()
    one, drawn = judged
    same_verdicts(report, one, one.flags)
    for name, expected in drawn.items():
        assert draws(witnesses, name) == expected
        assert all(len(bits) == 1 for bits in expected.values())

    assert [len(found) for found in runs(witnesses)] == [1, 1, 2, 1]
    first, second = runs(witnesses)[2]
    assert first["pid"] != second["pid"]
    # What a journal kept is not judged again.
    again = 1 if resume else 2
    assert [len(found) for found in runs(witnesses, "before")] == [1, 1, again, 1]
    if resume:
        assert len(list(journal.glob("slice-*-of-4/evaluation.json"))) == SHARDS


@needs_ray
@slow
def test_a_slice_that_always_loses_its_worker_is_given_up(cluster, network, digits, tmp_path):
    (x, y), _ = digits
    witness = {"witness": Witness(str(tmp_path), victim=1, harm="die always")}
    with pytest.raises(RuntimeError, match="Slice 1 of 4 has lost its worker") as caught:
        evaluation.autoattack_on_ray(
            network, x[:20], y[:20], shards=SHARDS, retries=1, **arguments(witness)
        )
    assert str(caught.value).endswith("Received: retries=1")
    assert len(runs(tmp_path)[1]) == 2


@needs_ray
def test_an_exception_surfaces_at_once(cluster, network, digits, tmp_path):
    (x, y), _ = digits
    witness = {"witness": Witness(str(tmp_path), victim=1, harm="raise")}
    with pytest.raises(ValueError) as caught:
        evaluation.autoattack_on_ray(
            network, x[:20], y[:20], shards=SHARDS, retries=3, **arguments(witness)
        )
    assert str(caught.value) == "The witness refuses slice 1."
    assert len(runs(tmp_path)[1]) == 1
    # The others, who would have waited for minutes, are gone.
    until = time.monotonic() + 60
    while cluster.available_resources().get("CPU") != 2 and time.monotonic() < until:
        time.sleep(0.2)
    assert cluster.available_resources().get("CPU") == 2

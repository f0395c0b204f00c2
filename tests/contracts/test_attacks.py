"""What every attack keeps, whichever it is: a table with a row for each."""

import dataclasses
import functools
import inspect
import json
from typing import Any, NamedTuple

import keras
import numpy as np
import pytest
from keras import layers, ops

import sharedkeras.attacks
from sharedkeras.attacks import NFGSM, PGD, Attack, AttackResult, NoAttack, Representation
from sharedkeras.attacks.attack import ROLES, check_attacks, settings
from sharedkeras.evaluation.suites import registry
from sharedkeras.math import norms
from sharedkeras.models import CallableClassifier, FrozenClassifier

SHAPE = (6, 6, 1)
COUNT = 12
EPSILON = {"linf": 0.1, "l2": 0.6, "l1": 3.0}


class Row(NamedTuple):
    """How an attack is made small, and what else the contract has to know of it."""

    smaller: dict
    norms: tuple = ("linf", "l2", "l1")
    draws: bool = False  # Whether another seed gives another result.
    by_batch: bool = False  # Whether it says of itself that a result depends on the batch.
    reach: float = 1.0  # Of its images, in radii; above 1 for attacks that only craft training images.
    judges: bool = True  # Whether it is made to judge networks, and not only to train them.
    make: Any = None  # Where no command line has a name for it.


ROWS = {
    "fgsm": Row({}),
    "pgd<steps>": Row({"steps": 3}, draws=True),
    "mi-fgsm": Row({"steps": 3}),
    "cw": Row({"steps": 4, "c": 10.0, "learning_rate": 0.05}, ("l2",), by_batch=True),
    "cw-search": Row({"steps": 6, "search_steps": 3}, ("l2",)),
    "apgd-ce": Row({"steps": 4}, draws=True),
    "apgd-dlr": Row({"steps": 4}, draws=True),
    "apgd-t": Row({"steps": 4, "targets": 2}, draws=True),
    "fab": Row({"steps": 4}),  # One start, at the clean image.
    "fab-t": Row({"steps": 4, "targets": 2}),
    "square": Row({"queries": 20}, draws=True),
    "n-fgsm": Row(
        {},
        ("linf",),
        draws=True,
        reach=3.0,
        judges=False,
        make=lambda ball: NFGSM(epsilon=ball["epsilon"]),
    ),
    "none": Row({}, reach=0.0, judges=False, make=lambda ball: NoAttack(**ball)),
    "representation": Row({"steps": 3}, ("linf",), make=lambda ball: Representation(layer="f", **ball)),
}
CASES = [(name, norm) for name, row in ROWS.items() for norm in row.norms]
FIRST = [(name, row.norms[0]) for name, row in ROWS.items()]


def numpy(t):
    return ops.convert_to_numpy(t)


def make(name, norm="linf"):
    row, ball = ROWS[name], {"norm": norm, "epsilon": EPSILON[norm]}
    if row.make:
        attack = row.make(ball)
    else:
        setting = registry.Setting(dataset="mnist", norm=norm, radius=ball["epsilon"])
        attack = registry.make(name.replace("<steps>", "3"), setting)
    return dataclasses.replace(attack, **row.smaller)


@functools.cache
def classifier():
    keras.utils.set_random_seed(3)
    images = keras.Input(SHAPE)
    hidden = layers.Dense(8, activation="tanh", name="f")(layers.Flatten()(images))
    return FrozenClassifier(keras.Model(images, layers.Dense(4)(hidden)))


@functools.cache
def batch():
    """Images, labels of which two are wrong from the start, and guides."""
    rng = np.random.default_rng(0)
    x = rng.uniform(size=(COUNT, *SHAPE)).astype("float32")
    y = numpy(classifier().predict(x)).argmax(axis=1).astype("int32")
    y[::7] = (y[::7] + 1) % 4
    return x, y, rng.uniform(size=x.shape).astype("float32")


@functools.cache
def whole(name, norm, seed=5):
    return run(make(name, norm), np.arange(COUNT), seed)


def run(attack, rows, seed=5, **arguments):
    x, y, guide = (values[rows] for values in batch())
    guide = guide if attack.guided else None
    index = rows.astype("int32")
    result = attack.run(classifier(), x, y, seed=seed, index=index, guide=guide, **arguments)
    return AttackResult(*(numpy(t) for t in result[:5]))


def test_every_attack_has_a_row():
    assert {name for name, row in ROWS.items() if not row.make} == set(registry.names())
    public = {getattr(sharedkeras.attacks, name) for name in sharedkeras.attacks.__all__}
    classes = {c for c in public if issubclass(c, Attack)} - {Attack}
    assert classes == {type(make(name, norm)) for name, norm in FIRST}


@pytest.mark.parametrize(("name", "norm"), CASES)
def test_ball_box_and_verdict(name, norm):
    x, y, _ = batch()
    attack, result = make(name, norm), whole(name, norm)
    adv = result.adversarial
    assert adv.shape == x.shape and adv.dtype == x.dtype
    assert np.isfinite(adv).all() and adv.min() >= 0 and adv.max() <= 1
    size = numpy(norms.get(norm).size(ops.convert_to_tensor(adv - x)))
    limit = np.inf if attack.epsilon is None else ROWS[name].reach * attack.epsilon + 1e-6
    if not attack.seeks_nearest:
        assert (size <= limit).all()
    wrong = numpy(classifier().predict(adv)).argmax(axis=1) != y
    np.testing.assert_array_equal(result.success, wrong & (size <= limit))
    assert np.isfinite(result.best_loss[result.success]).all()
    np.testing.assert_allclose(result.distance[result.success], size[result.success], atol=1e-5)
    assert np.isinf(result.distance[~wrong]).all()
    for values, kind in ((result.success, "b"), (result.queries, "i"), (result.distance, "f")):
        assert values.shape == (COUNT,) and values.dtype.kind == kind


@pytest.mark.parametrize(("name", "norm"), FIRST)
def test_the_seed_decides(name, norm):
    first, second = whole(name, norm), run(make(name, norm), np.arange(COUNT))
    for one, other in zip(first, second, strict=False):
        np.testing.assert_array_equal(one, other)
    another = run(make(name, norm), np.arange(COUNT), seed=6)
    assert np.array_equal(another.adversarial, first.adversarial) != ROWS[name].draws


@pytest.mark.parametrize(("name", "norm"), [(n, k) for n, k in FIRST if not ROWS[n].by_batch])
def test_neither_batch_nor_order_matters(name, norm):
    attack, together = make(name, norm), whole(name, norm)
    order = np.random.default_rng(1).permutation(COUNT)
    for rows in (order[:7], order[7:]):
        part = run(attack, rows)
        np.testing.assert_array_equal(part.success, together.success[rows])
        np.testing.assert_array_equal(part.queries, together.queries[rows])
        np.testing.assert_allclose(part.adversarial, together.adversarial[rows], atol=2e-4)


@pytest.mark.parametrize(("name", "norm"), FIRST)
def test_stopping_early_and_stacking_change_no_success(name, norm):
    # In a batch of their own, since an attack may only stop the whole batch.
    early = run(make(name, norm), np.arange(COUNT), early_stop=True, max_rows=4 * COUNT)
    np.testing.assert_array_equal(early.success, whole(name, norm).success)
    assert (early.queries <= whole(name, norm).queries).all()


@pytest.mark.parametrize(("name", "norm"), FIRST)
def test_configuration_is_a_value_that_can_be_written(name, norm):
    attack = make(name, norm)
    written = settings(attack)
    assert json.loads(json.dumps(written)) == written
    assert (written["attack"], written["role"]) == (type(attack).__name__, attack.role)
    assert attack == make(name, norm) and hash(attack) == hash(make(name, norm))
    fields = {f.name: getattr(attack, f.name) for f in dataclasses.fields(attack)}
    assert type(attack)(**fields) == attack
    assert " at 0x" not in repr(attack)
    for field, value in fields.items():
        assert f"{field}={value!r}" in repr(attack)
    with pytest.raises(dataclasses.FrozenInstanceError):
        attack.epsilon = 0.5


@pytest.mark.parametrize(("name", "norm"), FIRST)
def test_declarations(name, norm):
    attack = make(name, norm)
    assert type(attack).run is Attack.run and type(attack).__call__ is Attack.__call__
    assert inspect.signature(type(attack).run) == inspect.signature(Attack.run)
    assert inspect.getdoc(type(attack).run) == inspect.getdoc(Attack.run)
    # What only crafts training images is not compared with attacks that judge.
    assert attack.role in ROLES and (attack.role == "other") == (not ROWS[name].judges)
    assert attack.gradient_loss in ((None,) if attack.black_box else ("ce", "margin", "dlr"))
    for word in ("Args:", "Raises:", "Reference:"):
        assert word in type(attack).__doc__


@pytest.mark.parametrize(("name", "norm"), FIRST)
def test_bad_settings_are_refused(name, norm):
    attack = make(name, norm)
    counts = {"steps", "queries", "restarts", "targets", "eot_samples", "search_steps", "history"}
    wrong = {"epsilon": (0.0, -1.0, float("nan"), "small"), "norm": ("l7", 2)}
    wrong |= {count: (0, 1.5, True) for count in counts}
    for field in {f.name for f in dataclasses.fields(attack)} & set(wrong):
        for value in wrong[field]:
            with pytest.raises(ValueError, match="Received: "):
                dataclasses.replace(attack, **{field: value})


@pytest.mark.parametrize(("name", "norm"), FIRST)
def test_bad_inputs_are_refused(name, norm):
    attack, (x, y, guide) = make(name, norm), batch()
    guide = guide if attack.guided else None
    with pytest.raises(ValueError, match=r"float array.*Received: x of shape .* type uint8"):
        attack.run(classifier(), (255 * x).astype("uint8"), y, seed=0, guide=guide)
    with pytest.raises(ValueError, match=r"\(batch, H, W, C\).*Received: x of shape \(6, 6, 1\)"):
        attack.run(classifier(), x[0], y[:1], seed=0)
    with pytest.raises(TypeError, match="Received: network=3"):
        attack.run(3, x, y, seed=0)
    if not attack.replaceable_loss:
        with pytest.raises(ValueError, match=r"cannot replace it\. Received: loss="):
            attack.run(classifier(), x, y, seed=0, loss=lambda y, z: z[:, 0])
    if attack.needs_labels:
        with pytest.raises(ValueError, match="needs integer labels"):
            attack.run(classifier(), x, np.zeros((COUNT, 4), "float32"), seed=0)
    if attack.guided:
        with pytest.raises(ValueError, match=r"Received: guide of shape \(2, 6, 6, 1\)"):
            attack.run(classifier(), x, y, seed=0, guide=guide[:2])
    else:
        with pytest.raises(ValueError, match="takes no guide"):
            attack.run(classifier(), x, y, seed=0, guide=x)
    endpoint = CallableClassifier(lambda x: np.asarray(classifier().predict(x)))
    if attack.black_box:
        asked = attack.run(endpoint, x, y, seed=5)
        np.testing.assert_array_equal(numpy(asked.success), whole(name, norm).success)
    else:
        with pytest.raises(ValueError, match="needs gradients"):
            attack.run(endpoint, x, y, seed=0)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Brighter(Attack):
    """A user's own attack: the images a little brighter."""

    norm: str = "linf"
    epsilon: float = 0.1

    def craft(self, task):
        adv = ops.clip(task.x + self.epsilon, 0.0, 1.0)
        nothing = ops.zeros_like(task.epsilon)
        return AttackResult(adv, nothing > 0, nothing, nothing, ops.cast(nothing, "int32"))


def test_an_attack_of_ones_own():
    x, y, _ = batch()
    attack = Brighter(epsilon=np.float32(0.25))
    assert settings(attack) == {"attack": "Brighter", "role": "other", "norm": "linf", "epsilon": 0.25}
    check_attacks({"brighter": attack}, classifier())
    np.testing.assert_allclose(numpy(attack(classifier(), x, y, seed=0)), np.clip(x + 0.25, 0, 1))
    with pytest.raises(ValueError, match=r"a subclass of sharedkeras\.attacks\.Attack.*Received: 'own'"):
        check_attacks({"own": Looks()}, classifier())
    with pytest.raises(NotImplementedError, match="must define `craft"):
        Attack().run(classifier(), x, y, seed=0)
    with pytest.raises(ValueError, match="`role` must be one of"):
        type("Odd", (Attack,), {"role": "strongest"})


class Looks:
    """Looks like an attack, and is none."""

    norm, epsilon = "linf", 0.1

    def run(self, classifier, x, y, **_):
        raise AssertionError("It must be refused before it is run.")


def test_a_step_that_is_none_is_refused():
    for step in ("sideways", 3, None):
        with pytest.raises(ValueError, match=r"`step` must be one of .*Received: step="):
            PGD(step=step)

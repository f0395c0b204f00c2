"""Numbers of NumPy's, and arrays without axes, wherever a number is asked for."""

import dataclasses
import json

import numpy as np
import pytest
from keras import ops

from sharedkeras import arguments, attacks
from sharedkeras.attacks.attack import Attack, settings

FLOATS = [0.5, np.float32(0.5), np.float64(0.5), np.float16(0.5), np.array(0.5, "float32")]
INTS = [3, np.int32(3), np.int64(3), np.uint8(3), np.array(3), np.array(3, "int16")]
ATTACKS = [getattr(attacks, name) for name in attacks.__all__ if name not in ("Attack", "AttackResult")]


@pytest.mark.parametrize("value", FLOATS, ids=repr)
def test_floats(value):
    arguments.need_positive(value=value)
    arguments.need_between(0, 0.5, value=value)
    assert type(arguments.plain(value)) is float
    assert arguments.plain(value) == 0.5
    for check in (arguments.need_count, arguments.need_seed):
        with pytest.raises(ValueError, match="`value` must be an int"):
            check(value=value)


@pytest.mark.parametrize("value", INTS, ids=repr)
def test_ints(value):
    arguments.need_count(value=value)
    arguments.need_seed(value=value)
    arguments.need_positive(value=value)
    assert type(arguments.plain(value)) is int
    assert arguments.plain(value) == 3
    with pytest.raises(ValueError, match="at least 4"):
        arguments.need_count(4, value=value)


def test_tensors_without_axes():
    assert arguments.plain(ops.convert_to_tensor(0.5)) == 0.5
    assert type(arguments.plain(ops.convert_to_tensor(3, dtype="int32"))) is int


@pytest.mark.parametrize(
    "value",
    [True, np.bool_(True), "1", None, [1], np.array([1]), 1j, np.inf, np.float32("nan"), np.array("1")],
    ids=repr,
)
def test_what_is_no_number(value):
    for check in (arguments.need_positive, arguments.need_count, arguments.need_seed):
        with pytest.raises(ValueError, match="Received: value="):
            check(value=value)
    with pytest.raises(ValueError, match="Received: value="):
        arguments.need_between(0, None, value=value)


@pytest.mark.parametrize(("low", "high", "value"), [(0, 1, -0.1), (0, 1, 1.1), (0, None, -1e-9)])
def test_between(low, high, value):
    with pytest.raises(ValueError, match=r"in \[0, 1\]" if high else "at least 0"):
        arguments.need_between(low, high, value=value)


def test_seeds():
    arguments.need_seed(seed=2**64 - 1)
    for seed in (-1, 2**64):
        with pytest.raises(ValueError, match=r"\[0, 2\*\*64\)"):
            arguments.need_seed(seed=seed)


def as_numpy(value):
    return np.array(value) if isinstance(value, bool | int | float) else value


@pytest.mark.parametrize("kind", ATTACKS, ids=lambda kind: kind.__name__)
def test_attacks_store_plain_numbers(kind):
    assert issubclass(kind, Attack)
    required = {"layer": "latent"} if kind is attacks.Representation else {}
    typed = kind(**required)
    numpy = kind(**{k: as_numpy(v) for k, v in dataclasses.asdict(typed).items()})
    assert numpy == typed
    assert hash(numpy) == hash(typed)
    assert repr(numpy) == repr(typed)
    assert json.dumps(settings(numpy)) == json.dumps(settings(typed))

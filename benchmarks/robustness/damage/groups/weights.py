"""Weights files of the zoo."""

import hashlib

import keras
import numpy as np

from damage.case import Case
from damage.files import archive_of, damaged_archives, damaged_bytes, members_of, npy
from zoo import packing

NAME = "weights.npz"


def _network():
    inputs = keras.Input((4, 4, 1))
    x = keras.layers.Flatten()(keras.layers.Conv2D(3, 3)(inputs))
    return keras.Model(inputs, keras.layers.Dense(5)(x), name="small")


def cases(folder):
    """Yield weights that are damaged, of another network, or no numbers."""
    network = _network()
    before = network.get_weights()
    packed = packing.pack(network)
    target = _network()

    def unpack(data):
        kept = [w.copy() for w in target.get_weights()]
        try:
            packing.unpack(data, target, where=NAME)
        except BaseException:
            same = all(np.array_equal(a, b) for a, b in zip(kept, target.get_weights(), strict=True))
            if not same:
                raise AssertionError(
                    "The network was changed though its weights were refused."
                ) from None
            raise
        return target.get_weights()

    def is_right(weights):
        return all(np.array_equal(a, b) for a, b in zip(before, weights, strict=True))

    def case(name, data):
        return Case(name, lambda: unpack(data), NAME, is_right)

    for name, data in damaged_bytes(packed):
        yield case(name, data)
    for name, data in damaged_archives(packed, "w0001.npy"):
        yield case(name, data)
    members = members_of(packed)
    for name, value in (("NaN", np.nan), ("infinity", np.inf), ("minus infinity", -np.inf)):
        bad = before[0].copy()
        bad.flat[-1] = value
        yield case(name, archive_of({**members, "w0000.npy": npy(bad)}))
    yield case("an array too many", archive_of({**members, "w0009.npy": npy(before[0])}))
    yield case("other names", archive_of({f"x{name}": value for name, value in members.items()}))
    yield case("the arrays in another order", archive_of(dict(reversed(members.items()))))
    yield case(
        "Fortran's order", archive_of({**members, "w0000.npy": npy(np.asfortranarray(before[0]))})
    )
    yield case(
        "the other byte order", archive_of({**members, "w0000.npy": npy(before[0].astype(">f4"))})
    )
    digest = hashlib.sha256(packed).hexdigest()
    yield Case(
        "packed twice",
        lambda: packing.pack(network),
        NAME,
        lambda data: hashlib.sha256(data).hexdigest() == digest,
    )

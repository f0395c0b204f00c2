"""Damage by chance, from a seed."""

import numpy as np

_BYTES = (0, 1, 0x22, 0x2C, 0x7B, 0x7F, 0x80, 0xFF)
_LONGEST = 64


def mutated(data, seed):
    """Return bytes with one to four places flipped, overwritten, removed, doubled, exchanged or cut.

    Args:
        data: bytes of a valid file.
        seed: int; the same seed gives the same damage.

    Returns:
        bytes.
    """
    draws = np.random.default_rng(seed)
    data = bytearray(data)
    for _ in range(int(draws.integers(1, 5))):
        if not data:
            break
        place, length = int(draws.integers(len(data))), int(draws.integers(1, _LONGEST))
        part = slice(place, place + length)
        kind = int(draws.integers(7))
        if kind == 0:
            data[place] ^= 1 << int(draws.integers(8))
        elif kind == 1:
            data[place] = int(draws.choice(_BYTES))
        elif kind == 2:
            del data[part]
        elif kind == 3:
            data[place:place] = data[part]
        elif kind == 4:
            data[part] = bytes(len(data[part]))
        elif kind == 5:
            other = int(draws.integers(len(data)))
            data[part] = data[other : other + length]
        else:
            del data[place:]
    return bytes(data)
